"""Tunes a model from files of situations to a folder with its adapter, and measures it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from gnnflow.errors import DataError
from gnnflow.optional import check_package
from gnnflow.policies.classifier.fitting import measure, split_groups, tabulate
from gnnflow.policies.labelled_situations import Situation, read_situations, with_margin
from gnnflow.policies.llm.calibration import calibrate
from gnnflow.policies.llm.model.language_model import LanguageModel
from gnnflow.policies.llm.tuner.tuning import Tuner, TuningOptions, tuned_template
from gnnflow.policies.rivals import Threshold, fit_threshold, rival_scores
from gnnflow.terminal import PlainConsole, progress

_NUM_REFERENCE = 96

Measures = dict[str, dict[str, float]]
"""By the name of a column (`untuned, left out` and the like), figures by name."""


def tune(
    files: Sequence[Path],
    unseen_files: Sequence[Path],
    out: Path,
    *,
    model_name: str,
    template: Path | None,
    options: TuningOptions,
    margin: float,
    test_share: float,
    max_situations: int,
    max_tested: int,
    threads: int,
) -> Measures:
    """Tunes a model and writes its adapter.

    Args:
        files: situations to learn from, some groups of which are left out for measuring.
        unseen_files: situations of other graphs, only for measuring.
        out: folder to write; it must not exist.
        model_name: the model.
        template: the prompt; None for the short one that comes with gnnflow.
        options: how to tune.
        margin: rows that a replacement has to save for each row fetched, to count as better.
        test_share: share of the groups that is left out.
        max_situations: situations to learn from at most.
        max_tested: situations to measure on at most, of each kind.
        threads: threads to compute with.

    Returns:
        How good the model is before and after, on the groups left out and on each unseen file.

    Raises:
        DataError: if the situations do not do: too few groups, or one answer is always right.
        MissingExtraError: if a package is missing.
        PolicyError: if the model cannot be loaded.
    """
    check_package("peft", extra="llm", purpose="tuning a language model")
    generator = np.random.default_rng(options.seed)
    situations = [item for path in files for item in read_situations(path)]
    learn, left_out = split_groups([item.group for item in situations], test_share, options.seed)
    reference, lessons = _kept_back(
        [with_margin(item, margin) for item in _select(situations, learn)], generator
    )
    chosen = _balanced(lessons, max_situations, generator)
    tests = {"left out": _some(_select(situations, left_out), max_tested, generator)}
    for path in unseen_files:
        tests[path.stem] = _some(read_situations(path), max_tested, generator)
    lesson_table = tabulate(_select(situations, learn))
    threshold = fit_threshold(lesson_table.features, lesson_table.labels)
    torch.set_num_threads(threads)
    tuner = Tuner(LanguageModel.load(model_name), template or tuned_template(), options)
    measures = _measured("untuned", tuner, tests, reference, threshold)
    _fit(tuner, chosen)
    measures |= _measured("tuned", tuner, tests, reference, threshold)
    card = {
        "base": model_name,
        "options": dataclasses.asdict(options),
        "margin": margin,
        "parameters": tuner.num_parameters,
        "situations": len(chosen),
        "groups": sorted({item.group for item in chosen}),
        "measures": measures,
    }
    tuner.save(out, model_name, reference, card)
    return measures


def _kept_back(
    lessons: list[Situation], generator: np.random.Generator
) -> tuple[list[Situation], list[Situation]]:
    """Takes situations to calibrate with out of the lessons, as common as they are there.

    What a model was taught it is too sure of.
    """
    order = generator.permutation(len(lessons))
    num = min(_NUM_REFERENCE, len(lessons) // 5)
    return [lessons[place] for place in order[:num]], [lessons[place] for place in order[num:]]


def _measured(
    when: str,
    tuner: Tuner,
    tests: Mapping[str, Sequence[Situation]],
    reference: Sequence[Situation],
    threshold: Threshold,
) -> Measures:
    return {
        f"{when}, {name}": _measure(tuner, items, reference, threshold)
        for name, items in tests.items()
    }


def _fit(tuner: Tuner, lessons: Sequence[Situation]) -> None:
    """Teaches a model, behind a bar."""
    with progress(PlainConsole()) as bars:
        bar = bars.add_task(f"{len(lessons)} situations", total=None)

        def step(number: int, num_steps: int, loss: float) -> None:
            text = f"{len(lessons)} situations, loss {loss:.3f}"
            bars.update(bar, completed=number, total=num_steps, description=text)

        tuner.fit(lessons, step)


def _measure(
    tuner: Tuner,
    situations: Sequence[Situation],
    reference: Sequence[Situation],
    threshold: Threshold,
) -> dict[str, float]:
    """How good the model's answers are, calibrated as they are when it is used, and its rivals."""
    curve = calibrate(tuner.log_odds(reference).tolist(), [item.replace for item in reference])
    probabilities = np.array([curve.probability(value) for value in tuner.log_odds(situations)])
    table = tabulate(situations)
    found = measure(probabilities, table.labels, table.weights)
    return {
        "pass_at_1": found.pop("accuracy"),
        **rival_scores(threshold, table.features, table.labels),
        "situations": float(len(situations)),
        **found,
    }


def _select(situations: Sequence[Situation], mask: np.ndarray) -> list[Situation]:
    return [item for item, taken in zip(situations, mask, strict=True) if taken]


def _some(
    situations: list[Situation], most: int, generator: np.random.Generator
) -> list[Situation]:
    order = generator.permutation(len(situations))[:most]
    return [situations[place] for place in sorted(order)]


def _balanced(
    situations: list[Situation], most: int, generator: np.random.Generator
) -> list[Situation]:
    """Situations of both answers alike, as far as there are so many."""
    kinds = [[item for item in situations if item.replace is label] for label in (True, False)]
    if not all(kinds):
        raise DataError(
            f"in all {len(situations)} situations the same choice is better: there is nothing to "
            "learn; collect from further graphs, budgets or scorers"
        )
    size = min(most // 2, *map(len, kinds))
    chosen = []
    for kind in kinds:
        chosen += _some(kind, size, generator)
    return chosen
