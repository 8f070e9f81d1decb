"""Loss curves written down once: a change that should not alter the numbers must not.

They depend on the order of seeds, the sampled neighbours, the first weights and the arithmetic.
After a change that is meant to alter them, run this file as a program and copy what it prints.
"""

import numpy as np
import pytest
import torch

import gnnflow
from gnnflow.config import PartitionConfig
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.row_source import ArrayRows
from gnnflow.in_degrees import IN_DEGREE, ensure_in_degree
from gnnflow.loader import DistNeighborLoader
from gnnflow.models import make_model
from gnnflow.partition import partition_graph
from gnnflow.training.records.step_metrics import EpochRecorder
from gnnflow.training.tasks import task_of
from gnnflow.training.trainer import Trainer, attach_layers

GOLDEN = {
    "gat": [
        1.212631,
        1.088302,
        1.030395,
        0.937752,
        0.842752,
        0.884912,
        0.76531,
        0.63784,
        0.822313,
        0.695183,
        0.574705,
        0.568834,
    ],
    "gcn": [
        1.187945,
        1.129574,
        1.099969,
        0.936085,
        1.024582,
        0.954809,
        0.764813,
        0.859475,
        0.992857,
        0.667608,
        0.724011,
        0.695554,
    ],
    "gin": [
        1.215334,
        1.003859,
        0.924571,
        0.837064,
        0.705542,
        0.653376,
        0.494112,
        0.640861,
        0.62321,
        0.463643,
        0.509841,
        0.292023,
    ],
    "sage": [
        1.091633,
        1.011672,
        0.937376,
        0.793144,
        0.783119,
        0.756367,
        0.476589,
        0.581117,
        0.731948,
        0.305377,
        0.32254,
        0.293828,
    ],
}


def ring_with_chords(num_vertices=90, num_classes=3):
    """A graph that needs no random numbers: thirds of a ring, with chords that jump ahead."""
    vertex = np.arange(num_vertices)
    targets = [(vertex + step) % num_vertices for step in (1, 2, 7, 31)]
    edges = np.stack([np.tile(vertex, 4), np.concatenate(targets)])
    angle = 2 * np.pi * vertex / num_vertices
    waves = [np.sin(angle), np.cos(angle), np.sin(5 * angle), np.cos(11 * angle)]
    splits = {"train": vertex[::2], "val": vertex[1::4], "test": vertex[3::4]}
    return RawGraph(
        name="ring",
        source="computed by a test",
        num_vertices=num_vertices,
        edges=edges.astype(np.int64),
        arrays={
            "x": ArrayRows(np.stack(waves, axis=1).astype(np.float32)),
            "y": ArrayRows(vertex * num_classes // num_vertices),
        },
        splits={name: ids.astype(np.int64) for name, ids in splits.items()},
        num_classes=num_classes,
    )


def losses_of(name, folder):
    partition_graph(ring_with_chords(), folder, PartitionConfig(num_parts=1))
    with gnnflow.init(threads=1) as ctx:
        graph = gnnflow.DistGraph.open(folder, ctx)
        torch.manual_seed(7)
        model = make_model(name, [4, 8, 3])
        ensure_in_degree(graph)
        loader = DistNeighborLoader(
            graph,
            fanout=[2, 3],
            batch_size=15,
            seed=7,
            arrays=("x", IN_DEGREE),
            transform=attach_layers if model.aggregates else None,
        )
        recorder = EpochRecorder(ctx)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        trainer = Trainer(model, loader, optimizer, task_of(graph.manifest), recorder)
        losses = []
        for epoch in range(4):
            trainer.train_epoch(epoch)
            losses += recorder.job_losses
    return losses


@pytest.mark.parametrize("name", ["gat", "gcn", "gin", "sage"])
def test_loss_curve(name, tmp_path):
    losses = losses_of(name, tmp_path / "parts")
    np.testing.assert_allclose(losses, GOLDEN[name], atol=1e-5, rtol=0)
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    for model_name in ("gat", "gcn", "gin", "sage"):
        with tempfile.TemporaryDirectory() as made:
            curve = losses_of(model_name, Path(made) / "parts")
        print(f'    "{model_name}": {[round(loss, 6) for loss in curve]},')
