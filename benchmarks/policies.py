"""Communication volume under every policy, and what their decisions are worth.

    python -m benchmarks.policies [--quick] [--json FILE]

Rows `policies/GRAPH/BUDGET/SCORER/POLICY` compare rows that cross to the first of four ranks, fills
included, with the best fixed schedule of the scorer `decay`, which is chosen anew for each graph
and budget by trying them all: every period, alpha and number of minibatches after which a row is
stale that `fixed_schedules.py` lists. The policies have one setting for all graphs. Caches
start empty; with `decay-filled` in place of a scorer they start with the halo vertices of highest
degree, those of the schedules too, one of which is to leave that fill as it is. The file also has
the volume against no cache and against Belady's optimum, the hit rate, decisions, replacements and
the median latency. Budgets are percent of the halo vertices.

Pass@1 is taken over 16 minibatches, and stands beside what always saying no, always saying yes and
a threshold on one number would have had over the same decisions. Each policy brings about its own
situations, so these figures compare a policy with its three rivals and not with other policies;
`python -m benchmarks.pass_at_1` asks all about the same situations.

The classifiers that come with gnnflow have learnt from generated graphs; of those here they have
seen the ones whose names begin with `train`. Language models take part where
`gnnflow-policy get-model` has been run: `llm` as it comes, at a budget of 25 % only because its
prompt is long, and `llm-tuned` with the adapter that comes with gnnflow, which has learnt from the
same graphs as the classifiers.
"""

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

from benchmarks._harness import Options, Report, Row, over, run_benchmark
from benchmarks._policy_graphs import QUICK, SEEN, UNSEEN
from benchmarks._traces import sample_workload
from benchmarks.fixed_schedules import STALE_AFTER, best_schedule, capacity_of, schedules
from gnnflow.cache import belady_hits
from gnnflow.errors import GnnflowError
from gnnflow.policies import ReplacementPolicy
from gnnflow.policies.auto import AutoPolicy
from gnnflow.policies.bandit import BanditPolicy
from gnnflow.policies.classifier.classifier_folder import load_classifier, shipped_classifiers
from gnnflow.policies.classifier.classifier_policy import ClassifierPolicy
from gnnflow.policies.llm.judge import Judge
from gnnflow.policies.llm.llm_policy import LlmPolicy, prompt_parts
from gnnflow.policies.llm.model.language_model import LanguageModel
from gnnflow.policies.llm.model.model_files import SMALL_MODEL, TUNED_MODEL
from gnnflow.policies.rivals import RIVALS
from gnnflow.replay import ReplaySettings, Trace, replay_trace
from gnnflow.replay.policy_replay import replay_with_policy
from gnnflow.replay.replay import ReplayResult
from gnnflow.terminal import PlainConsole, Table, progress

BUDGETS = (0.05, 0.10, 0.25, 0.50)
POLICY_STALE_AFTER = 10
FILLS = ("degree", "vip")
# What rows are called, scorer and fill.
STARTS = {
    "decay": ("decay", "empty"),
    "decay-filled": ("decay", "degree"),
    "lookahead": ("lookahead", "empty"),
}
UNTUNED_BUDGET = 0.25

MakePolicy = Callable[[], ReplacementPolicy]


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """What a policy did with one graph, budget, scorer and fill."""

    graph: str
    budget: float
    scorer: str
    """Key of `STARTS`."""
    policy: str
    volume: int
    hit_rate: float
    static: int
    """Volume of the best schedule."""
    static_at: str
    """Which one that is."""
    no_cache: int
    """Volume without a cache."""
    belady: int
    """The least possible."""
    pass_at_1: float | None = None
    rivals: dict[str, float] = field(default_factory=dict)
    """What each of `RIVALS` would have had over the same decisions."""
    latency_s: float | None = None
    decisions: int = 0
    replacements: int = 0

    @property
    def against_static(self) -> float:
        """Volume of the best schedule over this one."""
        return over(self.static, self.volume)


def language_policy(name: str) -> MakePolicy:
    """Returns what makes the policy `llm` with a model in this process; loads it once."""
    judge = Judge(LanguageModel.load(name), identity="")
    parts = prompt_parts(name)
    return lambda: LlmPolicy(judge, parts)


def without_models(absent: Callable[[str, str], None]) -> dict[str, MakePolicy]:
    """Returns every policy that decides without a language model, by name."""
    found: dict[str, MakePolicy] = {"auto": AutoPolicy, "bandit": BanditPolicy}
    for kind in shipped_classifiers():
        try:
            _, classifier = load_classifier(kind)
        except GnnflowError as error:
            absent(kind, str(error))
            continue
        found[kind] = lambda classifier=classifier: ClassifierPolicy(classifier)  # type: ignore[misc]
    return found


def policies(report: Report, *, quick: bool) -> dict[str, MakePolicy]:
    """Returns every policy that decides, by name."""
    found = without_models(report.absent)
    models = {"llm": SMALL_MODEL, "llm-tuned": TUNED_MODEL}
    for label, name in models.items():
        if quick and label == "llm":
            continue  # its prompt is long
        try:
            found[label] = language_policy(name)
        except GnnflowError as error:
            report.absent(label, str(error))
    return found


def best_static(trace: Trace, budget: float, fill: str) -> tuple[ReplayResult, str]:
    """Returns the least volume of all schedules of the scorer `decay`, and which gave it."""
    candidates = schedules((fill,), stale_after=(None, *STALE_AFTER))
    best = best_schedule([trace], budget, candidates).best
    return best.replay(trace, capacity_of(trace, budget)), str(best)


def fill_once(trace: Trace, capacity: int) -> ReplayResult:
    """Returns the better of two fills at the start that are never replaced."""
    results = [
        replay_trace(trace, ReplaySettings(scorer="decay", capacity=capacity, fill=fill, period=0))
        for fill in FILLS
    ]
    return min(results, key=lambda result: result.volume_rows)


def hit_rate(result: ReplayResult) -> float:
    return int(result.rows_hit.sum()) / max(int(result.rows_asked.sum()), 1)


def play(graph: str, trace: Trace, budget: float, makers: Mapping[str, MakePolicy]) -> list[Played]:
    """Plays every policy with one graph and budget."""
    capacity = capacity_of(trace, budget)
    statics = {fill: best_static(trace, budget, fill) for fill in ("empty", "degree")}
    once = fill_once(trace, capacity)
    no_cache = trace.rows_asked
    least = no_cache - int(belady_hits(trace.minibatches(), capacity).sum())

    def played(start: str, policy: str, volume: int, rate: float, **more: Any) -> Played:
        static, how = statics[STARTS[start][1]]
        return Played(
            graph=graph,
            budget=budget,
            scorer=start,
            policy=policy,
            volume=volume,
            hit_rate=rate,
            static=static.volume_rows,
            static_at=how,
            no_cache=no_cache,
            belady=least,
            **more,
        )

    found = [
        played("decay", "none", no_cache, 0.0),
        played("decay", "fill-once", once.volume_rows, hit_rate(once)),
        played("decay", "belady", least, 1 - least / max(no_cache, 1)),
    ]
    for start, (scorer, fill) in STARTS.items():
        if scorer == "decay":
            static, _ = statics[fill]
            found.append(played(start, "static", static.volume_rows, hit_rate(static)))
        for name, make in makers.items():
            if name == "llm" and budget != UNTUNED_BUDGET:
                continue
            settings = ReplaySettings(
                scorer=scorer, capacity=capacity, period=POLICY_STALE_AFTER, fill=fill
            )
            one = replay_with_policy(trace, settings, make())
            summary = one.statistics.summary()
            found.append(
                played(
                    start,
                    name,
                    one.result.volume_rows,
                    hit_rate(one.result),
                    pass_at_1=summary["pass_at_1"],
                    rivals={
                        rival: summary[rival] for rival in RIVALS if summary[rival] is not None
                    },
                    latency_s=summary["latency_median_s"],
                    decisions=summary["decisions"],
                    replacements=summary["replacements"],
                )
            )
    return found


def row_of(played: Played) -> Row:
    """The row of one policy, graph, budget and start."""
    notes: dict[str, float | str] = {
        "static_at": played.static_at,
        "of_no_cache": over(played.volume, played.no_cache),
        "of_belady": over(played.volume, played.belady),
        "hit_rate": played.hit_rate,
        "decisions": float(played.decisions),
        "replacements": float(played.replacements),
    }
    if played.pass_at_1 is not None:
        notes |= {"pass_at_1": played.pass_at_1, **played.rivals}
    if played.latency_s is not None:
        notes["latency_median_s"] = played.latency_s
    budget = round(100 * played.budget)
    return Row(
        name=f"policies/{played.graph}/{budget}/{played.scorer}/{played.policy}",
        ours=played.volume,
        theirs=played.static,
        unit="rows",
        against="best static",
        notes=notes,
    )


def summary_table(title: str, start: str, all_played: Sequence[Played]) -> Table:
    """What each policy comes to; Pass@1 and its rivals are means over graphs and budgets."""
    mine = [each for each in all_played if each.scorer == start]
    table = Table(title=title, title_justify="left")
    budgets = sorted({each.budget for each in mine})
    for heading in ("policy", *(f"{100 * budget:g} %" for budget in budgets)):
        table.add_column(heading, justify="right")
    for heading in ("better than static", "Pass@1", *RIVALS.values(), "latency"):
        table.add_column(heading, justify="right")
    for policy in dict.fromkeys(each.policy for each in mine):
        own = [each for each in mine if each.policy == policy]
        by_budget = [
            [each.against_static for each in own if each.budget == budget] for budget in budgets
        ]
        judged = [
            {"pass_at_1": each.pass_at_1, **each.rivals}
            for each in own
            if each.pass_at_1 is not None
        ]
        latencies = [each.latency_s for each in own if each.latency_s is not None]
        better = sum(each.against_static > 1 for each in own)
        table.add_row(
            policy,
            *(f"{_geometric(ratios):.3f}" if ratios else "" for ratios in by_budget),
            f"{better} of {len(own)}",
            *(
                f"{mean(scores[name] for scores in judged):.2f}" if judged else ""
                for name in ("pass_at_1", *RIVALS)
            ),
            f"{1000 * median(latencies):.2f} ms" if latencies else "",
        )
    return table


def losses(all_played: Sequence[Played]) -> Iterator[str]:
    """Says where a language model moves more rows than a simpler rule."""
    by_place: dict[tuple[str, str, float], dict[str, int]] = {}
    for each in all_played:
        if STARTS[each.scorer][0] == "decay":
            place = (each.graph, STARTS[each.scorer][1], each.budget)
            by_place.setdefault(place, {"static": each.static})[each.policy] = each.volume
    for model in ("llm", "llm-tuned"):
        for rule in ("static", "auto", "bandit", "lr", "rf", "mlp"):
            places = {
                place: rows for place, rows in by_place.items() if model in rows and rule in rows
            }
            lost = [
                f"{graph} {100 * budget:g} % fill {fill} by "
                f"{100 * (over(rows[model], rows[rule]) - 1):.1f} %"
                for (graph, fill, budget), rows in places.items()
                if rows[model] > rows[rule]
            ]
            if lost:
                yield f"{model} loses to {rule} in {len(lost)} of {len(places)}: {', '.join(lost)}"


def _geometric(values: Sequence[float]) -> float:
    return math.exp(mean(map(math.log, values))) if all(values) else 0.0


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
                played += play(workload.name, trace, budget, makers)
                bars.advance(bar)
    for each in played:
        report.add(row_of(each))
    unseen = {workload.name for workload in (*UNSEEN, *QUICK)}
    title = "Volume of the best static schedule over the policy's, scorer decay, unseen graphs"
    mine = [each for each in played if each.graph in unseen]
    console = PlainConsole()
    console.print(summary_table(f"{title}, from empty caches", "decay", mine))
    console.print(summary_table(f"{title}, caches filled by degree", "decay-filled", mine))
    for line in losses(played):
        report.say(line)
    report.absent("svm, xgb and tabnet", "gnnflow-policy fit makes them, none comes with gnnflow")


if __name__ == "__main__":
    run_benchmark("benchmarks.policies", __doc__, "Policies", run)
