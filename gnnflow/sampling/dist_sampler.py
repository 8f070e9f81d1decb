"""Sampling across ranks: what is here is drawn here, the rest by its owners, hop by hop."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.array_types import Ids
from gnnflow.errors import DataError
from gnnflow.sampling.neighbor_service import Draw, neighbor_request
from gnnflow.sampling.subgraph import SampledSubgraph

if TYPE_CHECKING:
    from gnnflow.comm.exchange import ExchangeService


@dataclass(frozen=True, slots=True)
class MinibatchSeeds:
    """What one minibatch is sampled from."""

    seeds: Ids
    """int64 `[num_seeds]`: unique global ids, of any part; may be empty."""
    epoch: int
    """Epoch number."""
    minibatch: int
    """Job-wide minibatch number."""
    step: int = 0
    """The job's step, counted over all epochs; what draws by key depend on."""


@dataclass(slots=True)
class SamplingCounts:
    """What sampling cost so far."""

    minibatches: int = 0
    """Minibatches sampled."""
    vertices_asked: int = 0
    """Vertices whose neighbours another rank drew."""
    exchanges: int = 0
    """Hops of (groups of) minibatches that had to ask another rank."""
    requests: int = 0
    """Messages that asked."""
    bytes_remote: int = 0
    """Bytes of the answers."""
    wait_s: float = 0.0
    """Seconds spent waiting for answers."""


class DistNeighborSampler:
    """Samples minibatches of the whole graph; used by one thread at a time.

    The neighbours kept for a vertex depend on seed, epoch, minibatch, hop and the vertex alone, or,
    with draws by key, on seed, step and the vertex: not on the partitioning, the transport, the
    threads or what is sampled together.
    """

    def __init__(
        self,
        topology: _kernels.Topology,
        *,
        all_parts_here: bool,
        seed: int = 0,
        num_threads: int = 1,
        replace: bool = False,
        with_edge_ids: bool = False,
        every: int = 0,
        weighted: bool = False,
        service: "ExchangeService | None" = None,
        service_name: str = "",
    ) -> None:
        """Prepares a sampler; `DistGraph.sampler` does this.

        Args:
            topology: in-neighbours of all vertices that can be expanded here.
            all_parts_here: whether that is every vertex, so that nobody need be asked.
            seed: first number of the key from which every draw follows, in `[0, 2**63)`.
            num_threads: threads of the kernel.
            replace: whether a neighbour may be drawn several times.
            with_edge_ids: whether to return the input edge numbers.
            every: steps for which a source keeps its key; 0 draws without keys.
            weighted: whether to draw by the weights of the edges.
            service: whom to ask otherwise.
            service_name: what neighbours are served as.
        """
        self._topology = topology
        self._all_parts_here = all_parts_here
        self._seed = seed
        self._num_threads = num_threads
        self._replace = replace
        self._with_edge_ids = with_edge_ids
        self._every = every
        self._weighted = weighted
        self._service = service
        self._service_name = service_name
        fits = topology.num_vertices < 1 << 31
        self._id_dtype: np.dtype[Any] = np.dtype(np.int32 if fits else np.int64)
        self._samplers: list[_kernels.NeighborSampler] = []
        self.counts = SamplingCounts()
        """What sampling cost so far."""

    def sample(
        self, seeds: Ids, fanouts: Sequence[int], *, epoch: int, minibatch: int, step: int = 0
    ) -> SampledSubgraph:
        """Samples the neighbourhood of seeds.

        Args:
            seeds: int64 `[num_seeds]`: unique global ids, of any part; may be empty.
            fanouts: neighbours kept per hop, seeds first; -1 keeps all.
            epoch: epoch number.
            minibatch: job-wide minibatch number.
            step: the job's step, counted over all epochs, for draws by key.

        Raises:
            DataError: if seeds repeat or are not of the graph.
        """
        return self.sample_many([MinibatchSeeds(seeds, epoch, minibatch, step)], fanouts)[0]

    def sample_many(
        self, batches: Sequence[MinibatchSeeds], fanouts: Sequence[int]
    ) -> list[SampledSubgraph]:
        """Samples several minibatches, with one exchange per hop for all of them.

        Args:
            batches: the minibatches.
            fanouts: neighbours kept per hop, seeds first; -1 keeps all.

        Returns:
            One subgraph for each minibatch, the same as `sample` gives.

        Raises:
            DataError: if seeds repeat or are not of the graph.
        """
        self.counts.minibatches += len(batches)
        try:
            if self._all_parts_here:
                return [self._sample_here(batch, fanouts) for batch in batches]
            return self._sample_with_others(batches, fanouts)
        except ValueError as error:
            raise DataError(str(error)) from error

    def _sample_here(self, batch: MinibatchSeeds, fanouts: Sequence[int]) -> SampledSubgraph:
        arrays = self._states(1)[0].sample(
            batch.seeds,
            fanouts,
            self._seed,
            batch.epoch,
            self._number(batch),
            self._replace,
            self._with_edge_ids,
            self._every,
            self._weighted,
        )
        return SampledSubgraph.from_arrays(arrays)

    def _sample_with_others(
        self, batches: Sequence[MinibatchSeeds], fanouts: Sequence[int]
    ) -> list[SampledSubgraph]:
        samplers = self._states(len(batches))
        for sampler, batch in zip(samplers, batches, strict=True):
            sampler.start(batch.seeds, self._seed, batch.epoch, self._number(batch))
        for hop, fanout in enumerate(fanouts):
            rule = (fanout, self._replace, self._with_edge_ids, self._every, self._weighted)
            frontier = [sampler.expand(*rule) for sampler in samplers]
            draw = Draw(self._seed, hop, *rule)
            asking = [position for position, (ids, _) in enumerate(frontier) if len(ids)]
            if not asking:
                continue
            answers = self._ask(draw, [batches[i] for i in asking], [frontier[i] for i in asking])
            for position, answer in zip(asking, answers, strict=True):
                samplers[position].merge(*answer)
        return [SampledSubgraph.from_arrays(sampler.finish()) for sampler in samplers]

    def _ask(
        self,
        draw: Draw,
        batches: Sequence[MinibatchSeeds],
        frontier: Sequence[tuple[Ids, Ids]],
    ) -> list[tuple[Ids, Ids, Ids | None]]:
        """Asks the owners; returns counts, neighbours and edge ids for each minibatch."""
        assert self._service is not None
        minibatches = np.array([self._number(batch) for batch in batches], dtype=np.int64)
        epochs = np.array([batch.epoch for batch in batches], dtype=np.int64)
        sizes = np.stack([per_owner for _, per_owner in frontier])
        ends = np.cumsum(sizes, axis=1)
        owners = np.flatnonzero(sizes.sum(axis=0)).tolist()
        requests = []
        for owner in owners:
            ids = [
                vertices[end - size : end]
                for (vertices, _), size, end in zip(
                    frontier, sizes[:, owner], ends[:, owner], strict=True
                )
            ]
            wanted = np.concatenate(ids, dtype=self._id_dtype, casting="unsafe")
            requests.append(
                neighbor_request(
                    owner, draw, minibatches, epochs, np.ascontiguousarray(sizes[:, owner]), wanted
                )
            )
        call = self._service.call(self._service_name, f"neighbours of hop {draw.hop + 1}", requests)
        parts = [
            _split_answer(message.arrays, sizes[:, owner])
            for owner, message in zip(owners, call.result(), strict=True)
            if message is not None
        ]
        answers = [_join(list(of_batch)) for of_batch in zip(*parts, strict=True)]
        self.counts.exchanges += 1
        self.counts.requests += len(requests)
        self.counts.vertices_asked += int(sizes.sum())
        self.counts.bytes_remote += call.received_bytes()
        self.counts.wait_s += call.waited_s
        call.release(self._service.pool.give)
        return answers

    def _number(self, batch: MinibatchSeeds) -> int:
        """What tells the draws of a minibatch from others'."""
        return batch.step if self._every else batch.minibatch

    def _states(self, num: int) -> list[_kernels.NeighborSampler]:
        """Returns samplers with a state each, the same ones again and again."""
        while len(self._samplers) < num:
            self._samplers.append(_kernels.NeighborSampler(self._topology, self._num_threads))
        return self._samplers[:num]


_Answer = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any] | None]


def _split_answer(arrays: Sequence[npt.NDArray[Any]], sizes: Ids) -> list[_Answer]:
    """Cuts an owner's answer into the segments of the minibatches."""
    counts, neighbors = arrays[:2]
    edge_ids = arrays[2] if len(arrays) > 2 else None
    neighbor_ends = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
    segments: list[_Answer] = []
    start = 0
    for size in sizes.tolist():
        low, high = int(neighbor_ends[start]), int(neighbor_ends[start + size])
        segments.append(
            (
                counts[start : start + size],
                neighbors[low:high],
                None if edge_ids is None else edge_ids[low:high],
            )
        )
        start += size
    return segments


def _join(answers: Sequence[_Answer]) -> tuple[Ids, Ids, Ids | None]:
    """Joins the owners' answers for one minibatch, in the order of the owners."""
    counts = np.concatenate([answer[0] for answer in answers], dtype=np.int64)
    neighbors = np.concatenate([answer[1] for answer in answers], dtype=np.int64)
    edge_ids = [answer[2] for answer in answers if answer[2] is not None]
    return counts, neighbors, np.concatenate(edge_ids) if edge_ids else None
