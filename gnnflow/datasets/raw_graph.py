"""The graph as it comes in, before it is partitioned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets import raw_graph_checks as checks
from gnnflow.datasets.row_source import ArrayRows, RowSource
from gnnflow.errors import DataError

Progress = Callable[[str, int, int], None]
"""Told what is going on, how much of it is done and how much there is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RawGraph:
    """A directed graph with per-vertex arrays and splits, in original vertex ids.

    Arrays may be memory-mapped, and rows of `arrays` may be computed on demand: a consumer reads
    edges and rows in chunks.
    """

    name: str
    """Short name, for example `debian-packages`."""

    source: str
    """How the graph was made, in one line; it goes into the manifest of a partition."""

    num_vertices: int
    """Vertices are numbered from 0 to `num_vertices - 1`."""

    edges: NDArray[Any]
    """`[2, num_edges]`, int32 or int64: row 0 the sources, row 1 the destinations of messages."""

    arrays: Mapping[str, RowSource]
    """Per-vertex arrays: `x` `[num_vertices, num_features]`; `y` `[num_vertices]` integer classes
    (-1: no label), `[num_vertices, num_classes]` of 0 and 1, or `[num_vertices]` or
    `[num_vertices, num_outputs]` floats to predict (NaN: no label); and any further ones."""

    splits: Mapping[str, NDArray[np.int64]]
    """`train`, `val` and `test`: sorted unique vertex ids; empty for a graph without a task."""

    num_classes: int
    """Number of classes; 0 without labels, and where labels are numbers to predict."""

    edge_attr: NDArray[Any] | None = None
    """`[num_edges, ...]`, in the order of `edges`."""

    edge_weight: NDArray[Any] | None = None
    """`[num_edges]`, in the order of `edges`: how likely samplers keep an edge; finite, from 0 on.
    Parts keep them as float32."""

    part: NDArray[Any] | None = None
    """int32 `[num_vertices]`: the part that owns each vertex, where the graph came in parts."""

    @property
    def num_parts(self) -> int | None:
        """Number of parts that the graph came in, None if it came whole."""
        return None if self.part is None else int(self.part.max(initial=0)) + 1

    @property
    def num_edges(self) -> int:
        """Number of directed edges."""
        return int(self.edges.shape[1])

    @property
    def num_features(self) -> int:
        """Width of `x`, 0 without features."""
        return self.arrays["x"].shape[1] if "x" in self.arrays else 0

    def validate(self) -> None:
        """Checks the whole graph, in chunks.

        Rows that are computed on demand are right by construction: of those only shape and type
        are checked, because computing every row to look at it may take hours.

        Raises:
            DataError: The first thing that is wrong, with its value, the limit and the remedy.
        """
        if self.num_vertices < 1:
            raise DataError(f"num_vertices must be at least 1, got {self.num_vertices}")
        checks.check_edges(self.edges, self.num_vertices)
        for name, source in self.arrays.items():
            checks.check_array(name, source, self.num_vertices)
            if isinstance(source, ArrayRows):
                checks.check_finite(name, source.array, source.dtype, allow_missing=name == "y")
        if "x" in self.arrays and len(self.arrays["x"].shape) != 2:
            raise DataError(
                "features must have shape [num_vertices, num_features], got "
                f"{list(self.arrays['x'].shape)}"
            )
        labels = None
        if "y" in self.arrays:
            source = self.arrays["y"]
            if len(source.shape) > 2:
                raise DataError(
                    "labels must have shape [num_vertices] or [num_vertices, num_classes], "
                    f"got {list(source.shape)}"
                )
            labels = source.array if isinstance(source, ArrayRows) else None
            if labels is not None:
                checks.check_labels(labels, self.num_classes)
        checks.check_splits(self.splits, self.num_vertices, labels, self.num_classes)
        if self.edge_attr is not None:
            if not self.edge_attr.shape or self.edge_attr.shape[0] != self.num_edges:
                raise DataError(
                    f"edge_attr must have one row per edge: the graph has {self.num_edges} edges, "
                    f"edge_attr has shape {list(self.edge_attr.shape)}"
                )
            checks.check_finite("edge_attr", self.edge_attr)
        if self.edge_weight is not None:
            checks.check_weights(self.edge_weight, self.num_edges)
        if self.part is not None:
            checks.check_part(self.part, self.num_vertices)
