"""From original ids back to global ids: a table spread over the ranks."""

from collections.abc import Iterator

import numpy as np

from gnnflow.array_types import Ids
from gnnflow.comm import Context
from gnnflow.errors import DataError, PartitionFormatError
from gnnflow.features.dist_feature_store import DistFeatureStore
from gnnflow.features.row_exchange import RowExchange

_NAME = "global_id"
_ROWS_AT_ONCE = 1 << 22


class OriginalIdTable:
    """Finds the global ids of original ids; each rank keeps an even range of the answers."""

    def __init__(
        self,
        ctx: Context,
        rows: RowExchange,
        own_original_ids: Ids,
        offsets: Ids,
        original_ids: DistFeatureStore,
    ) -> None:
        """Builds the table; all ranks do so together.

        Args:
            ctx: the job.
            rows: how ranks ask each other.
            own_original_ids: int64 `[num_inner_vertices]`, ascending.
            offsets: int64 `[num_parts + 1]`: first global id of each part.
            original_ids: original ids of all vertices by global id.

        Raises:
            PartitionFormatError: on all ranks, if the parts do not name each vertex once.
        """
        num_vertices = int(offsets[-1])
        self._num_vertices = num_vertices
        ranges = np.arange(ctx.num_ranks + 1, dtype=np.int64) * num_vertices // ctx.num_ranks
        # The original ids of a part ascend, so those of each range lie together in it.
        cuts = np.stack(ctx.allgather_array(np.searchsorted(own_original_ids, ranges)))
        low, high = ranges[ctx.rank], ranges[ctx.rank + 1]
        table = np.full(high - low, -1, dtype=np.int64)
        for part, cut in enumerate(cuts):
            first, last = offsets[part] + cut[ctx.rank], offsets[part] + cut[ctx.rank + 1]
            for global_ids in _pieces(int(first), int(last)):
                places = original_ids.fetch(global_ids) - low
                fits = (places >= 0) & (places < len(table))
                table[places[fits]] = global_ids[fits]
        _refuse_gaps(ctx, low + np.flatnonzero(table < 0)[:1])
        rows.serve(_NAME, lambda: table)
        self._store = rows.store(_NAME, ranges, [(ctx.rank, table)])
        ctx.barrier()

    def to_global(self, original_ids: Ids) -> Ids:
        """Returns the global ids, int64 of the same shape; any thread may call this.

        Raises:
            DataError: if an id is not of the graph.
        """
        ids = np.asarray(original_ids, dtype=np.int64)
        if ids.size and (ids.min() < 0 or ids.max() >= self._num_vertices):
            raise DataError(
                f"original ids must be in [0, {self._num_vertices}), got {ids.min()} to {ids.max()}"
            )
        return self._store.fetch(ids.reshape(-1)).reshape(ids.shape)


def _refuse_gaps(ctx: Context, missing: Ids) -> None:
    """Ends all ranks if an id is in no part: there are as many ids as vertices."""
    for (first,) in filter(None, ctx.allgather_json(missing.tolist())):
        raise PartitionFormatError(
            f"no part holds vertex {first} of the input, so their original_id.npy name another "
            "one twice; the partition is damaged: run gnnflow-partition again"
        )


def _pieces(first: int, last: int) -> Iterator[Ids]:
    for start in range(first, last, _ROWS_AT_ONCE):
        yield np.arange(start, min(start + _ROWS_AT_ONCE, last), dtype=np.int64)
