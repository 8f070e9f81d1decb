"""The embedded graph: Debian's packages, what they ask for, and the archive section as the task."""

from importlib.resources import files

import numpy as np

from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.row_source import ArrayRows
from gnnflow.datasets.undirected import both_directions

NUM_BUCKETS = 256
"""Words are hashed into this many features; one byte stores a bucket."""


def load_debian_packages() -> RawGraph:
    """Loads the embedded graph, both directions of every dependency as edges.

    `docs/datasets.md` says what it is, how it was made and what accuracy to expect.
    """
    with (files("gnnflow.datasets") / "data" / "debian-packages.npz").open("rb") as file:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    num_vertices = len(arrays["labels"])
    x = np.zeros((num_vertices, NUM_BUCKETS), dtype=np.float32)
    vertices = np.repeat(np.arange(num_vertices), np.diff(arrays["word_offsets"]))
    x[vertices, arrays["word_buckets"]] = arrays["word_counts"]
    return RawGraph(
        name="debian-packages",
        source=f"Debian package index, sha256 {arrays['index_sha256']}",
        num_vertices=num_vertices,
        edges=both_directions(arrays["edges"], num_vertices),
        arrays={"x": ArrayRows(x), "y": ArrayRows(arrays["labels"].astype(np.int64))},
        splits={
            name: np.flatnonzero(arrays["split"] == number).astype(np.int64)
            for number, name in enumerate(("train", "val", "test"))
        },
        num_classes=len(arrays["label_names"]),
    )
