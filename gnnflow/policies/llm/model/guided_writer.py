"""Writes JSON with a language model: fixed text is given, only the values are the model's."""

import copy
from collections.abc import Sequence

import torch

from gnnflow.policies.decision import PolicyError
from gnnflow.policies.llm.answers import Choice, FreeText, Literal, Part
from gnnflow.policies.llm.model.language_model import LanguageModel, Prefix

_ANCHOR = "a"


class GuidedWriter:
    """Fills the parts of an answer, token by token, with everything else ruled out.

    The result is valid by construction: literals are put in, a choice can only become one of its
    texts, free text has no quotes, backslashes or control characters.
    """

    def __init__(self, model: LanguageModel) -> None:
        """Looks up the text of every token of a model, once."""
        self._model = model
        self._texts = _token_texts(model)
        self._by_text: dict[str, list[int]] = {}
        for token, text in enumerate(self._texts):
            self._by_text.setdefault(text, []).append(token)
        self._plain = torch.tensor([_is_plain(text) for text in self._texts])
        self._ends = torch.tensor([text.startswith('"') for text in self._texts])
        if not self._plain.any() or not self._ends.any():
            raise PolicyError("the model's vocabulary cannot write a JSON string")

    def write(self, prefix: Prefix, text: str, parts: Sequence[Part]) -> str:
        """Writes an answer.

        Args:
            prefix: encoded start of the prompt.
            text: the question and what stands between it and the answer.
            parts: what the answer is made of.

        Returns:
            The whole answer.
        """
        cache = copy.deepcopy(prefix.cache)
        position = len(prefix.token_ids)
        # Given text waits here until the next value is due, so that it takes one pass.
        pending = self._model.tokens(text)
        written = ""
        for part in parts:
            if isinstance(part, Literal):
                pending = pending + self._model.tokens(part.text)
                written += part.text
                continue
            value = ""
            limit = part.max_tokens if isinstance(part, FreeText) else max(map(len, part.texts))
            for _ in range(limit):
                logits = self._model.step(cache, position, pending)
                position += len(pending)
                token = self._next(part, value, logits)
                pending = [] if token is None else [token]
                value += "" if token is None else self._texts[token]
                if token is None or (isinstance(part, Choice) and value in part.texts):
                    break
            written += value
        return written

    def _next(self, part: Choice | FreeText, value: str, logits: torch.Tensor) -> int | None:
        """The best token that may come next, or None if the value is complete."""
        if isinstance(part, Choice):
            return self._next_of_choice(part.texts, value, logits)
        best_plain = _best(logits, self._plain)
        best_end = _best(logits, self._ends)
        if value and logits[best_end] > logits[best_plain]:
            return None
        return best_plain

    def _next_of_choice(self, texts: Sequence[str], value: str, logits: torch.Tensor) -> int:
        rest = [text[len(value) :] for text in texts if text.startswith(value)]
        starts = {text[:length] for text in rest for length in range(1, len(text) + 1)}
        allowed = [token for start in starts for token in self._by_text.get(start, ())]
        if not allowed:
            raise PolicyError(f"the model's vocabulary cannot write {rest[0]!r}")
        return allowed[int(logits[allowed].argmax())]


def _best(logits: torch.Tensor, allowed: torch.Tensor) -> int:
    width = len(allowed)  # output matrices can be padded beyond the vocabulary
    return int(logits[:width].masked_fill(~allowed, -torch.inf).argmax())


def _token_texts(model: LanguageModel) -> list[str]:
    """The text that each token adds; empty for special tokens and parts of characters."""
    tokenizer = model.tokenizer
    # Decoding alone drops the space that starts a word in some tokenizers; after another it stays.
    anchor = model.tokens(_ANCHOR)[-1]
    alone = tokenizer.decode([anchor])
    texts = tokenizer.batch_decode(
        [[anchor, token] for token in range(len(tokenizer))], clean_up_tokenization_spaces=False
    )
    special = set(tokenizer.all_special_ids)
    return [
        text[len(alone) :]
        if token not in special and text.startswith(alone) and "�" not in text
        else ""
        for token, text in enumerate(texts)
    ]


def _is_plain(text: str) -> bool:
    return bool(text) and text.isprintable() and not set('"\\') & set(text)
