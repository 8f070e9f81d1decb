"""The `metis` method: multilevel k-way partitioning with several balance constraints.

Source: Karypis and Kumar, "Multilevel algorithms for multi-constraint graph partitioning",
Supercomputing 1998; the library is METIS 5.2 of the package cmeel-metis.
"""

import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gnnflow.errors import DataError, GnnflowError
from gnnflow.partition.adjacency import Adjacency
from gnnflow.partition.solver_process import REMEDY, run_solver, size_words

_INT32_MAX = int(np.iinfo(np.int32).max)
_OK = 1
_RETURN_CODES = {-2: "it refused its input", -3: "not enough memory", -4: "an internal error"}
_SCRIPT = Path(__file__).with_name("metis_process.py").absolute()


@dataclass(frozen=True, slots=True)
class MetisRun:
    """What a call of METIS gave and cost."""

    part: npt.NDArray[np.int32]
    """int32 `[num_vertices]`: the part of each vertex. A part may be empty."""
    metis_s: float
    """Seconds inside METIS."""
    peak_memory_bytes: int
    """Largest resident memory of METIS's process, 0 where the system does not tell."""


def run_metis(
    adjacency: Adjacency,
    vertex_weights: npt.NDArray[np.int32],
    num_parts: int,
    *,
    seed: int,
    imbalance: float,
    scratch: Path,
    on_disk: bool = True,
) -> MetisRun:
    """Cuts few edges while every constraint stays balanced.

    Args:
        adjacency: The graph.
        vertex_weights: int32 `[num_vertices, num_constraints]`, not negative, no column all 0.
        num_parts: Number of parts, at least 2 and at most the number of vertices.
        seed: Seed of METIS.
        imbalance: Largest part over mean part that METIS may leave, for each constraint.
        scratch: Folder for METIS's files.
        on_disk: Let METIS keep coarse graphs that it is not working on in files: about half the
            memory for a large graph.

    Raises:
        DataError: If the graph is too large for METIS's 32-bit indices.
        GnnflowError: If METIS is not installed or fails.
    """
    num_entries = len(adjacency.neighbors)
    largest = max(num_entries, int(vertex_weights.sum(axis=0, dtype=np.int64).max(initial=0)))
    if largest > _INT32_MAX:
        raise DataError(
            f"METIS counts to {_INT32_MAX}, and this graph has {num_entries} adjacency entries "
            f"and constraints of up to {largest}; use --method ldg"
        )
    neighbors = adjacency.neighbors
    if not isinstance(neighbors, np.memmap) or neighbors.dtype != np.int32:
        (scratch / "neighbors_copy").unlink(missing_ok=True)
        neighbors.astype(np.int32).tofile(scratch / "neighbors_copy")
        neighbors_path = scratch / "neighbors_copy"
    else:
        neighbors_path = Path(str(neighbors.filename))
    adjacency.indptr.astype(np.int32).tofile(scratch / "xadj")
    vertex_weights.tofile(scratch / "vertex_weights")
    np.zeros(adjacency.num_vertices, dtype=np.int32).tofile(scratch / "part")
    gklib, metis = _libraries()
    job = {
        "gklib": gklib,
        "metis": metis,
        "neighbors": str(neighbors_path.absolute()),
        "num_vertices": adjacency.num_vertices,
        "num_constraints": vertex_weights.shape[1],
        "num_parts": num_parts,
        # The C library's random numbers are the same for the seeds 0 and 1.
        "seed": seed % (_INT32_MAX - 1) + 1,
        "imbalance": imbalance,
        "on_disk": int(on_disk),
    }
    result = run_solver(
        "METIS",
        _SCRIPT,
        job,
        scratch,
        flags=("-I", "-S"),
        environment={"GLIBC_TUNABLES": _tunables(os.environ.get("GLIBC_TUNABLES", ""))},
    )
    if result["code"] != _OK:
        reason = _RETURN_CODES.get(result["code"], f"return code {result['code']}")
        raise GnnflowError(f"METIS failed on {size_words(job, num_entries)}: {reason}; {REMEDY}")
    part = np.fromfile(scratch / "part", dtype=np.int32)
    return MetisRun(part, result["metis_s"], result["peak_memory_bytes"])


def _tunables(given: str) -> str:
    """Adds huge pages to settings of the C library; what the user has set stays.

    METIS takes and gives back hundreds of megabytes for each level of coarsening. In small pages
    that costs up to a third of its time when coarse graphs are kept in files.
    """
    if "glibc.malloc.hugetlb" in given:
        return given
    return ":".join(filter(None, (given, "glibc.malloc.hugetlb=1")))


@cache
def _libraries() -> tuple[str, str]:
    """Finds libGKlib and libmetis of the package cmeel-metis."""
    suffix = "dylib" if sys.platform == "darwin" else "so"
    try:
        installed = distribution("cmeel-metis")
    except PackageNotFoundError as error:
        raise GnnflowError(
            "the METIS library is not installed: pip install cmeel-metis, or use --method ldg"
        ) from error
    # The wheel's libmetis looks for libGKlib in a folder that does not exist, so whoever loads it
    # must load that first, with its symbols visible to all.
    folder = "cmeel.prefix/lib"
    gklib = installed.locate_file(f"{folder}/libGKlib.{suffix}")
    return str(gklib), str(installed.locate_file(f"{folder}/libmetis.{suffix}"))
