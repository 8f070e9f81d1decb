"""Remote rows that the ranks of a machine hold once between them.

The remote vertices that minibatches of a machine's ranks need with the largest probability would
sit in the cache of every one of these ranks. Instead each rank fetches a share of them, once, into
memory that the others of its machine read too. What these rows are follows from the probabilities
alone and never changes, so that no rank waits for the steps of another.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from gnnflow._kernels import CacheIndex
from gnnflow.array_types import Ids, Rows
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.comm import Context
from gnnflow.features import DistFeatureStore, RowPlan
from gnnflow.files.shared_array import map_shared_array, new_shared_array

SHARE = 0.7
"""Share of the caches of a machine's ranks that holds common rows. Of 0.3, 0.5, 0.7 and 0.9 it
moved fewest rows on a real and a generated graph at budgets from 5 to 25 %, at 50 % within 1 %."""


class HostRows:
    """Common rows of a machine: row `i` of the ids lies in share `i % ranks`, at `i // ranks`."""

    def __init__(self, ids: Ids, shares: Sequence[Rows], own: int, num_vertices: int) -> None:
        """Takes ids, the rows of each rank of the machine, and which of them are this rank's."""
        self.shares = shares
        """Rows of each rank of the machine."""
        self.own_share = shares[own]
        """Rows that this rank fetched; they count against its budget."""
        self._index = CacheIndex(len(ids), num_vertices)
        keys, _ = self._index.known(ids)
        slots = np.arange(len(ids), dtype=np.int32)
        self._index.assign(slots, keys, np.zeros(len(ids), dtype=np.uint32))

    @classmethod
    def choose_and_fetch(
        cls,
        ctx: Context,
        group: Sequence[int],
        store: DistFeatureStore,
        capacity: int,
        vip: VertexValues,
        num_vertices: int,
    ) -> Self | None:
        """Chooses the common rows of a machine and fetches this rank's share; all ranks call it.

        Args:
            ctx: the job.
            group: ranks of this machine, in order.
            store: the rows.
            capacity: rows that this rank may hold.
            vip: probabilities that its minibatches need remote vertices.
            num_vertices: vertices of the graph.

        Returns:
            The common rows; None where a rank is alone on its machine or there are none.

        Raises:
            DataError: if there is no room for them in shared memory.
        """
        capacities = ctx.allgather_array(np.array([capacity]))
        nothing = np.zeros(0, dtype=np.int64)
        message = np.concatenate([vip.ids, vip.values.astype(np.float64).view(np.int64)])
        others = [rank in group and len(group) > 1 for rank in range(ctx.num_ranks)]
        arrived = ctx.exchange_arrays([message if sent else nothing for sent in others])
        num_rows = int(SHARE * len(group) * min(int(capacities[rank][0]) for rank in group))
        ids = nothing
        if len(group) > 1 and num_rows:
            ids = common_ids([_unpacked(arrived[rank]) for rank in group], num_rows)
        own = list(group).index(ctx.rank)
        wanted = ids[own :: len(group)]
        path, rows = new_shared_array(
            (len(wanted), *store.row_shape),
            store.dtype,
            remedy="use --cache-scope rank or a smaller cache",
        )
        if len(wanted):
            store.fetch(wanted, rows)
        paths = ctx.allgather_json([str(path), len(wanted)])
        shares = [
            map_shared_array(file, (size, *store.row_shape), store.dtype)
            for file, size in (paths[rank] for rank in group)
        ]
        shares[own] = rows
        ctx.barrier()
        path.unlink(missing_ok=True)  # the memory lives as long as somebody maps it
        return cls(ids, shares, own, num_vertices) if len(ids) else None

    @property
    def num_bytes(self) -> int:
        """Memory of this rank's share and of finding all rows."""
        return self.own_share.nbytes + self._index.memory_bytes

    def find(self, ids: Ids) -> npt.NDArray[np.int32]:
        """Returns the number of each id among the common rows, -1 where it is none."""
        return self._index.find_slots(ids)

    def take(
        self,
        plan: RowPlan,
        positions: Ids,
        numbers: npt.NDArray[np.int32],
        first_source: int,
    ) -> None:
        """Names the shares as sources of rows, from a source number on."""
        num_shares = len(self.shares)
        for share in range(num_shares):
            chosen = numbers % num_shares == share
            plan.take_from(first_source + share, positions[chosen], numbers[chosen] // num_shares)


def common_ids(vips: Sequence[VertexValues], num_rows: int) -> Ids:
    """Returns the vertices that the ranks of a machine need most together.

    Args:
        vips: Probability that a minibatch of each rank needs a remote vertex.
        num_rows: How many to choose.

    Returns:
        int64 `[num_rows]` at most, ascending.
    """
    ids, places = np.unique(np.concatenate([vip.ids for vip in vips]), return_inverse=True)
    values = np.concatenate([vip.values for vip in vips]).astype(np.float64)
    sums = np.bincount(places, values, len(ids)).astype(np.float32)
    return np.sort(VertexValues(ids, sums).best(num_rows))


def _unpacked(message: Ids) -> VertexValues:
    ids, values = message.reshape(2, -1)
    return VertexValues(ids, values.view(np.float64).astype(np.float32))
