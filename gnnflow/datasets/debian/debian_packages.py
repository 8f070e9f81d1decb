"""The embedded graph: Debian's packages, what they ask for, and the archive section as the task."""

from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.row_source import ArrayRows


def both_directions(edges: NDArray[Any], num_vertices: int) -> NDArray[Any]:
    """Adds the reverse of every edge; each pair is kept once, and self loops once.

    Args:
        edges: `[2, num_edges]`, int32 or int64.
        num_vertices: Vertices are numbered from 0 to `num_vertices - 1`.

    Returns:
        `[2, num_pairs]` of the same type, sorted by source and then by destination.
    """
    sources, destinations = edges.astype(np.int64)
    keys = np.concatenate(
        [sources * num_vertices + destinations, destinations * num_vertices + sources]
    )
    return np.stack(np.divmod(np.unique(keys), num_vertices)).astype(edges.dtype)


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
