"""Checkpoints in one process: what comes back, what is kept, what is refused."""

import hashlib
import json
import logging
import math
import shutil

import pytest
import torch
from safetensors import torch as safetensors
from test_golden_losses import ring_with_chords
from torch import nn
from torch.nn import functional

import gnnflow
from gnnflow.config import PartitionConfig
from gnnflow.errors import CheckpointError, ConfigError
from gnnflow.loader import DistNeighborLoader
from gnnflow.models import make_model
from gnnflow.partition import partition_graph
from gnnflow.training import (
    Checkpoints,
    TrainingState,
    load_checkpoint,
    load_model_from_checkpoint,
    save_checkpoint,
)
from gnnflow.training.checkpoints.checkpoint_files import Position, read_facts

START = Position()


class Run:
    """A program's own training loop."""

    def __init__(self, graph, name="sage", dims=(4, 8, 3), batch_size=15):
        torch.manual_seed(3)
        self.graph = graph
        self.model = make_model(name, dims, dropout=0.5)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.05)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 2)
        self.loader = DistNeighborLoader(graph, fanout=[2, 3], batch_size=batch_size, seed=7)
        self.losses = []

    @property
    def state(self):
        return TrainingState(
            graph=self.graph,
            model=self.model,
            loader=self.loader,
            shared={"optimizer": self.optimizer, "schedule": self.schedule},
        )

    def train(self, begin=START, num_epochs=3, after_step=None):
        """Trains on from a position; `after_step(epoch, num_steps_done)` after each step."""
        for epoch in range(begin.epoch, num_epochs):
            first_step = begin.first_step(epoch)
            self.loader.set_epoch(epoch, first_step=first_step)
            for step, batch in enumerate(self.loader, first_step):
                out = self.model(batch.x, batch.edge_index)[: batch.batch_size]
                loss = functional.cross_entropy(out, batch.y)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.schedule.step()
                self.losses.append(loss.item())
                if after_step is not None:
                    after_step(epoch, step + 1)
        return self


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    partition_graph(ring_with_chords(), folder / "ring", PartitionConfig(num_parts=1))
    partition_graph(ring_with_chords(), folder / "other", PartitionConfig(num_parts=1, seed=1))
    partition_graph(ring_with_chords(60), folder / "small", PartitionConfig(num_parts=1))
    return folder


@pytest.fixture
def graph(parts):
    with gnnflow.init(threads=1) as ctx:
        yield gnnflow.DistGraph.open(parts / "ring", ctx)


@pytest.fixture
def saved(graph, tmp_path):
    """A folder with checkpoints after one epoch and two steps, and after one epoch."""
    run = Run(graph)
    checkpoints = Checkpoints(tmp_path / "saved", run.state)

    def save(epoch, done):
        if (epoch, done) in ((0, 3), (1, 2)):
            checkpoints.save(*((1, 0) if done == 3 else (epoch, done)))

    run.train(num_epochs=2, after_step=save)
    return tmp_path / "saved"


def test_any_step_goes_on_as_if_nothing_had_happened(graph, tmp_path):
    whole = Run(graph)
    folder = tmp_path / "all"
    checkpoints = Checkpoints(folder, whole.state, keep_last=99)
    whole.train(after_step=checkpoints.save)
    assert len(whole.losses) == 9
    for number, path in enumerate(sorted(folder.glob("epoch-*")), 1):
        later = Run(graph)
        torch.manual_seed(number)
        resumed = load_checkpoint(path, later.state)
        assert resumed.same_job and resumed.position.num_updates == number
        later.train(resumed.position)
        assert later.losses == whole.losses[number:]
        for ours, theirs in zip(later.model.parameters(), whole.model.parameters(), strict=True):
            assert torch.equal(ours, theirs)
        assert later.schedule.get_last_lr() == whole.schedule.get_last_lr()


def test_the_last_ones_and_the_best_are_kept(graph, tmp_path):
    run = Run(graph)
    checkpoints = Checkpoints(tmp_path, run.state, keep_last=2)
    for epoch, score in enumerate([0.5, 0.8, 0.6, 0.8, 0.7], 1):
        path = checkpoints.save(epoch, score=score)
        assert (tmp_path / "latest").read_text() == f"{path.name}\n"
    checkpoints.save(5, 1)
    kept = ["epoch-0002-step-000000", "epoch-0005-step-000000", "epoch-0005-step-000001"]
    assert sorted(path.name for path in tmp_path.glob("epoch-*")) == kept
    assert (tmp_path / "best").read_text() == f"{kept[0]}\n"
    assert read_facts(tmp_path / kept[0]).score == 0.8
    checkpoints.close()
    assert not list(tmp_path.glob(".*"))
    # A run that goes on knows what was best.
    again = Checkpoints(tmp_path, run.state, keep_last=1)
    assert again.resume().position == Position(epoch=5, step=1, num_updates=16)
    again.save(6, score=0.79)
    assert sorted(path.name for path in tmp_path.glob("epoch-*")) == [
        kept[0],
        "epoch-0006-step-000000",
    ]


def test_going_back_keeps_what_got_further(graph, tmp_path):
    run = Run(graph)
    checkpoints = Checkpoints(tmp_path, run.state, keep_last=2)
    for epoch in (1, 2, 3, 4):
        checkpoints.save(epoch)
    again = Checkpoints(tmp_path, run.state, keep_last=1)
    assert again.resume(tmp_path / "epoch-0003-step-000000").position.epoch == 3
    again.save(3, 1)
    assert sorted(path.name for path in tmp_path.glob("epoch-*")) == [
        "epoch-0003-step-000001",
        "epoch-0004-step-000000",
    ]
    assert Checkpoints(tmp_path, run.state).resume().position.step == 1


def test_an_earlier_run_is_not_mixed_with_a_new_one(graph, saved, tmp_path):
    run = Run(graph)
    with pytest.raises(ConfigError, match=r"earlier run; --resume auto goes on with them"):
        Checkpoints(saved, run.state).start()
    inside = saved / "epoch-0001-step-000000"
    elsewhere = tmp_path / "copy"
    shutil.copytree(inside, elsewhere)
    with pytest.raises(ConfigError, match="earlier run"):
        Checkpoints(saved, run.state).resume(elsewhere)
    Checkpoints(tmp_path / "new", run.state).start()
    assert Checkpoints(tmp_path / "new", run.state).resume() is None


def test_what_a_kill_left_is_not_loaded(graph, saved):
    newest = saved / "epoch-0001-step-000002"
    shutil.copytree(newest, saved / ".epoch-0001-step-000003.unfinished")
    (saved / ".latest.unfinished").write_text("epoch-0")
    (saved / "latest.part").write_text("epoch-0")
    shutil.copytree(saved / "epoch-0001-step-000000", saved / ".epoch-0001-step-000001.removed")
    newest.rename(saved / f".{newest.name}.replaced")
    run = Run(graph)
    assert Checkpoints(saved, run.state).resume().position.step == 2
    assert not list(saved.glob(".*")) and not list(saved.glob("*.part"))


@pytest.mark.parametrize("pointer", ["epoch-0001-step-000002", "epoch-0009-step-000000", "", None])
def test_auto_finds_the_newest(graph, saved, pointer):
    if pointer is None:
        (saved / "latest").unlink()
    else:
        (saved / "latest").write_text(pointer)
    assert Checkpoints(saved, Run(graph).state).resume().position == Position(
        epoch=1, step=2, num_updates=5
    )


FILES = [
    "model.safetensors",
    "state.json",
    "state.safetensors",
    "rank-00000.json",
    "rank-00000.safetensors",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["changed", "cut", "missing"])
def test_damage(graph, saved, caplog, name, how):
    newest = saved / "epoch-0001-step-000002"
    file = newest / name
    content = bytearray(file.read_bytes())
    if how == "missing":
        file.unlink()
    else:
        content[-2] ^= 1
        file.write_bytes(content[:-1] if how == "cut" else content)
    run = Run(graph)
    before = [parameter.clone() for parameter in run.model.parameters()]
    with pytest.raises(CheckpointError, match=f"is damaged: {name} .*; go on from another one"):
        load_checkpoint(newest, run.state)
    assert all(map(torch.equal, before, run.model.parameters()))
    if name == "model.safetensors":
        with pytest.raises(CheckpointError, match="is damaged"):
            load_model_from_checkpoint(newest)
    with caplog.at_level(logging.WARNING):
        resumed = Checkpoints(saved, run.state).resume()
    assert resumed.position == Position(epoch=1, num_updates=3)
    assert "looking for an older one" in caplog.text
    shutil.rmtree(saved / "epoch-0001-step-000000")
    with pytest.raises(CheckpointError, match="is damaged"):
        Checkpoints(saved, run.state).resume()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, r"format version is 2, this release of gnnflow reads version 1; upgrade"),
        ({"format": "else"}, r"is not a 'gnnflow-checkpoint'"),
        ({"position": None}, r"checkpoint\.json lacks something \(Position must be a JSON object"),
        ({"files": {"../x.json": {}}}, r"'../x\.json' is no file of the format"),
        ({"files": {"x.json": {}}}, "CheckpointFile lacks the field 'size_bytes'"),
        (
            {"files": {"x.json": {"size_bytes": True, "sha256": ""}}},
            "size_bytes must be int, got True",
        ),
        ({"files": {"x.json": {"size_bytes": 1, "sha256": 1}}}, "sha256 must be text, got 1"),
        ({"files": {}}, "model.safetensors is not in it"),
        ({"num_ranks": 2**60}, r"it has \d+ files for \d+ ranks"),
        ({"num_ranks": "1"}, r"lacks something \(CheckpointFacts.num_ranks must be int, got '1'\)"),
        ({"position": {"epoch": -1}}, "Position.epoch must not be negative, got -1"),
        ({"graph": []}, r"CheckpointFacts.graph must be an object, got \[\]"),
        ({"model": 3}, "CheckpointFacts.model must be an object, got 3"),
        ({"score": True}, "CheckpointFacts.score must be a number or null, got True"),
        ({"score": math.nan}, "CheckpointFacts.score must be a number or null, got nan"),
        ({"score": math.inf}, "CheckpointFacts.score must be a number or null, got inf"),
        ({"partition": 5}, "CheckpointFacts.partition must be text, got 5"),
        ({"seeds": [1]}, r"CheckpointFacts.seeds must be text, got \[1\]"),
        ({"options": 7}, "CheckpointFacts.options must be an object, got 7"),
        ({"gnnflow": None}, "CheckpointFacts.gnnflow must be text, got None"),
    ],
)
def test_facts_that_cannot_be_used(graph, saved, change, message):
    facts = saved / "epoch-0001-step-000002" / "checkpoint.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(facts.parent, Run(graph).state)


@pytest.mark.parametrize(
    ("name", "state", "message"),
    [
        ("state.json", None, "a state in it is a NoneType"),
        ("state.json", {"$": "pairs", "items": [3]}, "a state in it cannot be read"),
        ("state.json", {"optimizer": 3}, "'optimizer' is of another kind here"),
        ("rank-00000.json", [], "a state in it is a list"),
        ("rank-00000.json", {"generators": {}}, "'generators' is of another kind here"),
        ("rank-00000.json", {"generators": None}, "'generators' is of another kind here"),
    ],
)
def test_states_of_another_shape_are_refused(graph, saved, name, state, message):
    folder = saved / "epoch-0001-step-000002"
    content = json.dumps(state).encode()
    (folder / name).write_bytes(content)
    facts = json.loads((folder / "checkpoint.json").read_text())
    digest = hashlib.sha256(content).hexdigest()
    facts["files"][name] = {"size_bytes": len(content), "sha256": digest}
    (folder / "checkpoint.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder, Run(graph).state)


def write_with_hash(folder, name, content):
    (folder / name).write_bytes(content)
    facts = json.loads((folder / "checkpoint.json").read_text())
    digest = hashlib.sha256(content).hexdigest()
    facts["files"][name] = {"size_bytes": len(content), "sha256": digest}
    (folder / "checkpoint.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("optimizer", "shape", "message"),
    [
        ("Adam", [5], r"'\w+' of parameter \d+ has shape \[5\] there and \[\d+(, \d+)?\] here"),
        ("SGD", [5], r"'momentum_buffer' of parameter \d+ has shape \[5\] there"),
        ("Adam", None, r"of parameter \d+ it keeps \[.*\], not \["),
    ],
)
def test_tensors_of_an_optimizer_have_the_shapes_of_parameters(
    graph, tmp_path, optimizer, shape, message
):
    run = Run(graph)
    options = {"momentum": 0.9} if optimizer == "SGD" else {"amsgrad": True}
    run.optimizer = getattr(torch.optim, optimizer)(run.model.parameters(), lr=0.1, **options)
    run.schedule = torch.optim.lr_scheduler.StepLR(run.optimizer, 2)
    run.train(num_epochs=1)
    save_checkpoint(tmp_path / "one", run.state, Position(epoch=1))
    kept = safetensors.load_file(tmp_path / "one" / "state.safetensors")
    text = (tmp_path / "one" / "state.json").read_text()
    load_checkpoint(tmp_path / "one", run.state)
    for name in [name for name in kept if not name.endswith(".step")][:2]:
        if shape is None:
            state = json.loads(text)
            *path, last = name.removeprefix("state.").split(".")[1:]
            inner = state["optimizer"]
            inner = dict(inner["state"]["items"])[int(path[-1])]
            del inner[last]
            write_with_hash(tmp_path / "one", "state.json", json.dumps(state).encode())
        else:
            wrong = {**kept, name: torch.zeros(shape)}
            write_with_hash(tmp_path / "one", "state.safetensors", safetensors.save(wrong))
        with pytest.raises(CheckpointError, match=f"'optimizer' is of another kind.*{message}"):
            load_checkpoint(tmp_path / "one", run.state)


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("optimizer", "lr", "0.1", "'lr' is '0.1' there and 0.05 here"),
        ("optimizer", "lr", {}, "'lr' is {} there"),
        ("optimizer", "betas", {"$": "tuple", "items": [0.9]}, r"'betas' is \(0.9,\) there"),
        ("optimizer", "weight_decay", None, "'weight_decay' is None there and 0 here"),
        ("schedule", "step_size", 0, "'schedule' is of another kind here"),
        ("schedule", "last_epoch", "x", "'last_epoch' is 'x' there"),
        ("schedule", "base_lrs", [], r"'base_lrs' is \[\] there"),
    ],
)
def test_numbers_of_a_state_are_numbers(graph, saved, part, name, value, message):
    folder = saved / "epoch-0001-step-000002"
    state = json.loads((folder / "state.json").read_text())
    holder = state[part]["param_groups"][0] if part == "optimizer" else state[part]
    assert name in holder
    holder[name] = value
    write_with_hash(folder, "state.json", json.dumps(state).encode())
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder, Run(graph).state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda optimizer: optimizer["param_groups"][0].pop("lr"), "its group lacks 'lr'"),
        (lambda optimizer: optimizer["param_groups"][0].pop("betas"), "its group lacks 'betas'"),
        (lambda optimizer: optimizer["state"].pop("$"), "it has a state of 'items'"),
        (lambda optimizer: optimizer["state"]["items"].append([99, {}]), "it has a state of 99"),
    ],
)
def test_an_optimizer_has_all_that_its_next_step_needs(graph, saved, change, message):
    folder = saved / "epoch-0001-step-000002"
    state = json.loads((folder / "state.json").read_text())
    change(state["optimizer"])
    write_with_hash(folder, "state.json", json.dumps(state).encode())
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder, Run(graph).state)


def test_an_option_that_is_younger_than_the_checkpoint_is_filled_in(graph, saved):
    folder = saved / "epoch-0001-step-000002"
    state = json.loads((folder / "state.json").read_text())
    del state["optimizer"]["param_groups"][0]["maximize"]
    write_with_hash(folder, "state.json", json.dumps(state).encode())
    run = Run(graph)
    load_checkpoint(folder, run.state)
    assert run.optimizer.param_groups[0]["maximize"] is False


def sparse(path, header, data_bytes):
    """A safetensors file whose data is a hole: no bytes on the disk, all of them in memory."""
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + data_bytes)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({}, "model.safetensors: its tensors take 0 bytes, and there are 6000000000"),
        (
            {"x": {"dtype": "F32", "shape": [1_500_000_000], "data_offsets": [0, 6_000_000_000]}},
            "is of another model: '.*' is missing there|it has 1 tensors for all its layers",
        ),
        (
            {"x": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 6_000_000_000]}},
            r"model.safetensors: 'x' of shape \[\d+\] cannot lie in 6000000000 bytes",
        ),
    ],
)
def test_a_file_of_holes_is_not_read(graph, saved, header, message, monkeypatch):
    folder = saved / "epoch-0001-step-000002"
    sparse(folder / "model.safetensors", header, 6_000_000_000)
    facts = json.loads((folder / "checkpoint.json").read_text())
    size_bytes = (folder / "model.safetensors").stat().st_size
    facts["files"]["model.safetensors"]["size_bytes"] = size_bytes
    (folder / "checkpoint.json").write_text(json.dumps(facts))

    def read(path, *_):
        assert path.name == "checkpoint.json", f"{path} was read"
        return path.read_bytes()

    monkeypatch.setattr("gnnflow.training.checkpoints.checkpoint_files.read_regular", read)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder, Run(graph).state)
    with pytest.raises(CheckpointError, match=message):
        load_model_from_checkpoint(folder)


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ([4, 2**40, 3], "is of another model: '.*' has shape"),
        ([4] * 10_000, "it has 6 tensors for all its layers"),
        ([4, 2**62, 2**62], "no model has the options|is of another model"),
    ],
)
def test_the_width_of_a_model_is_that_of_its_weights(graph, saved, dims, message):
    folder = saved / "epoch-0001-step-000002"
    facts = json.loads((folder / "checkpoint.json").read_text())
    facts["model"]["options"]["dims"] = dims
    (folder / "checkpoint.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match=message):
        load_model_from_checkpoint(folder)


def test_no_checkpoint(graph, tmp_path):
    with pytest.raises(CheckpointError, match="is no checkpoint .*; give a folder as epoch-"):
        load_checkpoint(tmp_path, Run(graph).state)
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged: checkpoint.json is not JSON"):
        load_checkpoint(tmp_path, Run(graph).state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "gat"}, "'convs.0.att_src' is missing there"),
        ({"dims": (4, 9, 3)}, r"'convs.0.lin_l.weight' has shape \[8, 4\] there and \[9, 4\] here"),
        ({"dims": (4, 8, 3, 3)}, r"of another model: '.*' has shape|missing"),
    ],
)
def test_another_model(graph, saved, options, message):
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved / "epoch-0001-step-000002", Run(graph, **options).state)


def test_another_optimizer(graph, saved):
    run = Run(graph)
    run.optimizer = torch.optim.Adam([next(run.model.parameters())])
    with pytest.raises(CheckpointError, match="'optimizer' is of another kind here"):
        load_checkpoint(saved / "epoch-0001-step-000002", run.state)


def test_another_graph_or_cut(parts, saved):
    newest = saved / "epoch-0001-step-000002"
    with gnnflow.init(threads=1) as ctx:
        small = Run(gnnflow.DistGraph.open(parts / "small", ctx))
        with pytest.raises(CheckpointError, match="num_vertices is 90 there and 60 here"):
            load_checkpoint(newest, small.state)
        cut = Run(gnnflow.DistGraph.open(parts / "other", ctx))
        resumed = load_checkpoint(newest, cut.state)
        assert not resumed.same_job
        assert resumed.position == Position(epoch=1, num_updates=5)
        cut.train(resumed.position)


def test_other_minibatches_start_the_epoch_again(graph, saved):
    run = Run(graph, batch_size=10)
    resumed = load_checkpoint(saved / "epoch-0001-step-000002", run.state)
    assert resumed.same_job and resumed.facts.position.step == 2
    assert resumed.position == Position(epoch=1, num_updates=5)


def test_the_model_from_the_checkpoint_alone(graph, saved):
    run = Run(graph)
    newest = saved / "epoch-0001-step-000002"
    load_checkpoint(newest, run.state)
    model = load_model_from_checkpoint(newest)
    assert not model.training and type(model) is type(run.model)
    assert model.dropout.p == 0.5
    for ours, theirs in zip(model.parameters(), run.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_model_of_a_program(graph, tmp_path):
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(layer.weight.detach())
    state = TrainingState(graph=graph, model=layer)
    save_checkpoint(tmp_path / "here", state, Position(epoch=2))
    with pytest.raises(CheckpointError, match="holds a Linear of a program"):
        load_model_from_checkpoint(tmp_path / "here")
    other = nn.Linear(2, 2)
    resumed = load_checkpoint(tmp_path / "here", TrainingState(graph=graph, model=other))
    assert torch.equal(other.weight, layer.weight) and resumed.position == Position(epoch=2)


def test_no_room(graph, tmp_path):
    (tmp_path / "file").touch()
    state = TrainingState(graph=graph, model=nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match="cannot write the checkpoint .*Not a directory"):
        save_checkpoint(tmp_path / "file" / "here", state, Position())
    with pytest.raises(ConfigError, match="keep_last must be at least 1, got 0"):
        Checkpoints(tmp_path, state, keep_last=0)
