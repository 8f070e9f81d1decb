"""The trace of a training run: what each minibatch of a rank asked for, and what it took."""

import dataclasses
from pathlib import Path

from torch import nn

from gnnflow.first_hop import vectors_a_row
from gnnflow.graph import DistGraph
from gnnflow.loader import DistNeighborLoader, MinibatchCost
from gnnflow.replay import TraceFacts, TraceRecorder
from gnnflow.training.data_parallel.wrapped_model import gradient_bytes
from gnnflow.training.records.step_metrics import StepMetrics


class RunTrace:
    """Collects the trace of a rank while it trains."""

    def __init__(
        self,
        folder: Path,
        graph: DistGraph,
        loader: DistNeighborLoader,
        model: nn.Module,
        *,
        fanout: tuple[int, ...],
        batch_size: int,
    ) -> None:
        """Takes what stays the same during the run.

        Args:
            folder: where `save` writes.
            graph: the graph.
            loader: a loader with a `CacheConfig`.
            model: what is trained, for the size of its gradients.
            fanout: neighbours kept per hop.
            batch_size: seeds of one rank in one minibatch.
        """
        setup = loader.cache_setup
        assert setup is not None
        config = loader.config
        settings = {
            name: value for name, value in dataclasses.asdict(config).items() if name != "trace"
        }
        if loader.options.weight_attr is not None:
            settings["weight_attr"] = loader.options.weight_attr
        settings |= {"draw": loader.options.draw, "draw_every": loader.options.draw_every}
        first_hop = loader.options.first_hop
        if first_hop is not None:
            settings |= {"first_hop": first_hop}
        facts = TraceFacts(
            graph=graph.manifest.name,
            rank=graph.ctx.rank,
            num_ranks=graph.ctx.num_ranks,
            graph_vertices=graph.num_vertices,
            graph_edges=graph.num_edges,
            part_vertices=graph.partition.num_vertices,
            # As rows travel: volumes of the trace are bytes that crossed.
            row_bytes=setup.rows.store.wire_row_bytes,
            vectors_a_row=vectors_a_row(first_hop),
            batch_size=batch_size,
            fanout=fanout,
            num_train_seeds=sum(graph.num_seeds("train")),
            gradient_bytes=gradient_bytes(model),
            num_threads=graph.ctx.threads,
            transport=graph.ctx.transport,
            settings=settings
            | {
                "capacity": setup.capacity,
                "replace_every": config.replace_every,
                "wire_dtype": setup.rows.transfer.wire_dtype,
                "stored_row_bytes": setup.rows.store.row_bytes,
                "policy_bounds": {} if loader.policy is None else loader.policy.bounds,
            },
        )
        self._folder = folder
        self._recorder = TraceRecorder(
            facts, setup.halo.vertices, setup.halo.degrees, setup.halo.vip
        )

    def add(self, epoch: int, cost: MinibatchCost, metrics: StepMetrics) -> None:
        """Notes a minibatch that has been trained."""
        self._recorder.add(
            cost.remote_ids,
            epoch=epoch,
            num_seeds=metrics.num_seeds,
            num_vertices=metrics.num_vertices,
            num_edges=metrics.num_edges,
            subgraph_bytes=cost.subgraph_bytes,
            num_hits=cost.traffic.rows_hit - cost.rows_on_host,
            num_fill=cost.traffic.rows_filled,
            moved_bytes=cost.traffic.bytes_fetched,
            num_requests=cost.num_requests,
            sample_s=metrics.sample_s,
            fetch_s=metrics.fetch_s,
            wait_s=metrics.traffic.wait_s,
            train_s=metrics.compute_s,
            all_reduce_s=metrics.all_reduce_s,
            known_stall_s=cost.known_s[0],
            known_elapsed_s=cost.known_s[1],
        )

    def save(self) -> Path:
        """Writes the trace of this rank and returns the file."""
        return self._recorder.save(self._folder)
