"""Communication volume of the halo cache, and what its books cost.

    python -m benchmarks.cache [--quick] [--json FILE]

(`python -m benchmarks.cache_contents` does the same on a large real graph.)

Rows `cache/GRAPH/BUDGET/SCORER` compare rows that cross between ranks (fills included), summed over
4 METIS parts, with Belady's optimum and with two versions of the decay scheme, each at the best of
several fills, periods and alphas: `decay-published` does what the published code does, `decay` is
gnnflow's scorer, which any remote vertex may enter and which fetches nothing twice. Budgets are
percent of the halo vertices.

Rows `cache/GRAPH/BUDGET/shared` and `.../dependent` compare the rows that the scorer lookahead
moves where neighbours are drawn by key (`--draw`, keys of 16 steps) with the least that any cache
could move of the independent draw's minibatches, and with what lookahead moves of them.

Rows `cache/GRAPH/BUDGET/stored` and `.../dependent-stored` do so in bytes where the first hop is
stored (`--first-hop stored`): minibatches have a hop less, a row is twice as long, and as many
bytes hold half as many rows.

Rows `cache/GRAPH/BUDGET/common-rows` compare rows that cross between two machines of two ranks
each where the ranks of a machine hold common rows once (`--cache-scope host`) and where they do
not, also for draws by key (`cache/GRAPH/BUDGET/DRAW-common-rows`); below, the share of rows that
another rank of the machine fetches in the same step.

Rows `cache/GRAPH/books/SCORER` compare the mean processor time per minibatch of look-up and
bookkeeping, once all vertices were met, with a plain sorted buffer whose scores all decay (as
published: all vertices of the minibatch are looked up; and told the remote ones alone), and with
a twentieth of the time of sampling the minibatch: in a job of 4 ranks on this machine, with its
remote hops, and from memory by one thread. Both sides run by one thread, in turns.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import thread_time

import numpy as np
from numpy.typing import NDArray

from benchmarks import _distributed_sampling_side
from benchmarks._harness import Options, Report, Row, over, run_benchmark, take_turns
from benchmarks._host_scope import compare_scopes
from benchmarks._sorted_buffer import SortedBuffer
from benchmarks._traces import Sampled, TraceWorkload, repeated, sample_workload
from benchmarks.fixed_schedules import FixedSchedule, best_schedule, schedules, search
from gnnflow.cache import belady_hits
from gnnflow.replay import Replay, ReplaySettings, Trace, replay_trace

Ids = NDArray[np.int64]
WORKLOADS = (
    TraceWorkload(
        name="debian-packages", generate=None, fanout=(10, 10), batch_size=256, num_epochs=6
    ),
    TraceWorkload(
        name="sbm",
        generate="sbm:vertices=300000,edges=4400000",
        fanout=(10, 25),
        batch_size=500,
        num_epochs=6,
    ),
    TraceWorkload(
        name="sbm-25-10",
        generate="sbm:vertices=300000,edges=4400000",
        fanout=(25, 10),
        batch_size=500,
        num_epochs=6,
    ),
    TraceWorkload(
        name="rmat",
        generate="rmat:vertices=262144,edges=4200000",
        fanout=(10, 10),
        batch_size=500,
        num_epochs=6,
    ),
)
QUICK_WORKLOADS = (
    TraceWorkload(
        name="debian-packages", generate=None, fanout=(10, 10), batch_size=256, num_epochs=3
    ),
    TraceWorkload(
        name="sbm",
        generate="sbm:vertices=40000,edges=600000",
        fanout=(10, 10),
        batch_size=100,
        num_epochs=3,
    ),
)
BUDGETS = (0.05, 0.10, 0.25, 0.50)
SETTINGS = {
    "lookahead": {"scorer": "lookahead"},
    "vip": {"scorer": "vip"},
    "frequency": {"scorer": "frequency"},
    "lru": {"scorer": "lru"},
    "degree": {"scorer": "lru", "fill": "degree", "period": 0},
}
FILLS, PERIODS = ("empty", "degree"), (1, 3, 10, 25, 50)
FINALISTS = 3
QUICK_PERIODS = (3, 10, 25)


def volume(traces: Sequence[Trace], budget: float, **settings: object) -> int:
    """Returns the rows that cross, over all ranks."""
    return sum(
        replay_trace(
            trace,
            ReplaySettings(capacity=int(budget * trace.num_budget_rows), **settings),  # type: ignore[arg-type]
        ).volume_rows
        for trace in traces
    )


def belady_volume(traces: Sequence[Trace], budget: float) -> int:
    """Returns the least rows that can cross."""
    return sum(
        trace.rows_asked
        - int(belady_hits(trace.minibatches(), int(budget * trace.num_budget_rows)).sum())
        for trace in traces
    )


def best_decay(traces: Sequence[Trace], budget: float, periods: Sequence[int]) -> tuple[int, str]:
    """Returns the least rows of the published scheme, and what gave them.

    All settings are tried on the first rank, the best `FINALISTS` of them on all ranks.
    """
    found = best_schedule(traces, budget, schedules(FILLS, periods), FINALISTS)
    return found.rows, str(found.best)


def published_volume(traces: Sequence[Trace], budget: float, schedule: FixedSchedule) -> int:
    """Returns the rows that cross with the published code, whose buffer starts by degree."""
    rows, alpha, period = 0, schedule.alpha, schedule.period
    for trace in traces:
        capacity = int(budget * trace.num_halo)
        best = np.argsort(-trace.halo_degree, kind="stable")[:capacity]
        buffer = SortedBuffer(trace.halo, np.sort(trace.halo[best]), alpha=alpha, period=period)
        for minibatch in range(trace.num_minibatches):
            buffer.plan(trace.ids(minibatch))
        rows += trace.rows_asked - buffer.num_hits + buffer.num_filled
    return rows


def best_published(
    traces: Sequence[Trace], budget: float, periods: Sequence[int]
) -> tuple[int, str]:
    """Returns the least rows of the published code, and what gave them; as `best_decay`."""
    found = search(
        traces,
        schedules(("degree",), periods),
        lambda of, schedule: published_volume(of, budget, schedule),
        FINALISTS,
    )
    return found.rows, str(found.best)


def compare_volumes(
    name: str,
    traces: Sequence[Trace],
    report: Report,
    *,
    budgets: Sequence[float],
    periods: Sequence[int],
) -> None:
    """Adds the rows of one graph."""
    requested = sum(trace.rows_asked for trace in traces)
    for budget in budgets:
        least = belady_volume(traces, budget)
        rivals = {
            "decay": best_decay(traces, budget, periods),
            "decay-published": best_published(traces, budget, periods),
        }
        for scorer, settings in SETTINGS.items():
            ours = volume(traces, budget, **settings)
            facts: dict[str, float | str] = {"of_no_cache": over(ours, requested)}
            row = f"cache/{name}/{round(100 * budget)}/{scorer}"
            report.add(
                Row(name=row, ours=ours, theirs=least, unit="rows", against="belady", facts=facts)
            )
            for against, (rows, how) in rivals.items():
                facts = {"theirs_of_no_cache": over(rows, requested), "theirs_at": how}
                report.add(
                    Row(name=row, ours=ours, theirs=rows, unit="rows", against=against, facts=facts)
                )


def compare_draws(name: str, sampled: Sampled, report: Report, *, budgets: Sequence[float]) -> None:
    """Adds the rows on draws by key of one graph."""
    plain = sampled.traces
    asked = sum(trace.rows_asked for trace in plain)
    for budget in budgets:
        rivals = {
            "belady, independent draw": belady_volume(plain, budget),
            "lookahead, independent draw": volume(plain, budget, scorer="lookahead"),
        }
        for draw, traces in sampled.by_key.items():
            row = f"cache/{name}/{round(100 * budget)}/{draw}"
            ours = volume(traces, budget, scorer="lookahead")
            facts: dict[str, float | str] = {
                "asked_of_independent": over(sum(trace.rows_asked for trace in traces), asked),
                "own_belady": belady_volume(traces, budget),
            }
            for against, least in rivals.items():
                report.add(
                    Row(
                        name=row, ours=ours, theirs=least, unit="rows", against=against, facts=facts
                    )
                )
                facts = {}


def compare_stored(
    name: str, sampled: Sampled, report: Report, *, budgets: Sequence[float]
) -> None:
    """Adds the rows on a stored first hop of one graph."""
    plain = sampled.traces
    for budget in budgets:
        rivals = {
            "belady, first hop sampled": belady_volume(plain, budget),
            "lookahead, first hop sampled": volume(plain, budget, scorer="lookahead"),
            "no cache, first hop sampled": sum(trace.rows_asked for trace in plain),
        }
        for draw, traces in sampled.stored.items():
            before = "" if draw == "independent" else f"{draw}-"
            ours = volume(traces, budget, scorer="lookahead") * traces[0].facts.row_bytes
            for against, rows in rivals.items():
                report.add(
                    Row(
                        name=f"cache/{name}/{round(100 * budget)}/{before}stored",
                        ours=ours,
                        theirs=rows * plain[0].facts.row_bytes,
                        unit="bytes",
                        against=against,
                    )
                )


def time_books(plan: Callable[[int], object], first: int, last: int) -> float:
    """Returns the mean microseconds of the minibatches from `first` to before `last`."""
    # The mean, because the published scheme does much of its work every so many minibatches.
    for minibatch in range(first):
        plan(minibatch)
    begin = thread_time()
    for minibatch in range(first, last):
        plan(minibatch)
    return 1e6 * (thread_time() - begin) / (last - first)


def compare_books(workload: TraceWorkload, sampled: Sampled, report: Report) -> None:
    """Adds the rows on time of one graph."""
    num = sampled.traces[0].num_minibatches
    # The first pass meets all vertices, the second is measured, the third lies ahead of it.
    trace = repeated(sampled.traces[0], 3)
    capacity = int(0.25 * trace.num_halo)

    def ours(scorer: str) -> Callable[[], float]:
        def measure() -> float:
            run = Replay(trace, ReplaySettings(scorer=scorer, capacity=capacity))

            def plan(minibatch: int) -> None:
                run.announce(minibatch)
                run.step(minibatch, 1.0)

            return time_books(plan, num, 2 * num)

        return measure

    def theirs(ids: Sequence[NDArray[np.int64]]) -> Callable[[], float]:
        def measure() -> float:
            first = np.sort(np.random.default_rng(0).choice(trace.halo, capacity, replace=False))
            buffer = SortedBuffer(trace.halo, first, alpha=0.05, period=10)
            return time_books(lambda minibatch: buffer.plan(ids[minibatch % num]), num, 2 * num)

        return measure

    sides = {scorer: ours(scorer) for scorer in ("lookahead", "vip", "frequency")}
    sorted_buffers = {
        "sorted buffer": theirs(sampled.vertices),
        "sorted buffer, remote ids": theirs(sampled.traces[0].minibatches()),
    }
    median = take_turns(sides | sorted_buffers, rounds=3, limit_s=10)
    distributed_s = _distributed_sampling_side.measure(
        sampled.folder, workload.batch_size, workload.fanout
    )
    values = {against: median[against] for against in sorted_buffers} | {
        "sampling of 4 ranks / 20": 1e6 * distributed_s / 20,
        "sampling from memory / 20": 1e6 * sampled.sample_s / 20,
    }
    for scorer in sides:
        facts: dict[str, float | str] = {
            "remote_rows": sampled.traces[0].rows_asked / num,
            "vertices": float(np.mean([len(each) for each in sampled.vertices])),
            "capacity": float(capacity),
        }
        for against, value in values.items():
            name = f"cache/{workload.name}/books/{scorer}"
            report.add(
                Row(
                    name=name,
                    ours=median[scorer],
                    theirs=value,
                    unit="us",
                    against=against,
                    facts=facts,
                )
            )
            facts = {}


def compare_workload(
    workload: TraceWorkload, options: Options, report: Report, *, periods: Sequence[int]
) -> None:
    """Adds all rows of one graph.

    Raises:
        DataError: If the graph is not to be had here.
    """
    budgets = (0.25,) if options.quick else BUDGETS
    with tempfile.TemporaryDirectory() as folder:
        sampled = sample_workload(workload, Path(folder))
        compare_volumes(workload.name, sampled.traces, report, budgets=budgets, periods=periods)
        compare_draws(workload.name, sampled, report, budgets=budgets)
        compare_stored(workload.name, sampled, report, budgets=budgets)
        compare_scopes(workload.name, sampled, report, budgets=budgets)
        compare_books(workload, sampled, report)


def compare(options: Options, report: Report) -> None:
    """Adds the rows of all graphs."""
    for workload in QUICK_WORKLOADS if options.quick else WORKLOADS:
        periods = QUICK_PERIODS if options.quick else PERIODS
        compare_workload(workload, options, report, periods=periods)


if __name__ == "__main__":
    run_benchmark("benchmarks.cache", __doc__, "Halo cache", compare)
