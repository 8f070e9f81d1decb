"""Rows of a graph by the names of their arrays: of the partition, and computed at run time."""

from collections.abc import Callable, Iterable
from functools import partial

from gnnflow.array_types import Ids, Rows
from gnnflow.comm import Context
from gnnflow.errors import DataError
from gnnflow.features.dist_feature_store import DistFeatureStore
from gnnflow.features.row_exchange import RowExchange
from gnnflow.features.wire import WireDtype


class RowsByName:
    """Stores over the rows of all ranks, which each rank serves to the others."""

    def __init__(
        self, ctx: Context, exchange: RowExchange, offsets: Ids, wire_dtype: WireDtype
    ) -> None:
        """Starts without arrays.

        Args:
            ctx: the job.
            exchange: how ranks hand each other rows.
            offsets: int64 `[num_ranks + 1]`: first global id of each rank.
            wire_dtype: how float32 rows of files travel.
        """
        self._ctx = ctx
        self._exchange = exchange
        self._offsets = offsets
        self._wire_dtype = wire_dtype
        self._stores: dict[str, DistFeatureStore] = {}
        self._computed: set[str] = set()

    def __contains__(self, name: str) -> bool:
        """Whether there is an array of that name."""
        return name in self._stores

    def names(self) -> list[str]:
        """Names of all arrays, sorted."""
        return sorted(self._stores)

    def store(self, name: str) -> DistFeatureStore:
        """The rows of an array that is there."""
        return self._stores[name]

    def add_files(
        self,
        name: str,
        ranks: Iterable[int],
        rows_of: Callable[[int], Rows],
        *,
        wire_pieces: int = 1,
    ) -> DistFeatureStore:
        """Adds rows that lie in a file of each part; all ranks do so together.

        Args:
            name: a name that no array has.
            ranks: whose files can be read here, this rank first.
            rows_of: gives the rows of a rank's file, `[num_vertices, ...]`, contiguous.
            wire_pieces: into how many pieces a row is cut on the way, each with a scale of its own.

        Returns:
            The rows of all ranks by global id.
        """
        self._exchange.serve(name, partial(rows_of, self._ctx.rank))
        self._stores[name] = self._exchange.store(
            name,
            self._offsets,
            [(rank, rows_of(rank)) for rank in ranks],
            wire_dtype=self._wire_dtype,
            transport=self._ctx.transport,
            wire_pieces=wire_pieces,
        )
        return self._stores[name]

    def add_derived(self, name: str, rows: Iterable[tuple[int, Rows]]) -> DistFeatureStore:
        """Adds rows that every rank serves already and can derive from the files of others.

        Args:
            name: what they are served as.
            rows: rank and rows, this rank first.
        """
        self._stores[name] = self._exchange.store(name, self._offsets, list(rows))
        return self._stores[name]

    def add_computed(self, name: str, rows: Rows, *, taken: bool = False) -> DistFeatureStore:
        """Adds rows that were computed at run time; all ranks do so together.

        Args:
            name: a name that no array has.
            rows: a row for each inner vertex, contiguous, of one row shape and dtype on all ranks.
            taken: whether the name stands for something else.

        Raises:
            DataError: if the name is taken, or the rows do not fit.
        """
        rank = self._ctx.rank
        num_vertices = int(self._offsets[rank + 1] - self._offsets[rank])
        problem = ""
        if taken or name in self._stores:
            problem = f"'{name}' is an array of the graph already; choose another name"
        elif len(rows) != num_vertices or not rows.flags.c_contiguous:
            problem = (
                f"'{name}' must be contiguous with one row for each of the "
                f"{num_vertices} inner vertices, got shape {list(rows.shape)}"
            )
        about = self._ctx.allgather_json([problem, rows.dtype.str, list(rows.shape[1:])])
        for rank, (problem, dtype, row_shape) in enumerate(about):
            if problem:
                raise DataError(f"rank {rank}: {problem}")
            if [dtype, row_shape] != about[0][1:]:
                raise DataError(
                    f"'{name}' differs between ranks: {about[0][1:]} on rank 0, "
                    f"{[dtype, row_shape]} on rank {rank}; rows need one shape and dtype"
                )
        self._exchange.serve(name, lambda: rows)
        self._stores[name] = self._exchange.store(name, self._offsets, [(self._ctx.rank, rows)])
        self._computed.add(name)
        return self._stores[name]

    def withdraw(self, name: str) -> None:
        """Ends what `add_computed` began, once all ranks have called it.

        Raises:
            DataError: if it did not add that name.
        """
        if name not in self._computed:
            raise DataError(f"'{name}' is not served; served are: {sorted(self._computed)}")
        self._ctx.barrier()
        self._exchange.withdraw(name)
        self._computed.remove(name)
        del self._stores[name]
