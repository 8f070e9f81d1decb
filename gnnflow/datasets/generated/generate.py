"""A generated graph: its edges, and labels, features and splits computed as rows are asked for."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.counter_hash import roughly_normal, stream_key, uniform
from gnnflow.datasets.generated import edge_makers
from gnnflow.datasets.generated.edge_makers import Communities
from gnnflow.datasets.generated.generator_spec import GeneratorSpec, RmatSpec, parse_spec
from gnnflow.datasets.raw_graph import Progress, RawGraph

FEATURE_CHUNK = 1 << 16
"""Values computed at a time; small enough to stay in the processor's cache."""

SPLIT_CHUNK = 1 << 20
"""Vertices whose split is drawn at a time."""


def generate(
    spec: str, seed: int = 0, workdir: str | Path | None = None, progress: Progress | None = None
) -> RawGraph:
    """Makes a graph with planted communities as labels and features that go with them.

    Everything is a function of `spec` and `seed` alone. Edges are written to a file in `workdir`
    in chunks, and features are computed when their rows are asked for, so that memory does not
    grow with the number of edges or features.

    Args:
        spec: `rmat:vertices=1e6,edges=1e7` or `sbm:...`; parameters that are left out have the
            defaults of `RmatSpec` and `SbmSpec`.
        seed: Seed of all that is drawn.
        workdir: Folder for the file of edges; without one they are held in memory.
        progress: Called as edges are made.

    Raises:
        DataError: The spec is wrong, or `workdir` has not enough room.
    """
    parsed = parse_spec(spec)
    if isinstance(parsed, RmatSpec):
        kind, (make, communities) = "rmat", edge_makers.rmat(parsed, seed)
    else:
        kind, (make, communities) = "sbm", edge_makers.sbm(parsed, seed)
    file = None if workdir is None else Path(workdir) / f"{kind}-edges.npy"
    edges = edge_makers.make_edges(make, parsed.edges, file, progress)
    settings = ",".join(f"{field.name}={getattr(parsed, field.name):g}" for field in fields(parsed))
    return RawGraph(
        name=kind,
        source=f"generated {kind}:{settings} seed={seed}",
        num_vertices=parsed.vertices,
        edges=edges,
        arrays={
            "x": feature_rows(parsed, seed, communities),
            "y": label_rows(parsed, seed, communities),
        },
        splits=planted_splits(parsed, seed),
        num_classes=parsed.classes,
    )


class ComputedRows:
    """Rows that a function of the ids computes."""

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        compute: Callable[[NDArray[np.int64]], NDArray[Any]],
    ) -> None:
        """Wraps `compute`, which returns `[len(ids), *shape[1:]]` of type `dtype`."""
        self._shape = shape
        self._dtype = dtype
        self._compute = compute

    @property
    def shape(self) -> tuple[int, ...]:
        """`[num_vertices, ...]`."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of the rows."""
        return self._dtype

    def rows(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """Computes the rows of `ids`, in that order."""
        return self._compute(ids)


def label_rows(spec: GeneratorSpec, seed: int, communities: Communities) -> ComputedRows:
    """Returns the labels: the community, but for a share `label_noise` drawn anew."""
    noise_key = stream_key(seed, "label noise")
    label_key = stream_key(seed, "noisy label")

    def compute(ids: NDArray[np.int64]) -> NDArray[np.int64]:
        drawn = (uniform(label_key, ids) * spec.classes).astype(np.int64)
        return np.where(uniform(noise_key, ids) < spec.label_noise, drawn, communities(ids))

    return ComputedRows((spec.vertices,), np.dtype(np.int64), compute)


def feature_rows(spec: GeneratorSpec, seed: int, communities: Communities) -> ComputedRows:
    """Returns the features: the centre of the community plus noise of variance 1."""
    noise_key = stream_key(seed, "feature noise")
    width = spec.features
    centers = roughly_normal(
        stream_key(seed, "centers"), np.arange(spec.classes * width).reshape(-1, width)
    ) * np.float32(spec.separation / (2 * width) ** 0.5)

    def compute(ids: NDArray[np.int64]) -> NDArray[np.float32]:
        x = np.empty((len(ids), width), dtype=np.float32)
        step = max(1, FEATURE_CHUNK // width)
        for start in range(0, len(ids), step):
            part = ids[start : start + step]
            noise = roughly_normal(noise_key, part[:, None] * width + np.arange(width))
            np.add(noise, centers[communities(part)], out=x[start : start + step])
        return x

    return ComputedRows((spec.vertices, width), np.dtype(np.float32), compute)


def planted_splits(spec: GeneratorSpec, seed: int) -> dict[str, NDArray[np.int64]]:
    """Returns the splits, drawn for each vertex on its own; none if nothing fell into train."""
    key = stream_key(seed, "split")
    bounds = np.cumsum([spec.train, spec.val, spec.test])
    chunks: list[list[NDArray[np.int64]]] = [[], [], []]
    for start in range(0, spec.vertices, SPLIT_CHUNK):
        ids = np.arange(start, min(spec.vertices, start + SPLIT_CHUNK))
        split = np.searchsorted(bounds, uniform(key, ids), side="right")
        for number, chunk in enumerate(chunks):
            chunk.append(ids[split == number])
    names = ("train", "val", "test")
    splits = {name: np.concatenate(ids) for name, ids in zip(names, chunks, strict=True)}
    return splits if len(splits["train"]) else {}
