"""DistNeighborLoader: what a PyG user holds."""

import inspect
import logging
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch_geometric.data import Data

from gnnflow.comm import Context
from gnnflow.errors import ConfigError, DataError, GnnflowError
from gnnflow.first_hop import open_first_hop
from gnnflow.graph import DistGraph
from gnnflow.loader.arguments import Fanout, as_names, as_seeds, check_graph
from gnnflow.loader.loader_options import (
    WITHOUT_CACHE,
    LoaderKeywords,
    LoaderOptions,
    chosen_options,
    signature_with_options,
)
from gnnflow.loader.loss_weight import mark_batch
from gnnflow.loader.minibatch_maker import FEATURES, MinibatchMaker, SampledMinibatch
from gnnflow.loader.pyg_names import take_pyg_names
from gnnflow.loader.seed_schedule import Schedule, SeedBatch, SeedSchedule
from gnnflow.prefetch import CacheSetup, LivePolicy, Pipeline, set_up_cache, start_live_policy

_LOGGER = logging.getLogger(__name__)

_Session = Pipeline[SeedBatch, SampledMinibatch, SampledMinibatch, Data]


class DistNeighborLoader:
    """Yields minibatches of a partitioned graph, the same number of them on every rank.

    It is used as PyG's `NeighborLoader`. A batch is a `torch_geometric.data.Data` with

    - `x` `[num_vertices, num_features]`: features of all vertices, the seeds' first,
    - `y` `[batch_size, ...]`: labels of the seeds alone, since those of the other vertices would
      only cost traffic (`arrays=("x", "y")` fetches them for all),
    - with `first_hop`, `x_first` `[num_vertices, num_features]`: what the stored first hop has of
      all in-neighbours of each vertex; the vertices are those of all hops but the last,
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
        fanout: Fanout | None = None,
        batch_size: int | None = None,
        *,
        options: LoaderOptions | None = None,
        **named: Unpack[LoaderKeywords],
    ) -> None:
        """Prepares the loader; every rank must do this.

        Args:
            graph: the graph of this rank.
            seeds: name of a split, or this rank's seeds as unique global ids, or a mask (of the
                whole graph by ids of the input, from which each rank takes its own vertices, or
                over the vertices of this rank), or None for all vertices of this rank, or a
                schedule with the seeds of every step (then `batch_size` and `shuffle` mean
                nothing).
            fanout: neighbours kept per hop, from the seeds outwards, `(10, 25)` by default; -1
                keeps all. A number is one hop, and `"10,25"` is as on the command line.
            batch_size: seeds of one rank in one minibatch, on average; 512 by default.
            options: all options at once, as for loaders that have them in common.
            **named: options by name: the fields of `LoaderOptions` (`shuffle`, `seed`, `replace`,
                `weight_attr`, `draw`, `draw_every`, `first_hop`, `first_hop_bytes`, `arrays`,
                `edge_ids`, `edge_attr`, `adj_t`, `transform`, `pin_memory`, `device`, `cache`,
                `num_epochs`, `policy`), which count before those of `options`;
                `policy_options` and `run_dir`, how the policy is asked and the folder where it
                writes its decisions; and PyG's parameters that have another name here.

        Raises:
            ConfigError: if `fanout` or `batch_size` is out of range, no policy has that name, a
                policy is given and `cache` is None, a parameter of PyG has no meaning here, or
                there is no GPU to pin memory for or to put features on.
            DataError: if seeds repeat or are not of the graph, or an array or weights are missing.
        """
        check_graph(graph)
        seeds, fanout = take_pyg_names(
            named,
            graph.ctx,
            inspect.signature(DistNeighborLoader).parameters,
            input_nodes=("seeds", seeds, "train"),
            num_neighbors=("fanout", fanout, None),
        )
        options = chosen_options(options, named, fanout=fanout, batch_size=batch_size)
        self.options = options
        """How minibatches are made, and what they hold."""
        self.config = options.cache_config
        """Options of halo cache and prefetching as they hold."""
        self._ctx = graph.ctx
        if isinstance(seeds, Schedule):
            self.schedule = seeds
        else:
            self.schedule = SeedSchedule.split_evenly(
                as_seeds(graph, seeds),
                graph.ctx,
                batch_size=options.batch_size,
                shuffle=options.shuffle,
                seed=options.seed,
            )
        _check_range(self.schedule.seeds, graph.num_vertices)
        minibatch = options.minibatch(_seed_arrays(graph, options, self.schedule), len(self))
        self.cache_setup: CacheSetup | None = None
        """The halo cache and what it was made from; None without `cache` or features."""
        self.policy: LivePolicy | None = None
        """What steers the halo cache, to be asked for its state; None for a mere schedule."""
        if options.first_hop is not None:
            open_first_hop(graph, options.first_hop, memory_bytes=options.first_hop_bytes)
        if options.cache is not None and FEATURES in minibatch.arrays:
            self.cache_setup = set_up_cache(
                graph,
                self.config,
                array=minibatch.features,
                budget_row_bytes=graph.store(FEATURES).row_bytes,
                seeds=self.schedule.seeds,
                num_steps=len(self),
                fanout=minibatch.fanout,
                seed=minibatch.seed,
                weight_attr=minibatch.weight_attr,
            )
            self.policy = self._start_policy(graph, self.cache_setup)
        self.maker = MinibatchMaker(
            graph, minibatch, None if self.cache_setup is None else self.cache_setup.rows
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
            if not complete or epoch + 1 >= self.options.num_epochs:
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

    def _start_policy(self, graph: DistGraph, setup: CacheSetup) -> LivePolicy | None:
        """Starts what steers the halo cache, and says so if there is nothing to steer."""
        choice = self.options.policy_choice
        policy = start_live_policy(
            choice,
            graph,
            setup,
            scorer=self.config.scorer,
            period=self.config.replace_every,
            num_minibatches=len(self) * self.options.num_epochs,
            seed=self.options.seed,
        )
        if choice.name not in WITHOUT_CACHE:
            _say_if_idle(choice.name, setup, graph.ctx)
        if policy is not None:
            weakref.finalize(self, policy.close).atexit = False
        return policy

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
        epochs = range(epoch, max(self.options.num_epochs, epoch + 1))
        session = Pipeline(
            self.maker,
            (
                schedule.batch(number, step)
                for number in epochs
                for step in range(first_step if number == epoch else 0, num_steps)
            ),
            depth=self.options.prefetch_depth(self._ctx.num_ranks),
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


def _seed_arrays(graph: DistGraph, options: LoaderOptions, schedule: Schedule) -> tuple[str, ...]:
    """Labels of the seeds, where seeds are what is asked about."""
    is_asked = isinstance(schedule, SeedSchedule)
    is_left = "y" in graph.array_names and "y" not in as_names("arrays", options.arrays)
    return ("y",) if is_asked and is_left else ()


DistNeighborLoader.__signature__ = signature_with_options(DistNeighborLoader.__init__)  # type: ignore[attr-defined]


def _check_range(seeds: NDArray[np.int64], num_vertices: int) -> None:
    if seeds.size and (seeds.min() < 0 or seeds.max() >= num_vertices):
        raise DataError(
            f"seeds must be global ids in [0, {num_vertices}), got {seeds.min()} to {seeds.max()}"
        )
