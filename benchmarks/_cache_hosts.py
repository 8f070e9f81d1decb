"""Traffic between machines of two ranks each, with and without common rows, over traces."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gnnflow.cache.vertex_values import VertexValues
from gnnflow.prefetch.host_rows import SHARE, common_ids
from gnnflow.replay import ReplaySettings, Trace, replay_trace

Ids = NDArray[np.int64]
HOSTS = ((0, 1), (2, 3))


def volumes(traces: Sequence[Trace], offsets: Ids, budget: float) -> dict[str, int]:
    """Returns the rows that cross between the machines for each `--cache-scope`.

    Args:
        traces: Of four ranks.
        offsets: First global id of each part.
        budget: Share of the halo vertices on other machines that a rank may hold.
    """
    rows = {"rank": 0, "host": 0}
    for host in HOSTS:
        low, high = offsets[host[0]], offsets[host[-1] + 1]
        elsewhere = [
            restricted(traces[rank], lambda ids, low=low, high=high: (ids < low) | (ids >= high))
            for rank in host
        ]
        capacities = [int(budget * trace.num_halo) for trace in elsewhere]
        for trace, capacity in zip(elsewhere, capacities, strict=True):
            rows["rank"] += replay_trace(trace, ReplaySettings(capacity=capacity)).volume_rows
        num_common = int(SHARE * len(host) * min(capacities))
        common = common_ids([trace.vip for trace in elsewhere if trace.vip], num_common)
        rows["host"] += len(common)
        for position, (trace, capacity) in enumerate(zip(elsewhere, capacities, strict=True)):
            rest = restricted(trace, lambda ids, common=common: ~np.isin(ids, common))
            capacity -= len(common[position :: len(host)])
            rows["host"] += replay_trace(rest, ReplaySettings(capacity=capacity)).volume_rows
    return rows


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
