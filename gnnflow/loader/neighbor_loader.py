"""DistNeighborLoader: what a PyG user holds."""

import dataclasses
import inspect
import logging
import reprlib
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch_geometric.data import Data

from gnnflow.comm import Context
from gnnflow.config import DEFAULT_CACHE, DEFAULT_DEPTH, CacheConfig, PolicyConfig
from gnnflow.errors import ConfigError, DataError, GnnflowError
from gnnflow.graph import DistGraph
from gnnflow.loader.arguments import (
    WITHOUT_CACHE,
    Fanout,
    as_device,
    as_fanout,
    as_names,
    as_seeds,
    as_whole_number,
    check_graph,
    check_memory,
    checked_policy,
)
from gnnflow.loader.loss_weight import mark_batch
from gnnflow.loader.minibatch_maker import (
    MinibatchMaker,
    MinibatchOptions,
    SampledMinibatch,
    Transform,
)
from gnnflow.loader.pyg_names import PygNames, take_pyg_names
from gnnflow.loader.seed_schedule import Schedule, SeedBatch, SeedSchedule
from gnnflow.policies import ReplacementPolicy
from gnnflow.prefetch import CacheSetup, LivePolicy, Pipeline, set_up_cache, start_live_policy

_LOGGER = logging.getLogger(__name__)

DEFAULT_FANOUT = (10, 25)
CACHED_ARRAY = "x"
"""The array whose remote rows the halo cache keeps."""
_ONE_BY_ONE = CacheConfig(scorer="none", prefetch_depth=0)

_Session = Pipeline[SeedBatch, SampledMinibatch, SampledMinibatch, Data]


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
    - on request `adj_t`, `e_id` and `edge_attr`, the latter two in the order of `edge_index`.

    Every pass is an epoch with an order and samples of its own; `set_epoch` chooses which.

    With several ranks features of other ranks' vertices are kept in a halo cache, and minibatches
    are made ahead in threads (`transform` runs in one of them); `cache=None` switches both off. The
    batches are the same with and without. Leaving a pass early ends the threads; `close` does so
    between two passes. Every loader has a cache of its own.

    Parameters go by PyG's names as well (`num_neighbors`, `input_nodes`); what only processes need
    (`num_workers`) is ignored, and what has no meaning here is refused.
    """

    def __init__(
        self,
        graph: DistGraph,
        seeds: str | ArrayLike | Schedule | None = "train",
        fanout: Fanout = DEFAULT_FANOUT,
        batch_size: int = 512,
        *,
        shuffle: bool = True,
        seed: int = 0,
        replace: bool = False,
        arrays: str | Sequence[str] = ("x",),
        edge_ids: bool = False,
        edge_attr: bool = False,
        adj_t: bool = False,
        transform: Transform | None = None,
        pin_memory: bool = False,
        device: torch.device | str | int | None = None,
        cache: CacheConfig | None = DEFAULT_CACHE,
        num_epochs: int = 1,
        policy: str | PolicyConfig | ReplacementPolicy = "static",
        policy_options: PolicyConfig | None = None,
        run_dir: Path | str | None = None,
        **pyg_names: Unpack[PygNames],
    ) -> None:
        """Prepares the loader; every rank must do this.

        Args:
            graph: the graph of this rank.
            seeds: name of a split, or this rank's seeds as unique global ids, or a mask (of the
                whole graph by ids of the input, from which each rank takes its own vertices, or
                over the vertices of this rank), or None for all vertices of this rank, or a
                schedule with the seeds of every step (then `batch_size` and `shuffle` mean
                nothing).
            fanout: neighbours kept per hop, from the seeds outwards; -1 keeps all. A number is one
                hop, and `"10,25"` is as on the command line.
            batch_size: seeds of one rank in one minibatch, on average.
            shuffle: a new order each epoch.
            seed: seed of order and sampling; the same on all ranks.
            replace: whether a neighbour may be drawn several times.
            arrays: per-vertex arrays fetched for all vertices.
            edge_ids: hand over `e_id` `[num_edges]`, the edges' numbers in the input.
            edge_attr: hand over `edge_attr` `[num_edges, ...]`, the attributes of the edges.
            adj_t: hand over `adj_t`, the edges as a sparse CSR tensor.
            pin_memory: gather features into page-locked memory, which a GPU copies from faster.
            device: keep the halo cache's rows there and put `x` (without `cache` the first of
                `arrays`) together there, on the default stream: a GPU, or the CPU as its stand-in.
                None gathers in the CPU's memory, by the kernels alone.
            transform: called with every batch before it is yielded.
            cache: options of halo cache and prefetching, those of the command line by default;
                None makes each batch when it is asked for and keeps no remote rows.
            num_epochs: epochs that will be taken, from 0 on: towards the end of one the first
                batches of the next are made.
            policy: who decides when rows of the halo cache are replaced: a name, options, or an
                object with `name` and `decide` (each rank its own). By default the schedule of
                `cache.period`.
            policy_options: how a policy that is given by name or as an object is asked.
            run_dir: folder where the policy writes its decisions, if any.
            **pyg_names: PyG's parameters that have another name here, or no meaning.

        Raises:
            ConfigError: if `fanout` or `batch_size` is out of range, no policy has that name, a
                policy is given and `cache` is None, a parameter of PyG has no meaning here, or
                there is no GPU to pin memory for or to put features on.
            DataError: if seeds repeat or are not of the graph, or an array is missing.
        """
        check_graph(graph)
        seeds, fanout = take_pyg_names(
            pyg_names,
            graph.ctx,
            inspect.signature(DistNeighborLoader).parameters,
            input_nodes=("seeds", seeds, "train"),
            num_neighbors=("fanout", fanout, DEFAULT_FANOUT),
        )
        hops = as_fanout(fanout)
        arrays = as_names("arrays", arrays)
        device = as_device(device)
        seed = as_whole_number("seed", seed)
        num_epochs = as_whole_number("num_epochs", num_epochs, least=0)
        if transform is not None and not callable(transform):
            raise ConfigError(
                f"transform must be a function of a batch, got {reprlib.repr(transform)}"
            )
        check_memory(device, pin_memory)
        policy_name = checked_policy(policy, cache)
        if cache is not None and policy_name == "none":
            cache = dataclasses.replace(cache, scorer="none")
        self.config = _ONE_BY_ONE if cache is None else cache
        depth = self.config.prefetch_depth
        if depth is None:
            for_gpu = pin_memory or (device is not None and device.type == "cuda")
            depth = DEFAULT_DEPTH if graph.ctx.num_ranks > 1 or for_gpu else 0
        self._depth = depth
        self._num_epochs = num_epochs
        self._ctx = graph.ctx
        if isinstance(seeds, Schedule):
            self.schedule = seeds
        else:
            self.schedule = SeedSchedule.split_evenly(
                as_seeds(graph, seeds), graph.ctx, batch_size=batch_size, shuffle=shuffle, seed=seed
            )
        _check_range(self.schedule.seeds, graph.num_vertices)
        self.cache_setup: CacheSetup | None = None
        """The halo cache and what it was made from; None without `cache` or features."""
        if cache is not None and CACHED_ARRAY in arrays:
            self.cache_setup = set_up_cache(
                graph,
                cache,
                array=CACHED_ARRAY,
                seeds=self.schedule.seeds,
                num_steps=len(self),
                fanout=hops,
                seed=seed,
            )
        self.policy: LivePolicy | None = None
        """What steers the halo cache, to be asked for its state; None for a mere schedule."""
        if cache is not None and self.cache_setup is not None:
            self.policy = start_live_policy(
                policy,
                graph,
                self.cache_setup,
                options=policy_options,
                scorer=cache.scorer,
                period=cache.replace_every,
                num_minibatches=len(self) * num_epochs,
                seed=seed,
                run_dir=None if run_dir is None else Path(run_dir),
            )
            if policy_name not in WITHOUT_CACHE:
                _say_if_idle(policy_name, self.cache_setup, graph.ctx)
            if self.policy is not None:
                weakref.finalize(self, self.policy.close).atexit = False
        self.maker = MinibatchMaker(
            graph,
            MinibatchOptions(
                fanout=hops,
                seed=seed,
                replace=replace,
                arrays=arrays,
                seed_arrays=_seed_arrays(graph, arrays, self.schedule),
                with_edge_ids=edge_ids,
                with_edge_attr=edge_attr,
                with_adj_t=adj_t,
                transform=transform,
                pin_memory=pin_memory,
                device=device,
            ),
            None if self.cache_setup is None else self.cache_setup.rows,
        )
        self._next_epoch = 0
        self._first_step = 0
        self._session: _Session | None = None
        self._session_epoch = 0  # that the session goes on with

    def __len__(self) -> int:
        """Minibatches of an epoch, the same on all ranks."""
        return self.schedule.num_steps

    def set_epoch(self, epoch: int, *, first_step: int = 0) -> None:
        """Chooses the epoch that the next pass takes; later passes count on from it.

        Args:
            epoch: number of the epoch, from 0.
            first_step: minibatches of that epoch to leave out, as those that were trained before a
                checkpoint; the others are the same as in a whole pass.

        Raises:
            ConfigError: if the epoch has no such step.
        """
        if not 0 <= first_step <= len(self):
            raise ConfigError(f"first_step must be in [0, {len(self)}], got {first_step}")
        self._next_epoch = epoch
        self._first_step = first_step

    def __iter__(self) -> Iterator[Data]:
        """Yields the minibatches of the next epoch."""
        epoch, first_step = self._next_epoch, self._first_step
        self._next_epoch += 1
        self._first_step = 0
        session = self._session_from(epoch, first_step)
        complete = False
        try:
            for step in range(first_step, len(self)):
                self._ctx.step = f"epoch {epoch}, step {step}"
                if session is not self._session:
                    raise GnnflowError(
                        f"the pass over epoch {epoch} ended when a newer one over the same loader "
                        "began; use one loader for each"
                    )
                asked_s = time.perf_counter()
                batch = next(session)
                wait_s = time.perf_counter() - asked_s
                # Told when the batch is yielded, not when it is made, which was long before.
                weight = self.schedule.weight(step)
                self._ctx.loss_weight = self._ctx.batch_weight = weight
                mark_batch(batch, weight)
                yield batch
                if self.cache_setup is not None:
                    # Known only when the next batch is asked for.
                    elapsed_s = time.perf_counter() - asked_s
                    self.cache_setup.rows.clock.add(wait_s, elapsed_s)
            complete = True
        finally:
            if not complete or epoch + 1 >= self._num_epochs:
                session.close()
        self._session_epoch = epoch + 1

    def close(self) -> None:
        """Ends the threads that prepare the next epoch, if there are any."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def finish(self) -> None:
        """Ends the loader for good: its threads and its policy; no pass can follow."""
        self.close()
        if self.policy is not None:
            self.policy.close()

    def _exchange_every(self) -> int | Callable[[], int]:
        """The minibatches of an exchange, which a policy may change."""
        if self.cache_setup is None:
            return self.config.exchange_every
        transfer = self.cache_setup.rows.transfer
        return lambda: transfer.exchange_every

    def _session_from(self, epoch: int, first_step: int) -> _Session:
        """Goes on with the pipeline that has prepared an epoch, or starts one there."""
        session = self._session
        prepared = session is not None and not session.closed and self._session_epoch == epoch
        if session is not None and prepared and first_step == 0:
            self._session_epoch = -1  # until this pass is complete
            return session
        self.close()
        # The pipeline may not refer to the loader, with which it ends.
        schedule, num_steps = self.schedule, len(self)
        epochs = range(epoch, max(self._num_epochs, epoch + 1))
        session = Pipeline(
            self.maker,
            (
                schedule.batch(number, step)
                for number in epochs
                for step in range(first_step if number == epoch else 0, num_steps)
            ),
            depth=self._depth,
            exchange_every=self._exchange_every(),
            fetch_early=self.config.fetch_early_bytes > 0,
        )
        self._session = session
        self._session_epoch = -1
        self._ctx.before_close.add(session)
        # Threads end with the loader; at the end of the process nobody would answer them.
        weakref.finalize(self, session.close).atexit = False
        return session


def _say_if_idle(policy: str, setup: CacheSetup, ctx: Context) -> None:
    """Says so if there is nothing to steer on any rank; all ranks call this."""
    num_rows = int(ctx.allreduce_sum(np.array([setup.capacity], dtype=np.int64))[0])
    if not num_rows and ctx.rank == 0:
        _LOGGER.warning(
            "policy '%s' has nothing to steer: no rank has a halo cache (no rows come from other "
            "machines, or the budget is 0)",
            policy,
        )


def _seed_arrays(graph: DistGraph, arrays: Sequence[str], schedule: Schedule) -> tuple[str, ...]:
    """Labels of the seeds, where seeds are what is asked about."""
    is_asked = isinstance(schedule, SeedSchedule)
    return ("y",) if is_asked and "y" in graph.array_names and "y" not in arrays else ()


def _check_range(seeds: NDArray[np.int64], num_vertices: int) -> None:
    if seeds.size and (seeds.min() < 0 or seeds.max() >= num_vertices):
        raise DataError(
            f"seeds must be global ids in [0, {num_vertices}), got {seeds.min()} to {seeds.max()}"
        )
