"""The `metis` method: multilevel k-way partitioning with several balance constraints.

Source: Karypis and Kumar, "Multilevel algorithms for multi-constraint graph partitioning",
Supercomputing 1998. The library is METIS 5.2, called through ctypes: its options are numbered
as in `metis.h` of that release, which older Python bindings get wrong.
"""

import ctypes
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.errors import DataError, GnnflowError
from gnnflow.partition.adjacency import Adjacency

IMBALANCE = 1.05
"""Largest part over mean part that METIS may leave, for each constraint."""

_INT32_MAX = np.iinfo(np.int32).max
_NUM_OPTIONS = 40
_OPTION_SEED = 9
_RETURN_CODES = {-2: "erroneous input", -3: "not enough memory", -4: "an internal error"}
_OK = 1


def cut_with_metis(
    adjacency: Adjacency, vertex_weights: npt.NDArray[np.int32], num_parts: int, seed: int
) -> npt.NDArray[np.int32]:
    """Cuts few edges while every constraint stays balanced.

    Args:
        adjacency: The graph.
        vertex_weights: int32 `[num_vertices, num_constraints]`, not negative; each column is
            balanced between the parts to within 5 % where the graph allows it.
        num_parts: Number of parts.
        seed: Seed of METIS.

    Returns:
        int32 `[num_vertices]`: the part of each vertex. A part may be empty.

    Raises:
        DataError: If the graph is too large for METIS's 32-bit indices.
        GnnflowError: If METIS is not installed or fails.
    """
    num_vertices = adjacency.num_vertices
    if max(num_vertices, len(adjacency.neighbors)) > _INT32_MAX:
        raise DataError(
            f"METIS holds at most {_INT32_MAX} adjacency entries, this graph has "
            f"{len(adjacency.neighbors)}; use --method ldg"
        )
    if num_parts == 1:
        return np.zeros(num_vertices, dtype=np.int32)
    library = _library()
    options = np.empty(_NUM_OPTIONS, dtype=np.int32)
    library.METIS_SetDefaultOptions(_pointer(options))
    options[_OPTION_SEED] = seed % _INT32_MAX
    xadj = adjacency.indptr.astype(np.int32)
    adjncy = np.ascontiguousarray(adjacency.neighbors, dtype=np.int32)
    edge_weights = np.ascontiguousarray(adjacency.weights, dtype=np.int32)
    weights = np.ascontiguousarray(vertex_weights, dtype=np.int32)
    allowed = np.full(weights.shape[1], IMBALANCE, dtype=np.float32)
    part = np.zeros(num_vertices, dtype=np.int32)
    cut = ctypes.c_int32()
    code = library.METIS_PartGraphKway(
        ctypes.byref(ctypes.c_int32(num_vertices)),
        ctypes.byref(ctypes.c_int32(weights.shape[1])),
        _pointer(xadj),
        _pointer(adjncy),
        _pointer(weights),
        None,
        _pointer(edge_weights),
        ctypes.byref(ctypes.c_int32(num_parts)),
        None,
        _pointer(allowed),
        _pointer(options),
        ctypes.byref(cut),
        _pointer(part),
    )
    if code != _OK:
        reason = _RETURN_CODES.get(code, f"code {code}")
        raise GnnflowError(
            f"METIS failed on {num_vertices} vertices and {len(adjncy)} adjacency entries: "
            f"{reason}; use --method ldg, which needs less memory"
        )
    return part


def _pointer(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


@cache
def _library() -> ctypes.CDLL:
    """Loads METIS of the package cmeel-metis, or else one that the system's loader finds."""
    suffix = "dylib" if sys.platform == "darwin" else "so"
    try:
        installed = distribution("cmeel-metis")
    except PackageNotFoundError:
        name = f"libmetis.{suffix}"
    else:
        # The wheel's libmetis looks for libGKlib in a folder that does not exist, so that
        # library must be there first, with its symbols visible to all.
        gklib = installed.locate_file(f"cmeel.prefix/lib/libGKlib.{suffix}")
        ctypes.CDLL(str(gklib), mode=ctypes.RTLD_GLOBAL)
        name = str(installed.locate_file(f"cmeel.prefix/lib/libmetis.{suffix}"))
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise GnnflowError(
            f"cannot load the METIS library ({error}): pip install cmeel-metis, or use --method ldg"
        ) from error
