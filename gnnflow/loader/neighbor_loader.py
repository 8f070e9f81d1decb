"""DistNeighborLoader: what a PyG user holds."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch_geometric.data import Data

from gnnflow.errors import DataError
from gnnflow.graph import DistGraph
from gnnflow.loader.minibatch_maker import MinibatchMaker, MinibatchOptions, Transform
from gnnflow.loader.seed_schedule import SeedBatch, SeedSchedule


class DistNeighborLoader:
    """Yields minibatches of a partitioned graph, the same number of them on every rank.

    It is used as PyG's `NeighborLoader`. A batch is a `torch_geometric.data.Data` with

    - `x` `[num_vertices, num_features]`: features of all vertices, the seeds' first,
    - `y` `[batch_size, ...]`: labels of the seeds alone, since those of the other vertices would
      only cost traffic (`arrays=("x", "y")` fetches them for all),
    - `edge_index` `[2, num_edges]` int64: sources and destinations, grouped by destination,
    - `n_id` `[num_vertices]` int64: global ids,
    - `batch_size`: number of seeds; it may differ from batch to batch and be 0,
    - `num_sampled_nodes`, `num_sampled_edges`: per hop, for `trim_to_layer`,
    - `input_id` `[batch_size]` int64: positions of the seeds in this rank's list of seeds,
    - `loss_weight`: this rank's share of the seeds that all ranks have in this step,
    - `minibatch`: job-wide number of the minibatch,
    - `cost`: seconds, rows and bytes that it took,
    - on request `adj_t` and `e_id`.

    Every pass is an epoch with an order and samples of its own; `set_epoch` chooses which.
    """

    def __init__(
        self,
        graph: DistGraph,
        seeds: str | ArrayLike | SeedSchedule = "train",
        fanout: Sequence[int] = (10, 25),
        batch_size: int = 512,
        *,
        shuffle: bool = True,
        seed: int = 0,
        replace: bool = False,
        arrays: Sequence[str] = ("x",),
        edge_ids: bool = False,
        adj_t: bool = False,
        transform: Transform | None = None,
    ) -> None:
        """Prepares the loader; every rank must do this.

        Args:
            graph: the graph of this rank.
            seeds: name of a split, or this rank's seeds as unique global ids, or a schedule with
                the seeds of every step (then `batch_size` and `shuffle` mean nothing).
            fanout: neighbours kept per hop, from the seeds outwards; -1 keeps all.
            batch_size: seeds of one rank in one minibatch, on average.
            shuffle: a new order each epoch.
            seed: seed of order and sampling; the same on all ranks.
            replace: whether a neighbour may be drawn several times.
            arrays: per-vertex arrays fetched for all vertices.
            edge_ids: hand over `e_id` `[num_edges]`, the edges' numbers in the input.
            adj_t: hand over `adj_t`, the edges as a sparse CSR tensor.
            transform: called with every batch before it is yielded.

        Raises:
            ConfigError: if `fanout` or `batch_size` is out of range.
            DataError: if seeds repeat or are not of the graph, or an array is missing.
        """
        self._ctx = graph.ctx
        if isinstance(seeds, SeedSchedule):
            self.schedule = seeds
        else:
            ids = _split_seeds(graph, seeds) if isinstance(seeds, str) else seeds
            self.schedule = SeedSchedule.split_evenly(
                ids, graph.ctx, batch_size=batch_size, shuffle=shuffle, seed=seed
            )
        _check_range(self.schedule.seeds, graph.num_vertices)
        self.maker = MinibatchMaker(
            graph,
            MinibatchOptions(
                fanout=tuple(fanout),
                seed=seed,
                replace=replace,
                arrays=tuple(arrays),
                seed_arrays=_seed_arrays(graph, arrays),
                with_edge_ids=edge_ids,
                with_adj_t=adj_t,
                transform=transform,
            ),
        )
        self._next_epoch = 0

    def __len__(self) -> int:
        """Minibatches of an epoch, the same on all ranks."""
        return self.schedule.num_steps

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that the next pass takes; later passes count on from it."""
        self._next_epoch = epoch

    def __iter__(self) -> Iterator[Data]:
        """Yields the minibatches of the next epoch."""
        epoch = self._next_epoch
        self._next_epoch += 1
        for step in range(len(self)):
            self._ctx.step = f"epoch {epoch}, step {step}"
            seeds = self.schedule.batch(epoch, step)
            batch = self.maker.make(seeds)
            self._hand_over(seeds)
            yield batch

    def _hand_over(self, seeds: SeedBatch) -> None:
        # Told when the batch is yielded, not when it is made: a pipeline makes it long before.
        self._ctx.loss_weight = seeds.weight


def _split_seeds(graph: DistGraph, split: str) -> NDArray[np.int64]:
    if split not in graph.splits:
        known = ", ".join(graph.splits) or "none"
        raise DataError(f"{graph.path} has no split '{split}'; it has: {known}")
    return graph.splits[split]


def _seed_arrays(graph: DistGraph, arrays: Sequence[str]) -> tuple[str, ...]:
    return ("y",) if "y" in graph.array_names and "y" not in arrays else ()


def _check_range(seeds: NDArray[np.int64], num_vertices: int) -> None:
    if seeds.size and (seeds.min() < 0 or seeds.max() >= num_vertices):
        raise DataError(
            f"seeds must be global ids in [0, {num_vertices}), got {seeds.min()} to {seeds.max()}"
        )
