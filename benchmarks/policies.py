"""Communication volume under every policy, and what their decisions are worth.

    python -m benchmarks.policies [--quick] [--json FILE]

Rows `policies/GRAPH/BUDGET/SCORER/POLICY` compare rows that cross to the first of four ranks, fills
included, with the best fixed schedule of the scorer `decay`, which is chosen anew for each graph
and budget by trying them all. The policies have one setting for all graphs. Caches start empty;
with `decay-filled` in place of a scorer they start with the halo vertices of highest degree, those
of the schedules too, one of which is to leave that fill as it is. The file also has the volume
against no cache and against Belady's optimum, the hit rate, decisions, replacements, Pass@1 over
16 minibatches, and the median latency. Budgets are percent of the halo vertices.

The classifiers that come with gnnflow have learnt from generated graphs; of those here they have
seen the ones whose names begin with `train`. Language models take part where
`gnnflow-policy get-model` has been run: `llm` as it comes, at a budget of 25 % only because its
prompt is long, and `llm-tuned` with the adapter that comes with gnnflow, which has learnt from the
same graphs as the classifiers.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

import torch

from benchmarks._cache_traces import sample_workload
from benchmarks._harness import Options, Report, Row, benchmark
from benchmarks._policy_graphs import QUICK, SEEN, UNSEEN
from gnnflow.errors import GnnflowError
from gnnflow.policies import ReplacementPolicy
from gnnflow.policies.auto import AutoPolicy
from gnnflow.policies.bandit import BanditPolicy
from gnnflow.policies.classifier.policy import ClassifierPolicy
from gnnflow.policies.classifier.saved import load_classifier, shipped_classifiers
from gnnflow.policies.llm.judge import Judge
from gnnflow.policies.llm.language_model import LanguageModel
from gnnflow.policies.llm.model_files import SMALL_MODEL, TUNED_MODEL
from gnnflow.policies.llm.policy import LlmPolicy, prompt_parts
from gnnflow.prefetch import ReplaySettings, Trace, belady_hits, replay_trace
from gnnflow.prefetch.policy_replay import replay_with_policy
from gnnflow.prefetch.replay import ReplayResult, every
from gnnflow.terminal import PlainConsole, Table, progress

BUDGETS = (0.05, 0.10, 0.25, 0.50)
STALE_AFTER = 10
PERIODS = (1, 2, 5, 10, 20, 40, 80)
STATIC_STALE_AFTER = (5, 10, 20)
FILLS = ("degree", "vip")
# What rows are called, scorer and fill.
STARTS = {
    "decay": ("decay", "empty"),
    "decay-filled": ("decay", "degree"),
    "lookahead": ("lookahead", "empty"),
}
UNTUNED_BUDGET = 0.25

MakePolicy = Callable[[], ReplacementPolicy]


@dataclass(frozen=True, slots=True)
class Played:
    """What a policy did with one graph, budget, scorer and fill."""

    graph: str
    budget: float
    scorer: str
    """Key of `STARTS`."""
    policy: str
    volume: int
    hit_rate: float
    against_static: float
    """Volume of the best schedule over this one."""
    pass_at_1: float | None = None
    latency_s: float | None = None
    decisions: int = 0
    replacements: int = 0


def language_policy(name: str) -> MakePolicy:
    """Returns what makes the policy `llm` with a model in this process; loads it once."""
    judge = Judge(LanguageModel.load(name), identity="")
    parts = prompt_parts(name)
    return lambda: LlmPolicy(judge, parts)


def policies(report: Report, *, quick: bool) -> dict[str, MakePolicy]:
    """Returns every policy that decides, by name."""
    found: dict[str, MakePolicy] = {"auto": AutoPolicy, "bandit": BanditPolicy}
    for kind in shipped_classifiers():
        try:
            _, classifier = load_classifier(kind)
        except GnnflowError as error:
            report.absent(kind, str(error))
            continue
        found[kind] = lambda classifier=classifier: ClassifierPolicy(classifier)  # type: ignore[misc]
    models = {"llm": SMALL_MODEL, "llm-tuned": TUNED_MODEL}
    for label, name in models.items():
        if quick and label == "llm":
            continue  # its prompt is long
        try:
            found[label] = language_policy(name)
        except GnnflowError as error:
            report.absent(label, str(error))
    return found


def best_static(trace: Trace, capacity: int, fill: str, *, quick: bool) -> tuple[ReplayResult, str]:
    """Returns the least volume of all schedules of the scorer `decay`, and which gave it."""
    periods = (1, 5, 20) if quick else PERIODS
    if fill != "empty":
        periods = (0, *periods)
    stale = (STALE_AFTER,) if quick else STATIC_STALE_AFTER
    tried = []
    for period, stale_after in product(periods, stale):
        settings = ReplaySettings(scorer="decay", capacity=capacity, period=stale_after, fill=fill)
        result = replay_trace(trace, settings, every(period))
        tried.append((result.volume_rows, f"period {period}, stale after {stale_after}", result))
    _, how, result = min(tried, key=lambda each: each[:2])
    return result, how


def fill_once(trace: Trace, capacity: int) -> ReplayResult:
    """Returns the better of two fills at the start that are never replaced."""
    results = [
        replay_trace(trace, ReplaySettings(scorer="decay", capacity=capacity, fill=fill, period=0))
        for fill in FILLS
    ]
    return min(results, key=lambda result: result.volume_rows)


def hit_rate(result: ReplayResult) -> float:
    return int(result.num_hits.sum()) / max(int(result.num_requested.sum()), 1)


def compare(
    graph: str,
    trace: Trace,
    budget: float,
    makers: Mapping[str, MakePolicy],
    report: Report,
    *,
    quick: bool,
) -> list[Played]:
    """Adds the rows of one graph and budget."""
    capacity = max(int(budget * trace.num_halo), 1)
    statics = {
        fill: best_static(trace, capacity, fill, quick=quick) for fill in ("empty", "degree")
    }
    once = fill_once(trace, capacity)
    least = trace.num_requested - int(belady_hits(trace.minibatches(), capacity).sum())

    def played(start: str, policy: str, volume: int, rate: float, **more: object) -> Played:
        static, _ = statics[STARTS[start][1]]
        return Played(  # type: ignore[arg-type]
            graph, budget, start, policy, volume, rate, static.volume_rows / volume, **more
        )

    found = [
        played("decay", "none", trace.num_requested, 0.0),
        played("decay", "fill-once", once.volume_rows, hit_rate(once)),
        played("decay", "belady", least, 1 - least / trace.num_requested),
    ]
    for start, (scorer, fill) in STARTS.items():
        if scorer == "decay":
            static, _ = statics[fill]
            found.append(played(start, "static", static.volume_rows, hit_rate(static)))
        for name, make in makers.items():
            if name == "llm" and budget != UNTUNED_BUDGET:
                continue
            settings = ReplaySettings(
                scorer=scorer, capacity=capacity, period=STALE_AFTER, fill=fill
            )
            play = replay_with_policy(trace, settings, make())
            summary = play.statistics.summary()
            found.append(
                played(
                    start,
                    name,
                    play.result.volume_rows,
                    hit_rate(play.result),
                    pass_at_1=summary["pass_at_1"],
                    latency_s=summary["latency_median_s"],
                    decisions=summary["decisions"],
                    replacements=summary["replacements"],
                )
            )
    for each in found:
        static, how = statics[STARTS[each.scorer][1]]
        notes: dict[str, float | str] = {
            "static_at": how,
            "of_no_cache": each.volume / trace.num_requested,
            "of_belady": each.volume / least,
            "hit_rate": each.hit_rate,
            "decisions": float(each.decisions),
            "replacements": float(each.replacements),
        }
        if each.pass_at_1 is not None:
            notes["pass_at_1"] = each.pass_at_1
        if each.latency_s is not None:
            notes["latency_median_s"] = each.latency_s
        report.add(
            Row(
                name=f"policies/{graph}/{round(100 * budget)}/{each.scorer}/{each.policy}",
                ours=each.volume,
                theirs=static.volume_rows,
                unit="rows",
                against="best static",
                notes=notes,
            )
        )
    return found


def summarise(title: str, start: str, all_played: Sequence[Played]) -> None:
    """Prints what each policy comes to."""
    mine = [each for each in all_played if each.scorer == start]
    table = Table(title=title, title_justify="left")
    budgets = sorted({each.budget for each in mine})
    for heading in ("policy", *(f"{100 * budget:g} %" for budget in budgets)):
        table.add_column(heading, justify="right")
    for heading in ("better than static", "Pass@1", "latency"):
        table.add_column(heading, justify="right")
    for policy in dict.fromkeys(each.policy for each in mine):
        own = [each for each in mine if each.policy == policy]
        by_budget = [
            [each.against_static for each in own if each.budget == budget] for budget in budgets
        ]
        judged = [each.pass_at_1 for each in own if each.pass_at_1 is not None]
        latencies = [each.latency_s for each in own if each.latency_s is not None]
        better = sum(each.against_static > 1 for each in own)
        table.add_row(
            policy,
            *(f"{_geometric(ratios):.3f}" if ratios else "" for ratios in by_budget),
            f"{better} of {len(own)}",
            f"{sum(judged) / len(judged):.2f}" if judged else "",
            f"{1000 * median(latencies):.2f} ms" if latencies else "",
        )
    PlainConsole().print(table)


def say_losses(all_played: Sequence[Played], report: Report) -> None:
    """Says where a language model moves more rows than a simpler rule."""
    by_place: dict[tuple[str, float], dict[str, int]] = {}
    for each in all_played:
        if each.scorer == "decay":
            by_place.setdefault((each.graph, each.budget), {})[each.policy] = each.volume
    for model in ("llm", "llm-tuned"):
        for rule in ("static", "auto", "bandit", "lr", "rf", "mlp"):
            places = [each for each in by_place.values() if model in each and rule in each]
            lost = [
                f"{graph} {100 * budget:g} % by {100 * (each[model] / each[rule] - 1):.1f} %"
                for (graph, budget), each in by_place.items()
                if model in each and rule in each and each[model] > each[rule]
            ]
            if lost:
                report.say(
                    f"{model} loses to {rule} in {len(lost)} of {len(places)}: {', '.join(lost)}"
                )


def _geometric(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / max(len(values), 1))


def run(options: Options, report: Report) -> None:
    """Adds the rows of all graphs."""
    torch.set_num_threads(options.threads)
    makers = policies(report, quick=options.quick)
    workloads = QUICK if options.quick else (*UNSEEN, *SEEN)
    budgets = (0.25,) if options.quick else BUDGETS
    played: list[Played] = []
    with progress(PlainConsole(stderr=True)) as bars:
        bar = bars.add_task("", total=len(workloads) * len(budgets))
        for workload in workloads:
            bars.update(bar, description=f"sampling {workload.name}")
            with tempfile.TemporaryDirectory() as folder:
                trace = sample_workload(workload, Path(folder)).traces[0]
            for budget in budgets:
                bars.update(bar, description=f"{workload.name}, cache of {100 * budget:g} %")
                played += compare(workload.name, trace, budget, makers, report, quick=options.quick)
                bars.advance(bar)
    unseen = {workload.name for workload in (*UNSEEN, *QUICK)}
    title = "Volume of the best static schedule over the policy's, scorer decay, unseen graphs"
    mine = [each for each in played if each.graph in unseen]
    summarise(f"{title}, from empty caches", "decay", mine)
    summarise(f"{title}, caches filled by degree", "decay-filled", mine)
    say_losses(played, report)
    report.absent("svm, xgb and tabnet", "gnnflow-policy fit makes them, none comes with gnnflow")


def main() -> None:
    with benchmark("benchmarks.policies", __doc__, "Policies") as (options, report):
        run(options, report)


if __name__ == "__main__":
    main()
