"""Asks a language model about situations: prepared once, then one short pass per question."""

import hashlib
import logging
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gnnflow.errors import DataError
from gnnflow.files.json_record import read_record
from gnnflow.files.json_text import parse_json, to_json_text
from gnnflow.files.regular_file import read_regular_text
from gnnflow.files.whole_file import replaced_file
from gnnflow.policies.decision import PolicyError
from gnnflow.policies.llm.answers import REPLACE_CHOICES, REPLACE_LEAD, WORDS, answer_parts
from gnnflow.policies.llm.calibration import Calibration, calibrate
from gnnflow.policies.llm.model.guided_writer import GuidedWriter
from gnnflow.policies.llm.model.language_model import LanguageModel, Prefix
from gnnflow.policies.llm.model.model_files import cache_dir

_LOGGER = logging.getLogger(__name__)
_MAX_BATCH = 8
_MAX_PREPARED = 4
_UNTOLD_AUC = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionTask:
    """What stays the same from question to question."""

    messages: list[dict[str, str]]
    """Everything that goes before a question: rules and worked examples."""

    explain: bool
    """Whether answers are JSON with an explanation, or one word."""

    reference_questions: list[str] = field(default_factory=list)
    """Questions whose right answers are known, for calibration."""

    reference_labels: list[bool] = field(default_factory=list)
    """Whether replacing is right there."""

    @property
    def key(self) -> str:
        """A name for the task: equal tasks have equal names."""
        text = to_json_text(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A model's answer to one question."""

    log_odds: float
    """Log-odds that the model gives to replacing."""

    probability: float
    """The same after calibration, in [0, 1]."""

    text: str | None = None
    """The whole answer, where an explanation was asked for."""


class Asker(Protocol):
    """A judge in this process, or the client of one in another."""

    def prepare(self, task: DecisionTask) -> Calibration:
        """Makes ready for questions of a task; cheap if it was done before."""

    def ask(self, task: DecisionTask, question: str) -> Verdict:
        """Answers a question."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    prefix: Prefix
    calibration: Calibration


class Judge:
    """Holds a model, the encoded starts of prompts, and their calibrations.

    Calibrations are kept on disk: a model, a prompt and reference situations that were together
    before need no second measurement.
    """

    def __init__(self, model: LanguageModel, identity: str) -> None:
        """Wraps a model.

        Args:
            model: the model.
            identity: names its weights and precision, for the calibrations kept on disk; empty
                keeps none.
        """
        self._model = model
        self._identity = identity
        self._prepared: OrderedDict[str, _Prepared] = OrderedDict()
        self._writer: GuidedWriter | None = None

    def prepare(self, task: DecisionTask) -> Calibration:
        """Encodes the start of a prompt and calibrates its answers, unless that was done before."""
        return self._prepare(task).calibration

    def ask(self, task: DecisionTask, question: str) -> Verdict:
        """Answers one question."""
        return self.ask_many(task, [question])[0]

    def ask_many(self, task: DecisionTask, questions: Sequence[str]) -> list[Verdict]:
        """Answers several questions in one pass, with explanations if the task wants them."""
        prepared = self._prepare(task)
        scores = self._log_odds(prepared.prefix, task.explain, questions)
        verdicts = []
        for question, log_odds in zip(questions, scores, strict=True):
            probability = prepared.calibration.probability(log_odds)
            text = None
            if task.explain:
                text = self._explain(prepared.prefix, question, replace=probability > 0.5)
            verdicts.append(Verdict(log_odds=log_odds, probability=probability, text=text))
        return verdicts

    def _prepare(self, task: DecisionTask) -> _Prepared:
        key = task.key
        prepared = self._prepared.get(key)
        if prepared is None:
            prefix = self._model.encode_prefix(task.messages)
            prepared = _Prepared(prefix, self._calibration(task, prefix))
            self._prepared[key] = prepared
            if len(self._prepared) > _MAX_PREPARED:
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(key)
        return prepared

    def _calibration(self, task: DecisionTask, prefix: Prefix) -> Calibration:
        name = hashlib.sha256(f"{self._identity} {task.key}".encode()).hexdigest()[:24]
        file = cache_dir() / "calibrations" / f"{name}.json"
        if self._identity and (known := _read_calibration(file)) is not None:
            return known
        scores = self._log_odds(prefix, task.explain, task.reference_questions)
        calibration = calibrate(scores, task.reference_labels)
        if task.reference_labels and abs(calibration.auc - 0.5) < _UNTOLD_AUC:
            _LOGGER.warning(
                "the language model hardly tells the reference situations apart (AUC %.2f); "
                "a larger or tuned model will decide better",
                calibration.auc,
            )
        if self._identity:
            _write_calibration(file, calibration)
        return calibration

    def _log_odds(self, prefix: Prefix, explain: bool, questions: Sequence[str]) -> list[float]:
        lead = REPLACE_LEAD if explain else ""
        answers = [prefix.answer_lead + word for word in WORDS]
        if explain:
            answers = list(REPLACE_CHOICES)
        log_odds: list[float] = []
        for start in range(0, len(questions), _MAX_BATCH):
            batch = questions[start : start + _MAX_BATCH]
            texts = [question + prefix.tail + lead for question in batch]
            scores = self._model.score(prefix, texts, answers)
            log_odds += (scores[:, 0] - scores[:, 1]).tolist()
        if not all(math.isfinite(value) for value in log_odds):
            raise PolicyError("the language model's answer is not a number; is its file damaged?")
        return log_odds

    def _explain(self, prefix: Prefix, question: str, *, replace: bool) -> str:
        if self._writer is None:
            self._writer = GuidedWriter(self._model)
        return self._writer.write(prefix, question + prefix.tail, answer_parts(replace))


def model_identity(where: str, dtype: str) -> str:
    """Names a model's weights by folder, sizes and times of its files, or by its hub name."""
    folder = Path(where)
    if not folder.is_dir():
        return f"{where} {dtype}"
    files = sorted(path for path in folder.iterdir() if path.is_file())
    marks = [f"{path.name}:{path.stat().st_size}:{path.stat().st_mtime_ns}" for path in files]
    return " ".join([str(folder.resolve()), dtype, *marks])


def _read_calibration(file: Path) -> Calibration | None:
    try:
        values: Any = parse_json(read_regular_text(file))
        return read_record(Calibration, values)
    except (OSError, ValueError, DataError):
        return None


def _write_calibration(file: Path, calibration: Calibration) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(file, shared=True) as scratch:
            scratch.write_text(to_json_text(asdict(calibration)), encoding="utf-8")
    except OSError as error:  # a read-only home costs time at the next start, nothing else
        _LOGGER.info("cannot keep the calibration: %s", error)
