"""The edges of a partitioned graph as one rank sees them: numbers, attributes, where they lie."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.array_types import Ids
from gnnflow.comm import Transport
from gnnflow.errors import DataError
from gnnflow.features import DistFeatureStore
from gnnflow.features.row_exchange import RowExchange
from gnnflow.features.wire import WireDtype
from gnnflow.partition import GraphPartition
from gnnflow.partition.graph_partition import HaloTopology

EDGE_ARRAYS = ("edge_attr", "edge_id")
"""Arrays with a row per edge, if the edges have attributes: those, and the numbers in the input."""

_FIRST_EDGE = "first_edge"


class GraphEdges:
    """Edges by global edge id: numbered by destination as the parts store them.

    The edges of part p have the ids `[offsets[p], offsets[p + 1])`, so the owner of an edge, which
    is that of its destination, follows from its id as the owner of a vertex does.
    """

    def __init__(self, partition: GraphPartition, rows: RowExchange) -> None:
        """Takes this rank's part and how ranks hand each other rows."""
        sizes = [part.num_edges for part in partition.manifest.parts]
        self.offsets: Ids = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        """First global edge id of each part, and the number of edges."""
        self.topology = _kernels.Topology(partition.book.offsets)
        """In-neighbours of all vertices that this rank can expand, with global edge ids."""
        self._partition = partition
        self._rows = rows
        self._parts_at_hand: Mapping[int, GraphPartition] = {}
        self._unnumbered_halo: list[HaloTopology] = []
        self._stores: dict[str, DistFeatureStore] = {}

    @property
    def array_names(self) -> tuple[str, ...]:
        """Names of the arrays with a row per edge: `edge_attr` and `edge_id`, or none."""
        return tuple(self._stores)

    @property
    def num_features(self) -> int:
        """Numbers in a row of `edge_attr`, 0 without."""
        if not self._stores:
            return 0
        return int(np.prod(self._stores["edge_attr"].row_shape, dtype=np.int64))

    def store(self, name: str) -> DistFeatureStore:
        """Returns the rows of an array by global edge id.

        Args:
            name: `edge_attr`, or `edge_id` for the edges' numbers in the input.

        Raises:
            DataError: if the edges have no such array.
        """
        if name not in self._stores:
            known = ", ".join(self._stores) or "none"
            raise DataError(
                f"the edges of this graph have no array '{name}' (arrays: {known}); partition it "
                "with --edge-features FILE"
            )
        return self._stores[name]

    def open(
        self,
        parts_at_hand: Mapping[int, GraphPartition],
        indices: Mapping[int, npt.NDArray[Any]],
        halo: Sequence[HaloTopology],
        *,
        wire_dtype: WireDtype,
        transport: Transport,
    ) -> None:
        """Numbers the edges at hand and opens the stores of their arrays; all ranks do so together.

        Args:
            parts_at_hand: parts that can be read directly, this rank's first.
            indices: in-neighbours of each of these, as sampling reads them.
            halo: topology beyond the inner vertices, as sampling reads it.
            wire_dtype: how float32 attributes travel.
            transport: how rows reach this rank.
        """
        self._parts_at_hand, self._unnumbered_halo = parts_at_hand, list(halo)
        for rank, part in parts_at_hand.items():
            self.topology.set_part(
                rank,
                part.indptr,
                indices[rank],
                part.original_id,
                first_edge=int(self.offsets[rank]),
                weight=part.edge_weight,
            )
        for name in EDGE_ARRAYS:
            sources = [(rank, getattr(part, name)) for rank, part in parts_at_hand.items()]
            self._rows.serve(name, partial(getattr, self._partition, name))
            self._stores[name] = self._rows.store(
                name, self.offsets, sources, wire_dtype=wire_dtype, transport=transport
            )
        self._rows.serve(_FIRST_EDGE, lambda: self._partition.indptr[:-1])

    def check_ids(self) -> None:
        """Refuses to number edges where the partition does not.

        Raises:
            DataError: if it holds no edge ids.
        """
        if self._partition.edge_id is None:
            raise DataError(
                f"{self._partition.folder.parent} holds no edge ids: its graph has no edge "
                "attributes; partition it with --edge-features FILE"
            )

    def number_halo(self) -> None:
        """Gives the edges of the halo topology the ids that their owners know them by, once."""
        halo, self._unnumbered_halo = self._unnumbered_halo, []
        if not halo:
            return
        book = self._partition.book
        sources = [(rank, part.indptr[:-1]) for rank, part in self._parts_at_hand.items()]
        first_edge = self._rows.store(_FIRST_EDGE, book.offsets, sources)
        for topology in halo:
            ids, indptr = topology.vertex_ids, topology.indptr
            start = first_edge.fetch(ids) + self.offsets[book.owner(ids)]
            edge_ids = np.repeat(start - indptr[:-1], np.diff(indptr)) + np.arange(indptr[-1])
            numbered = topology._replace(edge_id=edge_ids)
            self.topology.add_halo(*numbered)
