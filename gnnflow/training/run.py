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
from gnnflow.config import OptimizationConfig, TrainConfig, recorded_options
from gnnflow.errors import ConfigError, DataError
from gnnflow.files.whole_file import make_folder
from gnnflow.graph import DistGraph
from gnnflow.loader import DistNeighborLoader, SeedSchedule
from gnnflow.models import LayeredModel, build_model
from gnnflow.partition.report import peak_memory_bytes
from gnnflow.terminal import PlainConsole, say
from gnnflow.training.checkpoints.of_run import CachedVertices, RunCheckpoints, check_source
from gnnflow.training.checkpoints.saving import TrainingState
from gnnflow.training.checkpoints.state_tree import Stateful
from gnnflow.training.class_weights import class_weights
from gnnflow.training.evaluation import SPLITS, evaluate_scores
from gnnflow.training.gradients import wrap
from gnnflow.training.in_degree import IN_DEGREE, ensure_in_degree
from gnnflow.training.loss_shares import LossShares
from gnnflow.training.loss_watch import LossWatch
from gnnflow.training.memory import MemoryUse, keep_freed_memory
from gnnflow.training.records.asked_rows import AskedRows, write_optimum
from gnnflow.training.records.cache_advice import cache_warning
from gnnflow.training.records.policies_of_run import policy_summary, policy_table
from gnnflow.training.records.progress import TrainingProgress, Watcher
from gnnflow.training.records.run_history import RunHistory
from gnnflow.training.records.run_records import RunRecords
from gnnflow.training.records.run_trace import RunTrace
from gnnflow.training.records.step_metrics import EpochRecorder, StepMetrics
from gnnflow.training.records.summary import SUMMARY_FILE, RunSummary, Scores
from gnnflow.training.records.trackers import Trackers
from gnnflow.training.schedules import EarlyStopping, LearningRate, make_optimizer
from gnnflow.training.tasks import RegressionTask, Scored, Task, task_of
from gnnflow.training.trainer import Trainer, attach_layers

_LOGGER = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def train(config: TrainConfig, ctx: Context) -> RunSummary:
    """Trains as the options say; every rank calls this, rank 0 shows and writes.

    Raises:
        GnnflowError: if the options do not fit the partition or the machine.
    """
    with ExitStack() as held:
        return _train(config, ctx, held)


def _train(config: TrainConfig, ctx: Context, held: ExitStack) -> RunSummary:
    """Does it, with what is held until the run is over."""
    torch.set_num_threads(ctx.threads)
    keep_freed_memory()
    device = choose_device(config.runtime.device, ctx)
    memory_start_bytes = peak_memory_bytes()
    graph = DistGraph.open(
        config.parts,
        ctx,
        verify=config.runtime.verify,
        wire_dtype=config.runtime.wire_dtype,
        topology_bytes=config.runtime.topology_bytes,
    )
    start_s = time.perf_counter()
    task = _make_task(config.optimization, graph)
    torch.manual_seed(config.runtime.seed)
    layered = build_model(
        config, graph.num_features, task.num_outputs, graph.edges.num_features
    ).to(device)
    model = wrap(layered, ctx)
    # The weights are the same everywhere, dropout is not.
    torch.manual_seed(config.runtime.seed + 1 + ctx.rank)
    check_source(config.checkpoint, ctx)
    _check_stopping(config, graph)
    if config.cache.trace is not None:
        make_folder(config.cache.trace, "the trace")  # before the work, not when it is over
    records = RunRecords(config, ctx)
    held.callback(records.close)
    loader = _make_loader(config, graph, layered, device, records.folder)
    _log_start(graph, loader, device)
    trace = None
    if config.cache.trace is not None:
        trace = RunTrace(
            config.cache.trace,
            graph,
            loader,
            model,
            fanout=config.sampling.fanout,
            batch_size=config.sampling.batch_size,
        )
    asked = AskedRows()
    with ExitStack() as stack:
        stack.callback(loader.finish)
        optimizer = make_optimizer(config.optimization, model.parameters())
        learning_rate = LearningRate(optimizer, config.optimization, len(loader))
        recorder = EpochRecorder(ctx)
        trainer = Trainer(
            model,
            loader,
            optimizer,
            task,
            recorder,
            dtype=DTYPES[config.runtime.dtype],
            recorders=[asked, *([] if trace is None else [trace])],
            learning_rate=learning_rate,
            clip_norm=config.optimization.clip_norm,
            shares=_make_shares(task, graph, loader),
        )
        losses = LossWatch(ctx, model, config.optimization.on_nan)
        stopping = EarlyStopping(config.optimization.patience)
        history = RunHistory()
        per_rank: dict[str, Stateful] = {
            "epoch": recorder,
            "cache": CachedVertices(loader.cache_setup),
        }
        if loader.policy is not None:
            per_rank["policy"] = loader.policy
        checkpoints = RunCheckpoints(
            config.checkpoint,
            TrainingState(
                graph=graph,
                model=model,
                loader=loader,
                shared={
                    "optimizer": optimizer,
                    "learning rate": learning_rate,
                    "early stopping": stopping,
                    "history": history,
                },
                per_rank=per_rank,
                options=recorded_options(config),
            ),
            recorder,
            losses,
        )
        held.callback(checkpoints.close)
        position = checkpoints.begin()
        learning_rate.go_to(position.epoch * len(loader) + position.step)
        records.open_metrics(recorder, position.epoch)
        watchers = []
        if ctx.rank == 0:
            watchers = _open_watchers(config, records.folder, len(loader), stack)
        learner = _Learner(model, graph, task, trainer, recorder, losses, learning_rate, stopping)
        _run_epochs(config, learner, watchers, checkpoints, history)
    if trace is not None:
        records.keep(lambda: _LOGGER.info("trace written to %s", trace.save()))
    summary = RunSummary(
        graph=graph.manifest.name,
        model=config.model.model,
        num_ranks=ctx.num_ranks,
        score_name=task.score_name,
        scores=history.scores[-1],
        all_scores=learner.all_scores,
        stopped_early=stopping.stops,
        epochs=history.epochs,
        epoch_scores=history.scores,
        total_time_s=time.perf_counter() - start_s,
        topology_bytes=int(np.max(ctx.allgather_array(graph.topology_bytes))),
        halo_hops=graph.manifest.halo_hops,
        memory=MemoryUse.of_run(graph, loader, memory_start_bytes),
        policy=policy_summary(config, loader, ctx),
        config=recorded_options(config),
        folder=records.folder,
    )
    setup = loader.cache_setup
    capacity = 0 if setup is None else setup.capacity
    records.keep(lambda: write_optimum(records.folder, asked, capacity, ctx))
    warning = cache_warning(summary, config.cache, asked, setup, len(loader), ctx)
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


def choose_device(name: str, ctx: Context) -> torch.device:
    """The device that an option names; the ranks of a machine take its GPUs in turn.

    Raises:
        ConfigError: if a GPU is asked for and there is none.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("device is cuda, but torch finds no GPU here; use --device cpu")
    device = torch.device("cuda", ctx.host_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


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


@dataclasses.dataclass(slots=True)
class _Learner:
    """What learns, and what looks at how well."""

    model: nn.Module
    graph: DistGraph
    task: Task
    trainer: Trainer
    recorder: EpochRecorder
    losses: LossWatch
    learning_rate: LearningRate
    stopping: EarlyStopping
    all_scores: dict[str, Scored] = dataclasses.field(default_factory=dict)
    """Those of the last evaluation."""

    def evaluate(self) -> Scores:
        """The score that runs are compared by, of each split."""
        self.all_scores = evaluate_scores(self.model, self.graph, SPLITS, task=self.task)
        return {split: every[self.task.score_name] for split, every in self.all_scores.items()}


def _run_epochs(
    config: TrainConfig,
    learner: _Learner,
    watchers: Sequence[Watcher],
    checkpoints: RunCheckpoints,
    history: RunHistory,
) -> None:
    """Trains and evaluates from where the checkpoints begin."""
    num_epochs, every = config.optimization.epochs, config.optimization.eval_every
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
        scores = learner.evaluate() if due else {}
        history.add(metrics, scores)
        score = scores.get("val")
        if score is not None and not math.isfinite(score):
            score = None
        learner.learning_rate.after_evaluation(score)
        learner.stopping.after_evaluation(score)
        checkpoints.after_epoch(epoch, score)
        for watcher in watchers:
            watcher.show_epoch(metrics, scores)
    if not learner.all_scores:
        history.scores[-1] = learner.evaluate()


def _make_task(config: OptimizationConfig, graph: DistGraph) -> Task:
    task = task_of(graph.manifest, config.task)
    if config.class_weights is None:
        return task
    if isinstance(task, RegressionTask):
        raise ConfigError("class_weights are for classes, and these labels are numbers; drop them")
    weights = class_weights(config.class_weights, graph, task.num_outputs)
    return task_of(graph.manifest, config.task, weights)


def _check_stopping(config: TrainConfig, graph: DistGraph) -> None:
    """Refuses options that do nothing without validation scores."""
    has_scores = "val" in graph.manifest.splits and any(graph.num_seeds("val"))
    if has_scores:
        return
    if config.optimization.patience:
        given = f"patience is {config.optimization.patience}"
    elif config.optimization.schedule == "plateau":
        given = "schedule is plateau"
    else:
        return
    raise ConfigError(
        f"{given}, but {config.parts} has no validation seeds and so no score to go by; leave it "
        "out, or partition the graph with a validation split"
    )


def _make_shares(task: Task, graph: DistGraph, loader: DistNeighborLoader) -> LossShares | None:
    """What losses count with if seeds do not all count the same."""
    schedule = loader.schedule
    assert isinstance(schedule, SeedSchedule)
    labels = graph.partition.arrays["y"][schedule.seeds - graph.partition.first_id]
    weights = task.seed_weights(np.asarray(labels))
    return None if weights is None else LossShares(graph.ctx, schedule, weights)
