"""Rows that cross between two machines of two ranks each, by where the ranks keep them."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks._harness import Report, Row, over
from benchmarks._traces import Sampled
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.partition import open_partition
from gnnflow.prefetch.host_rows import SHARE, common_ids
from gnnflow.replay import Replay, ReplaySettings, Trace

Ids = NDArray[np.int64]
HOSTS = ((0, 1), (2, 3))
"""Ranks of each machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScopeVolume:
    """Rows that cross between machines."""

    rows: int
    """With those that fill common rows before the first minibatch."""
    twice: int
    """Those that several ranks of a machine fetch in the same step, but for the first time."""


def volumes_by_scope(
    traces: Sequence[Trace], offsets: Ids, budget: float
) -> dict[str, ScopeVolume]:
    """Returns the rows that cross between the machines for each `--cache-scope`.

    Args:
        traces: Of four ranks.
        offsets: First global id of each part.
        budget: Share of the halo vertices on other machines that a rank may hold.
    """
    found: dict[str, list[ScopeVolume]] = {"rank": [], "host": []}
    for host in HOSTS:
        low, high = offsets[host[0]], offsets[host[-1] + 1]
        elsewhere = [
            restricted(traces[rank], lambda ids, low=low, high=high: (ids < low) | (ids >= high))
            for rank in host
        ]
        capacities = [int(budget * trace.num_halo) for trace in elsewhere]
        found["rank"].append(volume_of_machine(elsewhere, capacities))
        num_common = int(SHARE * len(host) * min(capacities))
        common = common_ids([trace.vip for trace in elsewhere if trace.vip], num_common)
        rest = [
            restricted(trace, lambda ids, common=common: ~np.isin(ids, common))
            for trace in elsewhere
        ]
        left = [
            capacity - len(common[position :: len(host)])
            for position, capacity in enumerate(capacities)
        ]
        beyond = volume_of_machine(rest, left)
        found["host"].append(dataclasses.replace(beyond, rows=beyond.rows + len(common)))
    return {
        scope: ScopeVolume(
            rows=sum(volume.rows for volume in volumes),
            twice=sum(volume.twice for volume in volumes),
        )
        for scope, volumes in found.items()
    }


def volume_of_machine(traces: Sequence[Trace], capacities: Sequence[int]) -> ScopeVolume:
    """Replays the ranks of a machine side by side."""
    replays = [
        Replay(trace, ReplaySettings(capacity=capacity))
        for trace, capacity in zip(traces, capacities, strict=True)
    ]
    rows = twice = 0
    for minibatch in range(traces[0].num_minibatches):
        fetched = []
        for replay in replays:
            replay.announce(minibatch)
            fetched.append(replay.step(minibatch, 1.0).fetch_ids)
        of_step = np.concatenate(fetched)
        rows += len(of_step)
        twice += len(of_step) - len(np.unique(of_step))
    return ScopeVolume(rows=rows, twice=twice)


def restricted(trace: Trace, wanted: Callable[[Ids], NDArray[np.bool_]]) -> Trace:
    """Returns a trace of some vertices alone."""
    kept = [ids[wanted(ids)] for ids in trace.minibatches()]
    in_halo = wanted(trace.halo)
    vip = trace.vip
    if vip is not None:
        listed = wanted(vip.ids)
        vip = VertexValues(vip.ids[listed], vip.values[listed])
    return dataclasses.replace(
        trace,
        remote_ids=np.concatenate([trace.remote_ids[:0], *kept]),
        offsets=np.concatenate([[0], np.cumsum([len(ids) for ids in kept])]).astype(np.int64),
        halo=trace.halo[in_halo],
        halo_degree=trace.halo_degree[in_halo],
        vip=vip,
    )


def compare_scopes(
    name: str, sampled: Sampled, report: Report, *, budgets: Sequence[float]
) -> None:
    """Adds the rows on common rows of one graph."""
    offsets = open_partition(sampled.folder, 0).book.offsets
    draws = {"": sampled.traces} | {f"{draw}-": each for draw, each in sampled.by_key.items()}
    for budget in budgets:
        for draw, traces in draws.items():
            found = volumes_by_scope(traces, offsets, budget)
            facts: dict[str, float | str] = {
                f"{whose}_share_that_a_rank_of_the_machine_fetches_in_the_same_step": over(
                    found[scope].twice, found[scope].rows
                )
                for whose, scope in (("our", "host"), ("their", "rank"))
            }
            report.add(
                Row(
                    name=f"cache/{name}/{round(100 * budget)}/{draw}common-rows",
                    ours=found["host"].rows,
                    theirs=found["rank"].rows,
                    unit="rows",
                    against="rank scope",
                    facts=facts,
                )
            )
