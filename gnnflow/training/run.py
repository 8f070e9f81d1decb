"""A whole run: from options to a trained model, its scores and its records."""

import dataclasses
import logging
import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gnnflow.comm import Context
from gnnflow.config import TrainConfig, recorded_options
from gnnflow.errors import DataError
from gnnflow.files.whole_file import make_folder
from gnnflow.graph import DistGraph
from gnnflow.in_degrees import IN_DEGREE, ensure_in_degree
from gnnflow.loader import DistNeighborLoader, SeedSchedule
from gnnflow.models import LayeredModel, build_model, stored_hop_of
from gnnflow.process_memory import peak_memory_bytes
from gnnflow.terminal import PlainConsole, SlowWork, say
from gnnflow.training.checkpoints.of_run import CachedVertices, RunCheckpoints, check_source
from gnnflow.training.checkpoints.saving import TrainingState
from gnnflow.training.checkpoints.state_tree import Stateful
from gnnflow.training.data_parallel.wrapped_model import wrap
from gnnflow.training.evaluation.vertex_evaluation import SPLITS, evaluate_scores
from gnnflow.training.loss_watch import LossWatch
from gnnflow.training.loss_weighting import LossShares, weighted_task
from gnnflow.training.machine_use import MemoryUse, set_up_process
from gnnflow.training.optimization import (
    EarlyStopping,
    LearningRate,
    check_stopping,
    make_optimizer,
)
from gnnflow.training.records.asked_rows import AskedRows, cache_warning, write_optimum
from gnnflow.training.records.progress import TrainingProgress, Watcher
from gnnflow.training.records.run_records import RunHistory, RunRecords
from gnnflow.training.records.run_trace import RunTrace
from gnnflow.training.records.step_metrics import EpochRecorder, StepMetrics
from gnnflow.training.records.summary import (
    SUMMARY_FILE,
    RunSummary,
    Scores,
    policy_summary,
    policy_table,
)
from gnnflow.training.records.trackers import Trackers
from gnnflow.training.tasks import Scored, Task
from gnnflow.training.trainer import Trainer, attach_layers

_LOGGER = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclasses.dataclass(frozen=True, slots=True)
class OpenRun:
    """What a run works with: its graph, its model, its minibatches, its records."""

    config: TrainConfig
    ctx: Context
    graph: DistGraph
    task: Task
    model: nn.Module
    """As `wrap` returned it."""
    loader: DistNeighborLoader
    records: RunRecords
    trace: RunTrace | None
    asked: AskedRows
    start_s: float
    memory_start_bytes: int


@dataclasses.dataclass(slots=True)
class Learner:
    """What learns, and what looks at how well."""

    trainer: Trainer
    recorder: EpochRecorder
    losses: LossWatch
    learning_rate: LearningRate
    stopping: EarlyStopping
    history: RunHistory
    checkpoints: RunCheckpoints
    watchers: Sequence[Watcher]
    all_scores: dict[str, Scored] = dataclasses.field(default_factory=dict)
    """Those of the last evaluation."""

    def evaluate(self, run: OpenRun) -> Scores:
        """The score that runs are compared by, of each split."""
        with SlowWork("computing the scores", show=run.ctx.rank == 0):
            self.all_scores = evaluate_scores(run.model, run.graph, SPLITS, task=run.task)
        return {split: every[run.task.score_name] for split, every in self.all_scores.items()}


def train(config: TrainConfig, ctx: Context) -> RunSummary:
    """Trains as the options say; every rank calls this, rank 0 shows and writes.

    Raises:
        GnnflowError: if the options do not fit the partition or the machine.
    """
    with ExitStack() as held:
        run = open_run(config, ctx, held)
        with ExitStack() as training:
            training.callback(run.loader.finish)
            learner = make_trainer(run, held, training)
            run_epochs(run, learner)
        return finish_run(run, learner)


def open_run(config: TrainConfig, ctx: Context, held: ExitStack) -> OpenRun:
    """Opens graph, model, loader and records.

    Args:
        config: the options.
        ctx: the job.
        held: takes what is to be closed when the run is over.
    """
    device = set_up_process(config.runtime.device, ctx)
    memory_start_bytes = peak_memory_bytes()
    graph = DistGraph.open(
        config.parts,
        ctx,
        verify=config.runtime.verify,
        wire_dtype=config.runtime.wire_dtype,
        topology_bytes=config.runtime.topology_bytes,
    )
    start_s = time.perf_counter()
    task = weighted_task(config.optimization, graph)
    torch.manual_seed(config.runtime.seed)
    layered = build_model(
        config, graph.num_features, task.num_outputs, graph.edges.num_features
    ).to(device)
    model = wrap(layered, ctx, gradient_dtype=config.runtime.gradient_dtype)
    # The weights are the same everywhere, dropout is not.
    torch.manual_seed(config.runtime.seed + 1 + ctx.rank)
    check_source(config.checkpoint, ctx)
    check_stopping(config, graph)
    if config.cache.trace is not None:
        make_folder(config.cache.trace, "the trace")  # before the work, not when it is over
    records = RunRecords(config, ctx)
    held.callback(records.close)
    loader = _make_loader(config, graph, layered, device, records.folder)
    _log_start(graph, loader, device)
    trace = None
    if config.cache.trace is not None:
        fanout, batch_size = config.sampling.fanout, config.sampling.batch_size
        trace = RunTrace(
            config.cache.trace, graph, loader, model, fanout=fanout, batch_size=batch_size
        )
    return OpenRun(
        config=config,
        ctx=ctx,
        graph=graph,
        task=task,
        model=model,
        loader=loader,
        records=records,
        trace=trace,
        asked=AskedRows(),
        start_s=start_s,
        memory_start_bytes=memory_start_bytes,
    )


def make_trainer(run: OpenRun, held: ExitStack, training: ExitStack) -> Learner:
    """Makes what trains, as it was at the checkpoint that the run goes on from, if any.

    Args:
        run: what to train.
        held: takes what is to be closed when the run is over.
        training: takes what is to be closed when the last epoch is.
    """
    config, ctx, loader = run.config, run.ctx, run.loader
    optimizer = make_optimizer(config.optimization, run.model.parameters())
    learning_rate = LearningRate(optimizer, config.optimization, len(loader))
    recorder = EpochRecorder(ctx)
    trainer = Trainer(
        run.model,
        loader,
        optimizer,
        run.task,
        recorder,
        dtype=DTYPES[config.runtime.dtype],
        recorders=[run.asked, *([] if run.trace is None else [run.trace])],
        learning_rate=learning_rate,
        clip_norm=config.optimization.clip_norm,
        shares=_make_shares(run.task, run.graph, loader),
    )
    losses = LossWatch(ctx, run.model, config.optimization.on_nan)
    stopping = EarlyStopping(config.optimization.patience)
    history = RunHistory()
    per_rank: dict[str, Stateful] = {
        "epoch": recorder,
        "cache": CachedVertices(loader.cache_setup),
    }
    if loader.policy is not None:
        per_rank["policy"] = loader.policy
    state = TrainingState(
        graph=run.graph,
        model=run.model,
        loader=loader,
        shared={
            "optimizer": optimizer,
            "learning rate": learning_rate,
            "early stopping": stopping,
            "history": history,
        },
        per_rank=per_rank,
        options=recorded_options(config),
    )
    checkpoints = RunCheckpoints(config.checkpoint, state, recorder, losses)
    held.callback(checkpoints.close)
    position = checkpoints.begin()
    learning_rate.go_to(position.epoch * len(loader) + position.step)
    run.records.open_metrics(recorder, position.epoch)
    watchers = []
    if ctx.rank == 0:
        watchers = _open_watchers(config, run.records.folder, len(loader), training)
    return Learner(
        trainer, recorder, losses, learning_rate, stopping, history, checkpoints, watchers
    )


def run_epochs(run: OpenRun, learner: Learner) -> None:
    """Trains and evaluates from where the checkpoints begin."""
    optimization, checkpoints, watchers = (
        run.config.optimization,
        learner.checkpoints,
        learner.watchers,
    )
    num_epochs, every = optimization.epochs, optimization.eval_every
    begin = checkpoints.position
    for epoch in range(begin.epoch, num_epochs):
        if learner.stopping.stops:
            break

        def on_step(metrics: StepMetrics, epoch: int = epoch) -> None:
            for watcher in watchers:
                watcher.show_step(metrics)
            learner.losses.after_step(epoch, metrics)
            checkpoints.after_step(epoch, metrics.step + 1)

        for watcher in watchers:
            watcher.start_epoch(epoch)
        metrics = learner.trainer.train_epoch(epoch, on_step, first_step=begin.first_step(epoch))
        learner.losses.after_epoch(epoch, learner.recorder.first_nan)
        due = epoch == num_epochs - 1 or (every and (epoch + 1) % every == 0)
        scores = learner.evaluate(run) if due else {}
        learner.history.add(metrics, scores)
        score = scores.get("val")
        if score is not None and not math.isfinite(score):
            score = None
        learner.learning_rate.after_evaluation(score)
        learner.stopping.after_evaluation(score)
        checkpoints.after_epoch(epoch, score)
        for watcher in watchers:
            watcher.show_epoch(metrics, scores)
    if not learner.all_scores:
        learner.history.scores[-1] = learner.evaluate(run)


def finish_run(run: OpenRun, learner: Learner) -> RunSummary:
    """Writes and shows what came of a run; returns it on every rank."""
    config, ctx, records, loader = run.config, run.ctx, run.records, run.loader
    trace, history = run.trace, learner.history
    if trace is not None:
        records.keep(lambda: _LOGGER.info("trace written to %s", trace.save()))
    summary = RunSummary(
        graph=run.graph.manifest.name,
        model=config.model.model,
        num_ranks=ctx.num_ranks,
        score_name=run.task.score_name,
        scores=history.scores[-1],
        all_scores=learner.all_scores,
        stopped_early=learner.stopping.stops,
        epochs=history.epochs,
        epoch_scores=history.scores,
        total_time_s=time.perf_counter() - run.start_s,
        topology_bytes=int(np.max(ctx.allgather_array(run.graph.topology_bytes))),
        halo_hops=run.graph.manifest.halo_hops,
        memory=MemoryUse.of_run(run.graph, loader, run.memory_start_bytes),
        policy=policy_summary(config, loader, ctx),
        config=recorded_options(config),
        folder=records.folder,
    )
    setup = loader.cache_setup
    capacity = 0 if setup is None else setup.capacity
    records.keep(lambda: write_optimum(records.folder, run.asked, capacity, ctx))
    warning = cache_warning(summary, config.cache, run.asked, setup, len(loader), ctx)
    if loader.policy is not None:
        records.note(loader.policy.log_problem)
    if ctx.rank == 0:
        summary_file = records.folder / SUMMARY_FILE
        records.keep(lambda: summary.write(summary_file))
        console = PlainConsole()
        console.print(summary.table())
        if (decisions := policy_table(summary.policy)) is not None:
            console.print(decisions)
        if warning is not None:
            say(f"warning: {warning}")
    records.settle()
    if ctx.rank == 0:
        say(summary_file)
    return summary


def _make_loader(
    config: TrainConfig,
    graph: DistGraph,
    model: LayeredModel,
    device: torch.device,
    folder: Path,
) -> DistNeighborLoader:
    arrays = ["x"]
    if model.uses_in_degree:
        ensure_in_degree(graph)
        arrays.append(IN_DEGREE)
    on_kernels = model.aggregates and device.type == "cpu" and config.runtime.dtype == "float32"
    loader = DistNeighborLoader(
        graph,
        "train",
        config.sampling.fanout,
        config.sampling.batch_size,
        seed=config.runtime.seed,
        weight_attr=config.sampling.edge_weights,
        draw=config.sampling.draw,
        draw_every=config.sampling.draw_every,
        first_hop=stored_hop_of(config),
        first_hop_bytes=config.sampling.first_hop_bytes,
        arrays=arrays,
        edge_attr=model.uses_edge_attr,
        transform=attach_layers if on_kernels else None,
        cache=config.cache,
        num_epochs=config.optimization.epochs,
        policy=config.policy,
        run_dir=folder,
        device=device if device.type == "cuda" else None,
    )
    if not len(loader):
        raise DataError(f"{config.parts} has no train seeds; partition it with a train split")
    return loader


def _log_start(graph: DistGraph, loader: DistNeighborLoader, device: torch.device) -> None:
    ctx, setup = graph.ctx, loader.cache_setup
    _LOGGER.info(
        "part %d of %s: %d vertices, %d steps an epoch, transport %s, %d threads, %s",
        *(graph.part_id, graph.manifest.name, graph.partition.num_vertices, len(loader)),
        *(ctx.transport, ctx.threads, device),
    )
    if setup is not None:
        _LOGGER.info(
            "halo cache of %d rows for %d halo vertices, %d filled at the start",
            *(setup.capacity, len(setup.halo.vertices), setup.rows.rows_filled_at_start),
        )


def _open_watchers(
    config: TrainConfig, folder: Path, num_steps: int, stack: ExitStack
) -> list[Watcher]:
    """Opens what follows the run on rank 0."""
    options = recorded_options(config)
    num_epochs = config.optimization.epochs
    return [
        stack.enter_context(Trackers(config.records, folder, num_steps, options)),
        stack.enter_context(
            TrainingProgress(PlainConsole(), num_epochs=num_epochs, num_steps=num_steps)
        ),
    ]


def _make_shares(task: Task, graph: DistGraph, loader: DistNeighborLoader) -> LossShares | None:
    """What losses count with if seeds do not all count the same."""
    schedule = loader.schedule
    assert isinstance(schedule, SeedSchedule)
    labels = graph.partition.arrays["y"][schedule.seeds - graph.partition.first_id]
    weights = task.seed_weights(np.asarray(labels))
    return None if weights is None else LossShares(graph.ctx, schedule, weights)
