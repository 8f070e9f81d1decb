"""Numbers to predict, from a raw graph to scores: -1 is one of them, NaN is none."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch_geometric.nn import GraphSAGE

import gnnflow
from gnnflow.config import PartitionConfig
from gnnflow.datasets import ArrayRows, RawGraph
from gnnflow.datasets.array_kinds import labels_of
from gnnflow.models import make_model
from gnnflow.partition import partition_graph
from gnnflow.training import evaluate
from gnnflow.training.evaluation.inference import infer
from gnnflow.training.evaluation.vertex_evaluation import evaluate_scores
from gnnflow.training.tasks import RegressionTask, task_of

SIZE = 60
TRAIN, VAL = np.arange(0, 40), np.arange(40, 50)  # the others are in no split


def write(folder: Path, labels: np.ndarray, task: str = "auto") -> Path:
    y, num_classes = labels_of(labels, "y.npy", task)  # type: ignore[arg-type]
    ring = np.arange(SIZE)
    graph = RawGraph(
        name="ring",
        source="by hand",
        num_vertices=SIZE,
        edges=np.stack([ring, np.roll(ring, 1)]),
        arrays={"x": ArrayRows(np.eye(SIZE, 8, dtype=np.float32)), "y": ArrayRows(y)},
        splits={"train": TRAIN, "val": VAL},
        num_classes=num_classes,
    )
    partition_graph(graph, folder / "parts", PartitionConfig(num_parts=1))
    return folder / "parts"


@pytest.mark.parametrize("num_columns", [1, 3])
def test_the_template_learns_numbers(tmp_path: Path, num_columns: int):
    labels = np.random.default_rng(0).integers(-3, 400, (SIZE, num_columns)).astype(np.float64)
    labels[50:] = np.nan
    labels[:5] = -1
    parts = write(tmp_path, labels, "regression")
    with gnnflow.init(threads=1) as ctx:
        graph = gnnflow.DistGraph.open(parts, ctx)
        loader = gnnflow.DistNeighborLoader(graph, seeds="train", fanout=[2, 2], batch_size=16)
        net = GraphSAGE(graph.num_features, 16, 2, graph.num_classes)
        model = gnnflow.wrap(net, ctx)
        for batch in loader:
            out = model(batch.x, batch.edge_index)[: batch.batch_size]
            loss = functional.mse_loss(out.squeeze(-1), batch.y)
            loss.backward()
            assert torch.isfinite(loss)
        trained = {int(graph.to_original(np.array([v]))[0]) for v in graph.splits["train"]}
        assert trained == set(TRAIN)
        scores = evaluate(net, graph, ["train", "val"], num_hops=2)
        assert all(score is not None and np.isfinite(score) for score in scores.values())


def test_whole_numbers_are_classes_or_numbers(tmp_path: Path):
    parts = write(tmp_path, np.arange(SIZE) % 7)
    with gnnflow.init(threads=1) as ctx:
        graph = gnnflow.DistGraph.open(parts, ctx)
        assert graph.num_classes == 7
        task = task_of(graph.manifest, "regression")
        assert isinstance(task, RegressionTask)
        model = make_model("sage", (8, 16, task.num_outputs))
        scores = evaluate_scores(model, graph, ["val"], task=task)["val"]
        assert scores["RMSE"] is not None
        infer(model, graph, tmp_path / "numbers")
        infer(make_model("sage", (8, 16, 7)), graph, tmp_path / "classes")
    numbers, logits = (
        np.load(tmp_path / "numbers" / f"{name}.npy") for name in ("predictions", "logits")
    )
    assert numbers.dtype == np.float32
    assert np.array_equal(numbers, logits)
    assert np.load(tmp_path / "classes" / "predictions.npy").dtype == np.int64
