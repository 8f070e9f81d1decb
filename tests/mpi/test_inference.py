"""Predictions and embeddings in files by original id, the same on any number of ranks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_graphs import NUM_CLASSES, make_graph, power_law, tiny
from torch import nn

import gnnflow
from gnnflow.config import InferConfig
from gnnflow.errors import CheckpointError, ConfigError, DataError
from gnnflow.models import make_model
from gnnflow.training.checkpoints.checkpoint_files import Position
from gnnflow.training.checkpoints.saving import TrainingState, save_checkpoint
from gnnflow.training.evaluation.inference import (
    find_checkpoint,
    infer,
    read_vertices,
    run_inference,
)

pytestmark = pytest.mark.mpi(1, 2, 4)

NUM_FEATURES = 7
FILES = {"predictions", "logits", "embeddings"}


@pytest.fixture
def graph(ctx, parts):
    return gnnflow.DistGraph.open(parts(power_law(), ctx.num_ranks, method="random"), ctx)


@pytest.fixture
def shared(ctx, tmp_path):
    """One folder for all ranks."""
    return Path(ctx.broadcast_json(str(tmp_path)))


def build(dims=(NUM_FEATURES, 16, 12, NUM_CLASSES)):
    torch.manual_seed(0)
    model = make_model("sage", dims, dropout=0.5)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def on_whole_graph(model):
    """Embeddings and logits by PyG."""
    raw = power_law()
    x = torch.from_numpy(raw.arrays["x"].rows(np.arange(raw.num_vertices)))
    edge_index = torch.from_numpy(np.asarray(raw.edges))
    with torch.no_grad():
        *hidden, last = model.convs
        for conv in hidden:
            x = conv(x, edge_index).relu()
        return x.numpy(), last(x, edge_index).numpy()


def load(folder):
    summary = json.loads((folder / "inference.json").read_text())
    arrays = {}
    for name, about in summary["files"].items():
        array = np.load(folder / name, mmap_mode="r")
        assert [array.dtype.str, list(array.shape)] == [about["dtype"], about["shape"]]
        arrays[name.removesuffix(".npy")] = array
    assert set(arrays) == FILES
    return summary, arrays


def check(arrays, model, ids):
    embeddings, logits = on_whole_graph(model)
    np.testing.assert_allclose(arrays["embeddings"], embeddings[ids], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(arrays["logits"], logits[ids], rtol=1e-4, atol=1e-4)
    assert arrays["predictions"].dtype == np.int64
    assert np.array_equal(arrays["predictions"], arrays["logits"].argmax(1))


@pytest.mark.parametrize("transport", ["auto", "alltoall"])
def test_all_vertices(graph, shared, transport):
    model = build()
    for number, chunk_bytes in enumerate((1000, 1 << 27)):
        returned = infer(model, graph, shared / str(number), chunk_bytes=chunk_bytes)
        summary, arrays = load(shared / str(number))
        assert summary == returned
        assert (summary["num_vertices"], summary["rows"]) == (600, "ids of the input")
        check(arrays, model, np.arange(600))


def test_some_vertices(graph, shared):
    """In the order of the list, and as often as they are in it."""
    model = build()
    for name, ids in (("some", [599, 3, 3, 0, 17]), ("one", [5]), ("none", [])):
        vertices = np.array(ids, dtype=np.int64)
        infer(model, graph, shared / name, vertices=vertices)
        summary, arrays = load(shared / name)
        assert (summary["num_vertices"], summary["rows"]) == (len(ids), "as vertices.npy")
        assert np.load(shared / name / "vertices.npy").tolist() == ids
        check(arrays, model, vertices)


def test_one_layer_has_the_features_as_embeddings(graph, shared):
    infer(build((NUM_FEATURES, NUM_CLASSES)), graph, shared / "out")
    _, arrays = load(shared / "out")
    x = power_law().arrays["x"].rows(np.arange(600))
    assert np.array_equal(arrays["embeddings"], x)


def test_parts_of_one_vertex(ctx, parts, shared):
    graph = gnnflow.DistGraph.open(parts(tiny(), ctx.num_ranks, method="random"), ctx)
    infer(build(), graph, shared / "out")
    _, arrays = load(shared / "out")
    assert len(arrays["predictions"]) == 5 and np.isfinite(arrays["logits"]).all()


def test_from_a_checkpoint(graph, shared):
    model = build()
    checkpoints = shared / "checkpoints"
    state = TrainingState(graph=graph, model=model)
    for epoch in (1, 2):
        folder = checkpoints / Position(epoch=epoch).folder_name
        save_checkpoint(folder, state, Position(epoch=epoch))
        if graph.ctx.rank == 0 and epoch == 1:
            (checkpoints / "best").write_text(f"{folder.name}\n")
        with torch.no_grad():
            model.convs[-1].lin_l.bias += 1
    best = Position(epoch=1).folder_name
    assert find_checkpoint(checkpoints).name == best
    for number, path in enumerate((checkpoints, checkpoints / best)):
        out = shared / f"out{number}"
        run_inference(InferConfig(parts=graph.path, checkpoint=path, out=out), graph.ctx)
        check(load(out)[1], build(), np.arange(600))
    other = make_graph(600, np.asarray(power_law().edges)[:, :100])
    with pytest.raises(CheckpointError, match="is of another graph: num_edges is 6000 there and"):
        config = InferConfig(parts=_cut(other, graph, shared), checkpoint=checkpoints)
        run_inference(config, graph.ctx)


def _cut(raw, graph, shared):
    from gnnflow.config import PartitionConfig
    from gnnflow.partition import partition_graph

    if graph.ctx.rank == 0:
        config = PartitionConfig(num_parts=graph.num_parts, method="random")
        partition_graph(raw, shared / "other", config)
    graph.ctx.barrier()
    return shared / "other"


def test_errors(graph, shared):
    with pytest.raises(CheckpointError, match="is no checkpoint and holds none"):
        find_checkpoint(shared)
    np.save(shared / f"ids{graph.ctx.rank}.npy", np.array([0, 600]))
    with pytest.raises(DataError, match=r"ids of the input in \[0, 600\), got 0 to 600"):
        read_vertices(shared / f"ids{graph.ctx.rank}.npy", 600)
    with pytest.raises(DataError, match="one whole number per vertex, got float64"):
        infer(build(), graph, shared / "out", vertices=np.array([0.5]))
    assert not (shared / "out").exists()
    if graph.num_parts == 1:
        (shared / "taken").mkdir()
        (shared / "taken" / "file").touch()
        with pytest.raises(ConfigError, match="taken exists and is not empty"):
            infer(build(), graph, shared / "taken")
