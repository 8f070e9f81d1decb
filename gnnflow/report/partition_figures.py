"""Sizes of the parts and what flows between them, from a partition folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.errors import GnnflowError
from gnnflow.files.npy_file import map_npy
from gnnflow.partition import read_manifest
from gnnflow.partition.manifest import part_folder

_MAX_MATRIX_PARTS = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionFigures:
    """A partition at a glance."""

    method: str
    """Partitioning method."""
    edge_cut: float
    """Edges between parts as a share of all."""
    sizes: Mapping[str, npt.NDArray[np.int64]]
    """What is counted (vertices, in-edges, halo, a split's seeds) to int64 `[num_parts]`."""
    halo_rows: npt.NDArray[np.int64] | None
    """int64 `[num_parts, num_parts]`: rows that the part of the row may ask the part of the column
    for; None if there are too many parts to look at."""


def read_partition_figures(folder: Path) -> PartitionFigures | None:
    """Reads a partition folder; None if it is gone or not complete."""
    try:
        manifest = read_manifest(folder)
        num_parts = manifest.num_parts
        sizes = {
            "vertices": [part.num_vertices for part in manifest.parts],
            "in-edges": [part.num_edges for part in manifest.parts],
            "halo": [part.num_halo for part in manifest.parts],
        }
        sizes |= {split: list(manifest.num_seeds(split)) for split in manifest.splits}
        halo_rows = None
        if 1 < num_parts <= _MAX_MATRIX_PARTS:
            halo_rows = np.stack(
                [_halo_owners(folder, part, num_parts) for part in range(num_parts)]
            )
    except (GnnflowError, OSError, ValueError):
        return None
    return PartitionFigures(
        method=manifest.method,
        edge_cut=manifest.edge_cut,
        sizes={name: np.array(values, dtype=np.int64) for name, values in sizes.items()},
        halo_rows=halo_rows,
    )


def _halo_owners(folder: Path, part: int, num_parts: int) -> npt.NDArray[np.int64]:
    path = folder / part_folder(part) / "halo_owner.npy"
    owners = map_npy(path)
    if owners.ndim != 1 or owners.dtype != np.int32 or not _in_range(owners, num_parts):
        raise ValueError(f"{path} does not hold numbers of {num_parts} parts")
    return np.bincount(owners, minlength=num_parts).astype(np.int64)


def _in_range(owners: npt.NDArray[Any], num_parts: int) -> bool:
    return not len(owners) or (owners.min() >= 0 and int(owners.max()) < num_parts)
