"""A causal language model that keeps the encoded prompt and is asked by forced choice."""

import copy
import inspect
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from gnnflow.errors import one_line
from gnnflow.optional import require_package
from gnnflow.policies.decision import PolicyError
from gnnflow.policies.llm.model.adapter import Adapter, read_adapter
from gnnflow.policies.llm.model.model_files import sealed
from gnnflow.policies.llm.model.model_folder import (
    ADAPTER_FILE,
    fetch_model,
    load_config,
    load_tokenizer,
)
from gnnflow.policies.llm.prompt import time_limit

_PLACEHOLDER = "@@QUESTION@@"
_TEMPLATE_LIMIT_S = 10.0
_NAMES = {"system": "", "user": "Situation: ", "assistant": "Answer: "}


@dataclass(slots=True)
class Prefix:
    """The unchanging start of a prompt, encoded."""

    token_ids: list[int]
    """Tokens of the text."""

    cache: Any
    """Their keys and values, as transformers keeps them; never changed."""

    tail: str
    """Text between a question and its answer."""

    answer_lead: str
    """What an answer starts with: nothing in a chat, a space in running text."""


class LanguageModel:
    """A tokenizer and a causal model of transformers.

    A prompt is a prefix, encoded once, and a question, encoded for each answer. Answers are scored
    at the end of the question: their logits come from the last hidden state and their rows of the
    output matrix, both in float32, since bfloat16 rounds logits to eighths.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        """Wraps a loaded model; see `load`."""
        self.model = model.eval()
        self._decoder = model.get_decoder()
        self._head = model.get_output_embeddings()
        # transformers 5 renames its keys and values on the way.
        accepted = inspect.signature(self._decoder.forward).parameters
        self._cache_name = "cache" if "cache" in accepted else "past_key_values"
        self.tokenizer = tokenizer
        self.device = next(model.parameters()).device

    @classmethod
    def load(cls, name: str, *, device: str = "cpu", dtype: str = "float32") -> Self:
        """Loads a model by folder, GGUF file, adapter folder or name.

        The hub is asked for a name that it alone knows, unless `HF_HUB_OFFLINE=1` is set; nothing
        that a file of a model names is fetched, imported or run.

        Raises:
            PolicyError: if the model cannot be found, is damaged or has no causal head.
            MissingExtraError: if a package for it is missing.
        """
        purpose = "the language model policy"
        transformers = require_package("transformers", extra="llm", purpose=purpose)
        transformers.utils.logging.disable_progress_bar()
        folder = fetch_model(name)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            with sealed():
                adapter = read_adapter(folder) if (folder / ADAPTER_FILE).is_file() else None
                base = folder if adapter is None else adapter.base
                model = _load_weights(base, getattr(torch, dtype))
                if adapter is not None:
                    model = _with_adapter(model, adapter)
                return cls(model.to(device), load_tokenizer(base))
        except (ImportError, PolicyError):
            raise
        except Exception as error:
            reason = one_line(error)[:300]
            raise PolicyError(f"cannot load the language model {name}: {reason}") from error

    @torch.inference_mode()
    def encode_prefix(self, messages: Sequence[dict[str, str]]) -> Prefix:
        """Encodes the unchanging messages that go before a question.

        Args:
            messages: dictionaries with `role` (system, user, assistant) and `content`; the question
                will be a further message of the user.
        """
        text, tail = self.split(messages)
        token_ids = self.tokens(text)
        outputs = self._decoder(input_ids=self._tensor([token_ids]), use_cache=True)
        lead = "" if self.tokenizer.chat_template else " "
        return Prefix(token_ids, getattr(outputs, self._cache_name), tail, lead)

    @torch.inference_mode()
    def score(self, prefix: Prefix, texts: Sequence[str], answers: Sequence[str]) -> torch.Tensor:
        """Log-probabilities of the allowed answers after each text.

        Answers start with different tokens, so the first token decides: given that the answer is
        one of them, its probability is that of its first token among those of all.

        Args:
            prefix: encoded start of the prompt.
            texts: what follows it: the question, `prefix.tail`, and the start of the answer if any.
            answers: the allowed answers.

        Returns:
            float32 `[num_texts, num_answers]`; each row's probabilities add up to 1.

        Raises:
            PolicyError: if two answers start with the same token.
        """
        first_ids = self.first_tokens(answers)
        rows = [self.tokens(text) for text in texts]
        width = max(len(row) for row in rows)
        # Padding stands behind the last token of a text, which does not look back at it.
        padded = self._tensor([row + row[-1:] * (width - len(row)) for row in rows])
        hidden = self.hidden_states(prefix, padded)
        last = torch.tensor([len(row) - 1 for row in rows], device=self.device)
        at_end = hidden[torch.arange(len(rows), device=self.device), last]
        return torch.log_softmax(self.logits(at_end, first_ids), dim=1).cpu()

    def hidden_states(self, prefix: Prefix, token_ids: torch.Tensor) -> torch.Tensor:
        """Last hidden states of tokens `[batch, length]` that follow the prefix."""
        cache = copy.deepcopy(prefix.cache)
        if len(token_ids) > 1:
            cache.batch_repeat_interleave(len(token_ids))
        start = len(prefix.token_ids)
        positions = torch.arange(start, start + token_ids.shape[1], device=self.device)
        outputs = self._decoder(
            input_ids=token_ids,
            **{self._cache_name: cache},
            position_ids=positions.expand(len(token_ids), -1),
            use_cache=True,
        )
        hidden: torch.Tensor = outputs.last_hidden_state
        return hidden

    def first_tokens(self, answers: Sequence[str]) -> list[int]:
        """First token of each answer.

        Raises:
            PolicyError: if they are not all different.
        """
        first_ids = [self.tokens(answer)[0] for answer in answers]
        if len(set(first_ids)) < len(first_ids):
            raise PolicyError(
                f"the model's tokenizer cannot tell the answers {', '.join(answers)} apart "
                "by their first token; use other words"
            )
        return first_ids

    @torch.inference_mode()
    def step(self, cache: Any, start: int, token_ids: Sequence[int]) -> torch.Tensor:
        """Appends tokens to a cache and gives the logits after the last, float32 `[vocabulary]`."""
        positions = torch.arange(start, start + len(token_ids), device=self.device)
        outputs = self._decoder(
            input_ids=self._tensor([list(token_ids)]),
            **{self._cache_name: cache},
            position_ids=positions[None],
            use_cache=True,
        )
        logits: torch.Tensor = self._head(outputs.last_hidden_state[0, -1])
        return logits.float().cpu()

    def tokens(self, text: str) -> list[int]:
        """Token ids of a text, no special tokens added.

        Raises:
            PolicyError: if there are none.
        """
        token_ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if not token_ids:
            raise PolicyError(f"the model's tokenizer gives no token for {text!r}")
        return token_ids

    def _tensor(self, rows: list[list[int]]) -> torch.Tensor:
        return torch.tensor(rows, dtype=torch.int64, device=self.device)

    def logits(self, hidden: torch.Tensor, token_ids: list[int]) -> torch.Tensor:
        """Logits of some tokens after hidden states `[n, width]`, float32 `[n, num_tokens]`."""
        weight = self._head.weight[token_ids].float()
        logits: torch.Tensor = hidden.float() @ weight.T
        if getattr(self._head, "bias", None) is not None:
            logits = logits + self._head.bias[token_ids].float()
        return logits

    def split(self, messages: Sequence[dict[str, str]]) -> tuple[str, str]:
        """The prompt's text before the question, and from it to the answer.

        Raises:
            PolicyError: if the model's chat template fails, takes too long, or changes or repeats
                the question.
        """
        asked = [*messages, {"role": "user", "content": _PLACEHOLDER}]
        if self.tokenizer.chat_template:
            try:
                with time_limit(_TEMPLATE_LIMIT_S, "it"):
                    text = self.tokenizer.apply_chat_template(
                        asked, tokenize=False, add_generation_prompt=True
                    )
            except Exception as error:
                raise PolicyError(
                    f"the model's chat template cannot be filled: {one_line(error)[:300]}"
                ) from None
        else:
            lines = [f"{_NAMES[message['role']]}{message['content']}" for message in asked]
            text = "\n\n".join(lines) + "\n\nAnswer:"
        before, placeholder, tail = text.partition(_PLACEHOLDER)
        if not placeholder or _PLACEHOLDER in tail:
            raise PolicyError("the model's chat template changes or repeats the question")
        return before, tail


def _load_weights(folder: Path, dtype: torch.dtype) -> Any:
    transformers = require_package("transformers", extra="llm", purpose="a language model")
    model, about = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        config=load_config(folder),
        dtype=dtype,
        trust_remote_code=False,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
    )
    missing = sorted(about["missing_keys"])
    if missing:  # transformers would draw them at random
        raise PolicyError(f"{folder} lacks {len(missing)} of its weights, as {missing[0]:.80}")
    return model


def _with_adapter(model: Any, adapter: Adapter) -> Any:
    peft = require_package("peft", extra="llm", purpose="a tuned adapter")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what transformers renames
        adapted = peft.PeftModel.from_pretrained(
            model, str(adapter.folder), config=peft.LoraConfig(**adapter.settings)
        )
        return adapted.merge_and_unload()
