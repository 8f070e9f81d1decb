"""Teaches a small language model to decide: LoRA on situations whose better choice is known."""

import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnnflow.errors import DataError
from gnnflow.files.json_text import to_json_text
from gnnflow.files.whole_file import whole_folder
from gnnflow.optional import require_package
from gnnflow.policies.labelled_situations import Situation, stake, write_situations
from gnnflow.policies.llm.answers import WORDS
from gnnflow.policies.llm.model.language_model import LanguageModel
from gnnflow.policies.llm.model.model_files import PROMPT_FILE, REFERENCE_FILE
from gnnflow.policies.llm.prompt import Prompt

_BATCH = 16
_MAX_NORM = 1.0
_WARM_UP = 0.1
_CARD = "card.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningOptions:
    """How a model is tuned."""

    epochs: int = 3
    """Passes over the situations."""

    rank: int = 8
    """Rank of the adapter's matrices."""

    layers: float = 0.5
    """Share of the model's layers that are adapted, counted from the last; fewer train faster."""

    learning_rate: float = 1e-3
    """Largest step; it rises at the start and falls to 0 at the end."""

    seed: int = 0
    """Of the adapter's start and of the order of the situations."""


def tuned_template() -> Path:
    """The short prompt that models are tuned with by default."""
    return Path(str(resources.files("gnnflow.policies.llm"))) / "tuned.jinja"


class Tuner:
    """A language model with an adapter that learns; the model itself stays as it is."""

    def __init__(self, model: LanguageModel, template: Path, options: TuningOptions) -> None:
        """Adds a fresh adapter, which changes nothing yet.

        Args:
            model: the model; it must not be used otherwise any more.
            template: the prompt; it goes with the adapter.
            options: how to tune.

        Raises:
            MissingExtraError: if peft is not installed.
        """
        peft = require_package("peft", extra="llm", purpose="tuning a language model")
        self._model = model
        self._template = template
        self._options = options
        self._prompt = Prompt.load(template, explain=False)
        self._start, self._tail = model.split(self._prompt.messages([]))
        self._words = model.first_tokens(WORDS)
        torch.manual_seed(options.seed)
        num_layers = model.model.config.num_hidden_layers
        first = min(int(num_layers * (1 - options.layers)), num_layers - 1)
        config = peft.LoraConfig(
            r=options.rank,
            lora_alpha=2 * options.rank,
            target_modules=["q_proj", "v_proj"],
            layers_to_transform=list(range(first, num_layers)),
            task_type="CAUSAL_LM",
        )
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # peft asks for what transformers renames
            self._adapted: Any = peft.get_peft_model(model.model, config)

    @property
    def num_parameters(self) -> int:
        """Numbers that are learnt."""
        return sum(each.numel() for each in self._adapted.parameters() if each.requires_grad)

    def log_odds(self, situations: Sequence[Situation]) -> NDArray[np.float64]:
        """The model's log-odds for replacing, float64 `[num_situations]`, not calibrated."""
        rows = self._encode(situations)
        # Neighbours in length share a batch, so that little is padded.
        order = np.argsort([len(row) for row in rows], kind="stable")
        found = np.zeros(len(rows))
        self._adapted.eval()
        with torch.inference_mode():
            for part in _parts(order, 4 * _BATCH):
                scores = self._scores([rows[place] for place in part])
                found[part] = (scores[:, 0] - scores[:, 1]).double().numpy()
        return found

    def fit(self, situations: Sequence[Situation], step: Callable[[int, int, float], None]) -> None:
        """Learns; the loss is that of the answer's word alone, by what is at stake.

        Args:
            situations: what to learn from.
            step: told after every step its number, how many there will be, and the loss.
        """
        rows = self._encode(situations)
        weights = torch.tensor([stake(item) for item in situations], dtype=torch.float32)
        weights = weights / weights.mean()
        targets = torch.tensor([0 if item.replace else 1 for item in situations])
        learnt = [each for each in self._adapted.parameters() if each.requires_grad]
        optimizer = torch.optim.AdamW(learnt, lr=self._options.learning_rate, weight_decay=0.0)
        generator = np.random.default_rng(self._options.seed)
        num_steps = self._options.epochs * -(-len(rows) // _BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self._options.learning_rate, total_steps=num_steps + 1, pct_start=_WARM_UP
        )
        number = 0
        self._adapted.train()
        for _ in range(self._options.epochs):
            for part in _parts(generator.permutation(len(rows)), _BATCH):
                scores = self._scores([rows[place] for place in part])
                losses = torch.nn.functional.cross_entropy(scores, targets[part], reduction="none")
                loss = (losses * weights[part]).mean()
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(learnt, _MAX_NORM)
                optimizer.step()
                schedule.step()
                number += 1
                step(number, num_steps, loss.item())

    def save(
        self, folder: Path, base: str, reference: Sequence[Situation], card: dict[str, Any]
    ) -> None:
        """Writes the adapter, its prompt, situations and a card, complete or not at all.

        Args:
            folder: must not exist.
            base: name of the model that the adapter belongs to.
            reference: situations that will calibrate its answers.
            card: how it was made and how good it is.

        Raises:
            DataError: if the folder exists.
        """
        if folder.exists():
            raise DataError(f"{folder} exists; name another folder or remove it")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with whole_folder(folder) as scratch:
            for each in self._adapted.parameters():
                if each.requires_grad:
                    each.data = each.data.to(torch.bfloat16)
            config = self._adapted.peft_config["default"]
            config.base_model_name_or_path = base
            self._adapted.save_pretrained(scratch, safe_serialization=True)
            (scratch / "README.md").unlink(missing_ok=True)  # peft's empty model card
            shutil.copyfile(self._template, scratch / PROMPT_FILE)
            write_situations(scratch / REFERENCE_FILE, reference)
            text = to_json_text(card, indent=1) + "\n"
            (scratch / _CARD).write_text(text, encoding="utf-8")

    def _encode(self, situations: Sequence[Situation]) -> list[list[int]]:
        return [
            self._model.tokens(self._start + self._prompt.question(item.observation) + self._tail)
            for item in situations
        ]

    def _scores(self, rows: Sequence[list[int]]) -> torch.Tensor:
        width = max(len(row) for row in rows)
        padded = torch.tensor([row + row[-1:] * (width - len(row)) for row in rows])
        decoder = self._adapted.get_base_model().get_decoder()
        hidden = decoder(input_ids=padded, use_cache=False).last_hidden_state
        last = torch.tensor([len(row) - 1 for row in rows])
        return self._model.logits(hidden[torch.arange(len(rows)), last], self._words)


def _parts(order: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]
