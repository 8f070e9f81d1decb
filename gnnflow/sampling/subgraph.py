"""The sampled neighbourhood of one minibatch, and its sampler where all vertices are at hand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnnflow import _kernels
from gnnflow.errors import DataError
from gnnflow.partition import GraphPartition


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledSubgraph:
    """The vertices and edges of a minibatch, relabelled in order of discovery.

    Every vertex is expanded once, at the hop where it was discovered, so the edges come grouped
    by destination and hop after hop: the edges of the first `k` hops are a prefix of all edges.
    """

    vertices: NDArray[np.int64]
    """Global ids `[num_vertices]` in order of discovery, seeds first."""
    indptr: NDArray[np.int64]
    """CSR offsets `[num_expanded + 1]`; destination `i` is `vertices[i]`."""
    src: NDArray[np.int64]
    """Source of every edge `[num_edges]`, a position in `vertices`."""
    edge_ids: NDArray[np.int64] | None
    """Input edge numbers `[num_edges]`, if they were asked for."""
    num_sampled_vertices: list[int]
    """Vertices discovered at each hop, the seeds being the first entry."""
    num_sampled_edges: list[int]
    """Edges sampled at each hop."""
    num_seeds: int
    """Number of seed vertices."""

    @classmethod
    def from_arrays(cls, arrays: _kernels.SampledArrays) -> "SampledSubgraph":
        """Takes over the arrays that the kernel produced, without a copy."""
        return cls(
            vertices=arrays.vertices,
            indptr=arrays.indptr,
            src=arrays.src,
            edge_ids=arrays.edge_ids,
            num_sampled_vertices=arrays.num_sampled_vertices,
            num_sampled_edges=arrays.num_sampled_edges,
            num_seeds=arrays.num_seeds,
        )

    @property
    def num_vertices(self) -> int:
        """Number of vertices in the subgraph."""
        return len(self.vertices)

    @property
    def num_edges(self) -> int:
        """Number of edges in the subgraph."""
        return len(self.src)

    @property
    def num_expanded(self) -> int:
        """Number of vertices whose in-neighbours were sampled: all but the last hop's."""
        return len(self.indptr) - 1

    def without(self, left_out: NDArray[np.bool_]) -> "SampledSubgraph":
        """Returns the subgraph without some of its edges; all vertices stay.

        Args:
            left_out: `[num_edges]` which edges to leave out.
        """
        if not left_out.any():
            return self
        kept_before = np.concatenate([[0], np.cumsum(~left_out)]).astype(np.int64)
        hops = np.concatenate([[0], np.cumsum(self.num_sampled_edges)]).astype(np.int64)
        return SampledSubgraph(
            vertices=self.vertices,
            indptr=kept_before[self.indptr],
            src=self.src[~left_out],
            edge_ids=None if self.edge_ids is None else self.edge_ids[~left_out],
            num_sampled_vertices=self.num_sampled_vertices,
            num_sampled_edges=np.diff(kept_before[hops]).tolist(),
            num_seeds=self.num_seeds,
        )

    def edge_index(self, num_threads: int = 1) -> NDArray[np.int64]:
        """Returns the edges as PyG takes them: `[2, num_edges]`, sources, then destinations."""
        return _kernels.edge_index(self.indptr, self.src, num_threads)


class LocalNeighborSampler:
    """Samples whole minibatches in one call of the kernel, without the GIL."""

    def __init__(
        self,
        topology: _kernels.Topology,
        *,
        seed: int = 0,
        num_threads: int = 1,
        replace: bool = False,
        with_edge_ids: bool = False,
        every: int = 0,
        weighted: bool = False,
    ) -> None:
        """Prepares a sampler over a topology that holds all parts.

        Args:
            topology: In-neighbours of all vertices that can be reached.
            seed: First number of the key from which every draw follows.
            num_threads: Threads of the kernel.
            replace: Whether a neighbour may be drawn several times.
            with_edge_ids: Whether to return the input edge numbers.
            every: Steps for which a source keeps its key, where the topology has source keys; 0
                draws without keys.
            weighted: Whether to draw by weight, where the topology has weights.
        """
        self._sampler = _kernels.NeighborSampler(topology, num_threads)
        self._seed = seed
        self._replace = replace
        self._with_edge_ids = with_edge_ids
        self._every = every
        self._weighted = weighted

    @classmethod
    def over_parts(cls, parts: Sequence[GraphPartition]) -> "LocalNeighborSampler":
        """Makes a sampler over all parts of a graph, in their order, with one thread."""
        topology = _kernels.Topology(parts[0].book.offsets)
        for number, part in enumerate(parts):
            topology.set_part(number, part.indptr, part.indices, part.original_id)
        return cls(topology)

    def sample(
        self,
        seeds: NDArray[np.int64],
        fanouts: Sequence[int],
        *,
        epoch: int,
        minibatch: int,
        step: int = 0,
    ) -> SampledSubgraph:
        """Samples the neighbourhood of the seeds.

        Args:
            seeds: Unique global ids `[num_seeds]`.
            fanouts: Neighbours kept per hop, seeds first; -1 keeps all.
            epoch: Epoch number.
            minibatch: Job-wide minibatch number.
            step: The job's step, counted over all epochs, for draws by key.

        Raises:
            DataError: If seeds repeat, are out of range, or a vertex is not in the topology.
        """
        try:
            arrays = self._sampler.sample(
                seeds,
                fanouts,
                seed=self._seed,
                epoch=epoch,
                minibatch=step if self._every else minibatch,
                replace=self._replace,
                with_edge_ids=self._with_edge_ids,
                every=self._every,
                weighted=self._weighted,
            )
        except ValueError as error:
            raise DataError(str(error)) from error
        return SampledSubgraph.from_arrays(arrays)
