"""Saving and loading what training needs to go on: one checkpoint, over all ranks."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import torch as safetensors
from torch import nn

import gnnflow
from gnnflow.errors import CheckpointError, one_line
from gnnflow.files.json_record import read_record
from gnnflow.files.json_text import parse_json, to_json_text
from gnnflow.graph import DistGraph
from gnnflow.loader import DistNeighborLoader
from gnnflow.models import LayeredModel, make_model
from gnnflow.training.checkpoints.checkpoint_files import (
    MODEL_FILE,
    STATE_NAME,
    CheckpointFacts,
    Position,
    Tensors,
    damaged,
    rank_name,
    read_files,
    write_files,
)
from gnnflow.training.checkpoints.compatibility import (
    check_graph,
    check_loaded_options,
    check_next_rate,
    check_optimizer,
    check_weights,
    graph_facts,
    load_weights,
    partition_digest,
    read_tensors,
)
from gnnflow.training.checkpoints.rank_bytes import broadcast_bytes, gather_bytes, scatter_bytes
from gnnflow.training.checkpoints.state_tree import Stateful, check_kinds, pack, unpack
from gnnflow.training.data_parallel.model_buffers import sync_buffers
from gnnflow.training.data_parallel.wrapped_model import unwrap


class TorchGenerators:
    """This process' generators of the CPU and of the GPU in use, as a checkpoint holds them."""

    def state_dict(self) -> dict[str, Any]:
        """The states; that of a GPU where there is one."""
        state: dict[str, Any] = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lets the generators go on from states."""
        torch.set_rng_state(state_dict["cpu"])
        if "cuda" in state_dict and torch.cuda.is_available():
            torch.cuda.set_rng_state(state_dict["cuda"])


_GENERATORS = "generators"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingState:
    """All that a checkpoint holds, and that goes on from it."""

    graph: DistGraph
    """What is trained on; a checkpoint of another graph is refused."""
    model: nn.Module
    """The model, wrapped or not; its weights are the same on all ranks."""
    loader: DistNeighborLoader | None = None
    """Where the seeds of a step come from; without it training goes on at the start of an epoch."""
    shared: Mapping[str, Stateful] = field(default_factory=dict)
    """What is the same on all ranks, by name: the optimizer, a schedule."""
    per_rank: Mapping[str, Stateful] = field(default_factory=dict)
    """What each rank has of its own, besides torch's generators."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the run, for people who look at the checkpoint."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumed:
    """Where training goes on after a checkpoint was loaded."""

    position: Position
    """What is done: epochs, steps of the next one, steps of the optimizer."""
    facts: CheckpointFacts
    """What the checkpoint says about itself."""
    same_job: bool
    """Whether ranks and partition are those of the checkpoint; if not, what each rank had of its
    own starts anew."""


def save_checkpoint(
    folder: Path | str, state: TrainingState, position: Position, *, score: float | None = None
) -> None:
    """Saves a checkpoint; every rank calls this, rank 0 writes.

    Args:
        folder: where to; it appears when it is complete. `Checkpoints` chooses names by itself.
        state: what to save.
        position: what is done.
        score: validation score, larger is better.

    Raises:
        CheckpointError: if there is something that cannot be saved, or the place cannot be
            written to.
    """
    ctx = state.graph.ctx
    sync_buffers(state.model, ctx)
    own = {name: part.state_dict() for name, part in state.per_rank.items()}
    own[_GENERATORS] = TorchGenerators().state_dict()
    texts, tensors = _packed(own, "rank")
    rank_texts = gather_bytes(ctx, texts)
    rank_tensors = gather_bytes(ctx, tensors)
    seeds = _seeds_digest(state)
    if ctx.rank == 0:
        model = unwrap(state.model)
        weights: dict[str, Any] = {}
        pack(dict(model.state_dict()), "model", weights)
        shared, shared_tensors = _packed(
            {name: part.state_dict() for name, part in state.shared.items()}, STATE_NAME
        )
        files = {
            MODEL_FILE: safetensors.save(
                {name.removeprefix("model."): tensor for name, tensor in weights.items()}
            ),
            f"{STATE_NAME}.json": shared,
            f"{STATE_NAME}.safetensors": shared_tensors,
        }
        for rank in range(ctx.num_ranks):
            files[f"{rank_name(rank)}.json"] = rank_texts[rank]
            files[f"{rank_name(rank)}.safetensors"] = rank_tensors[rank]
        options = model.options if isinstance(model, LayeredModel) else None
        facts = CheckpointFacts(
            gnnflow=gnnflow.__version__,
            position=position,
            score=score,
            num_ranks=ctx.num_ranks,
            graph=graph_facts(state.graph.manifest),
            partition=partition_digest(state.graph.manifest),
            seeds=seeds,
            model={"class": type(model).__name__, "options": options},
            options=state.options,
        )
        write_files(Path(folder), facts, files)
    # No rank goes on, and maybe ends the job, before the checkpoint is there.
    ctx.barrier()


def load_checkpoint(folder: Path | str, state: TrainingState) -> Resumed:
    """Loads a checkpoint into what it was saved from; every rank calls this.

    With another number of ranks, another partition of the graph or other seeds in the steps
    (another batch size), training goes on at the start of the epoch that was under way: the seeds
    that are done are not those of the first new steps. What each rank had of its own is loaded if
    ranks and partition are the same.

    Args:
        folder: the checkpoint.
        state: what to load it into: model, optimizer and the others, made as before.

    Returns:
        Where to go on.

    Raises:
        CheckpointError: if it is damaged, of a newer version, or of another model or graph.
    """
    ctx, path = state.graph.ctx, Path(folder)
    facts, files = _read_on_rank_0(path, state)
    load_weights(path, files[MODEL_FILE], unwrap(state.model))
    shared = _unpacked(path, files[f"{STATE_NAME}.json"], files[f"{STATE_NAME}.safetensors"])
    _load_parts(path, shared, state.shared)
    partition = partition_digest(state.graph.manifest)
    same_job = facts.num_ranks == ctx.num_ranks and facts.partition == partition
    if same_job:
        own = _unpacked(path, files["rank.json"], files["rank.safetensors"])
        _load_parts(path, own, {_GENERATORS: TorchGenerators(), **state.per_rank})
    position = facts.position
    if not same_job or not facts.seeds or facts.seeds != _seeds_digest(state):
        position = Position(epoch=position.epoch, num_updates=position.num_updates)
    return Resumed(position=position, facts=facts, same_job=same_job)


def load_model_from_checkpoint(folder: Path | str) -> LayeredModel:
    """Makes the model of a checkpoint from the checkpoint alone, on the CPU, ready to evaluate.

    No job is needed; each process reads for itself.

    Raises:
        CheckpointError: if it is damaged, of a newer version, or of a program's own model.
    """
    path = Path(folder)

    def check(facts: CheckpointFacts, weights: Tensors) -> None:
        with torch.device("meta"):  # shapes without memory: the options may name any width
            check_weights(path, weights, _make_model(path, facts, len(weights)))

    facts, files = read_files(path, check)
    model = _make_model(path, facts)
    load_weights(path, files[MODEL_FILE], model)
    return model.eval()


def _make_model(path: Path, facts: CheckpointFacts, num_tensors: int | None = None) -> LayeredModel:
    options = facts.model.get("options")
    if options is None:
        raise CheckpointError(
            f"the checkpoint {path} holds a {facts.model.get('class')} of a program, which gnnflow "
            f"cannot make; make it there, load its weights from {MODEL_FILE} and call evaluate or "
            "gnnflow.training.infer"
        )
    try:
        if num_tensors is not None and len(options["dims"]) > num_tensors + 1:
            raise ValueError(f"it has {num_tensors} tensors for all its layers")
        return make_model(**options)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = f"no model has the options {options!r:.200} ({one_line(error)})"
        raise damaged(path, reason) from None


def _packed(state: dict[str, Any], name: str) -> tuple[bytes, bytes]:
    tensors: dict[str, Any] = {}
    text = to_json_text(pack(state, name, tensors), indent=1) + "\n"
    return text.encode(), safetensors.save(tensors)


def _unpacked(path: Path, text: bytes, tensors: bytes) -> dict[str, Any]:
    try:
        state = unpack(parse_json(text), read_tensors(path, tensors))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, f"a state in it cannot be read ({one_line(repr(error))})") from None
    if not isinstance(state, dict):
        raise damaged(path, f"a state in it is a {type(state).__name__}, no dictionary of states")
    return state


def _read_on_rank_0(path: Path, state: TrainingState) -> tuple[CheckpointFacts, dict[str, bytes]]:
    """Facts and files on every rank: those of all, and `rank.*`, those of this rank."""
    ctx = state.graph.ctx

    def check(facts: CheckpointFacts, weights: Tensors) -> None:
        check_graph(path, facts, state.graph.manifest)
        check_weights(path, weights, unwrap(state.model))

    files: dict[str, bytes] = {}
    facts = None
    problem = ""
    if ctx.rank == 0:
        try:
            facts, files = read_files(path, check)
        except CheckpointError as error:
            problem = str(error)
    # All ranks fail together, with one line.
    about = ctx.broadcast_json([problem, None if facts is None else asdict(facts)])
    if about[0]:
        raise CheckpointError(about[0])
    facts = read_record(CheckpointFacts, about[1])
    names = (MODEL_FILE, f"{STATE_NAME}.json", f"{STATE_NAME}.safetensors")
    read = {name: broadcast_bytes(ctx, files.get(name, b"")) for name in names}
    if facts.num_ranks == ctx.num_ranks:
        for ending in ("json", "safetensors"):
            own = [files.get(f"{rank_name(rank)}.{ending}", b"") for rank in range(ctx.num_ranks)]
            read[f"rank.{ending}"] = scatter_bytes(ctx, own)
    return facts, read


_UNFIT = (KeyError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError)
"""What loading the state of something else raises."""


def _load_parts(path: Path, states: Mapping[str, Any], parts: Mapping[str, Stateful]) -> None:
    for name, part in parts.items():
        if name not in states:
            continue  # what the run that saved it did not have starts anew
        try:
            if isinstance(part, torch.optim.Optimizer):
                check_optimizer(states[name], part)
                before = [dict(group) for group in part.param_groups]
                part.load_state_dict(states[name])
                check_loaded_options(part, before)
            elif isinstance(part, torch.optim.lr_scheduler.LRScheduler):
                check_kinds(states[name], part.state_dict())
                part.load_state_dict(states[name])
                check_next_rate(part)
            else:
                part.load_state_dict(states[name])
        except _UNFIT as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"the checkpoint {path} does not fit: '{name}' is of another kind here ({reason}); "
                "give the options that it was saved with"
            ) from None


def _seeds_digest(state: TrainingState) -> str:
    """Equal if the seeds of every step are, on all ranks; all ranks call this."""
    own = "" if state.loader is None else state.loader.schedule.digest
    everywhere = "".join(state.graph.ctx.allgather_json(own))
    return hashlib.sha256(everywhere.encode()).hexdigest() if everywhere else ""
