"""How good a cut is and what it cost to make."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import IntArray


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionReport:
    """Figures of a finished partition."""

    method: str
    """Partitioning method."""
    num_vertices: IntArray
    """int64 `[num_parts]`: inner vertices of each part."""
    num_edges: IntArray
    """int64 `[num_parts]`: in-edges of each part's inner vertices."""
    num_halo: IntArray
    """int64 `[num_parts]`: halo vertices of each part."""
    num_seeds: Mapping[str, IntArray]
    """Split name to int64 `[num_parts]`."""
    halo_traffic: IntArray
    """int64 `[num_parts, num_parts]`: `[i, j]` counts the halo vertices of part i that part j
    owns, the distinct rows that i may ask j for."""
    edge_traffic: IntArray
    """int64 `[num_parts, num_parts]`: `[i, j]` counts the edges from part j into part i."""
    halo_topology_bytes: IntArray
    """int64 `[num_parts]`: files of the neighbour lists beyond each part that halo_hops asks for,
    0 without them."""
    stage_s: Mapping[str, float]
    """Seconds of each stage, in order."""
    metis_s: float
    """Seconds inside METIS, 0 for other methods."""
    peak_memory_bytes: int
    """Largest resident memory of the process, or of it and METIS's together, with the file pages
    that they had mapped."""

    @property
    def num_parts(self) -> int:
        """Number of parts."""
        return len(self.num_vertices)

    @property
    def num_cut_edges(self) -> int:
        """Edges whose ends have different owners."""
        return int(self.edge_traffic.sum() - np.trace(self.edge_traffic))

    @property
    def edge_cut(self) -> float:
        """Cut edges as a fraction of all edges, 0 for a graph without edges."""
        total = int(self.edge_traffic.sum())
        return self.num_cut_edges / total if total else 0.0

    @property
    def balance(self) -> dict[str, float]:
        """Largest part over mean part, of `vertices`, `edges` and each split's seeds."""
        counts: dict[str, npt.NDArray[np.int64]] = {
            "vertices": self.num_vertices,
            "edges": self.num_edges,
        }
        counts.update(self.num_seeds)
        return {name: _max_over_mean(values) for name, values in counts.items()}

    @property
    def total_s(self) -> float:
        """Seconds of all stages."""
        return sum(self.stage_s.values())


def _max_over_mean(values: npt.NDArray[np.int64]) -> float:
    mean = float(values.mean())
    return float(values.max()) / mean if mean else 1.0
