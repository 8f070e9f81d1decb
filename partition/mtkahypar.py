"""The `mtkahypar` method: Mt-KaHyPar, multilevel on several threads, deterministic.

Source: Gottesbueren, Heuer, Maas, Sanders and Schlag, "Scalable High-Quality Hypergraph
Partitioning", ACM Transactions on Algorithms 2024; the package mtkahypar, an extra.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.errors import DataError, GnnflowError
from gnnflow.partition.adjacency import Adjacency
from gnnflow.partition.solver_process import run_solver
from gnnflow.partition.stage_progress import Progress, silent

_SCRIPT = Path(__file__).with_name("mtkahypar_process.py").absolute()
_CHUNK_VERTICES = 1 << 16
_INT32_MAX = int(np.iinfo(np.int32).max)


def cut_with_mtkahypar(
    adjacency: Adjacency,
    vertex_weights: npt.NDArray[np.int32],
    num_parts: int,
    *,
    seed: int,
    imbalance: float,
    scratch: Path,
    num_threads: int,
    progress: Progress = silent,
) -> tuple[npt.NDArray[np.int32], int]:
    """Cuts few edges while the sum of the constraints stays balanced.

    The library balances one weight; whoever needs every constraint balanced moves vertices
    afterwards. Edges, the most uneven of the constraints, make up most of the sum: weights in which
    each constraint counts alike left more to mend, and twice the cut on graphs with hubs.

    Args:
        adjacency: the graph.
        vertex_weights: int32 `[num_vertices, num_constraints]`, not negative, no column all 0.
        num_parts: number of parts, at least 2 and at most the number of vertices.
        seed: seed of the partitioner.
        imbalance: largest part over mean part that it may leave.
        scratch: folder for its files: the graph as text, about 8 bytes for each entry.
        num_threads: threads to use; the result does not depend on them.
        progress: told about the vertices written.

    Returns:
        int32 `[num_vertices]`, the part of each vertex, of which one may be empty; and the largest
        resident memory of the partitioner in bytes.

    Raises:
        DataError: if the graph is too large for the library's 32-bit ids.
        GnnflowError: if the library is not installed or fails.
    """
    if find_spec("mtkahypar") is None:
        raise GnnflowError(
            "method mtkahypar needs a package that is not installed: pip install "
            "'gnnflow[mtkahypar]', or use --method metis"
        )
    if len(adjacency.neighbors) > _INT32_MAX:
        raise DataError(
            f"Mt-KaHyPar counts to {_INT32_MAX}, and this graph has {len(adjacency.neighbors)} "
            "adjacency entries; use --method ldg"
        )
    weights = vertex_weights.sum(axis=1, dtype=np.int64)
    _write_metis_file(scratch / "graph", adjacency, weights, progress)
    progress("cutting with Mt-KaHyPar", 0, 0)
    job = {
        "num_vertices": adjacency.num_vertices,
        "num_parts": num_parts,
        "seed": seed % _INT32_MAX,
        "epsilon": imbalance - 1,
        "num_threads": num_threads,
    }
    result = run_solver("Mt-KaHyPar", _SCRIPT, job, scratch, flags=("-I",))
    part = np.fromfile(scratch / "part", dtype=np.int32)
    return part, int(result["peak_memory_bytes"])


def _write_metis_file(
    path: Path, adjacency: Adjacency, weights: npt.NDArray[np.int64], progress: Progress
) -> None:
    num_vertices = adjacency.num_vertices
    with path.open("wb") as file:
        file.write(f"{num_vertices} {len(adjacency.neighbors) // 2} 10\n".encode())
        for first in range(0, num_vertices, _CHUNK_VERTICES):
            last = min(first + _CHUNK_VERTICES, num_vertices)
            file.write(
                _kernels.metis_lines(adjacency.indptr, adjacency.neighbors, weights, first, last)
            )
            progress("writing the graph for Mt-KaHyPar", last, num_vertices)
