"""Giving back the memory that pages of a mapped file take in this process."""

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.datasets.readers.segments import SegmentedRows
from gnnflow.datasets.row_source import ArrayRows, RowSource
from gnnflow.partition.stored_rows import StoredRows


def release_pages(array: npt.NDArray[Any]) -> None:
    """Unmaps the pages of a file that was mapped for reading; they come back when touched.

    Without this, whoever reads a file from front to back holds all of it in the end, as far as
    limits on the memory of a job are concerned. Other arrays are left alone.
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        # Pages of a writable private mapping would lose what was written to them.
        if isinstance(base, np.memmap) and base.mode != "r":
            return
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def release_rows(source: RowSource) -> None:
    """Does the same for the array behind a row source, if there is one."""
    if isinstance(source, StoredRows):
        release_rows(source.source)
    if isinstance(source, ArrayRows):
        release_pages(source.array)
    elif isinstance(source, SegmentedRows):
        for array in source.segments:
            release_pages(array)
