import sys
from pathlib import Path

import numpy as np
import pytest

from gnnflow.datasets import ArrayRows
from gnnflow.partition.mapped_pages import release_pages, release_rows
from gnnflow.process_memory import own_memory_bytes, peak_memory_bytes

NUM_BYTES = 1 << 25


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "array.npy"
    np.save(path, np.ones(NUM_BYTES // 8))
    return path


def mapped_bytes() -> int:
    """Resident pages of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_are_given_back(file: Path) -> None:
    array = np.load(file, mmap_mode="r").reshape(2, -1)[:, 10:]
    for release in (lambda: release_pages(array), lambda: release_rows(ArrayRows(array))):
        before = mapped_bytes()
        assert array.sum() == array.size
        assert mapped_bytes() > before + NUM_BYTES // 2
        release()
        assert mapped_bytes() < before + NUM_BYTES // 2
    assert array.sum() == array.size


def test_what_would_be_lost_stays(file: Path) -> None:
    private = np.load(file, mmap_mode="c")
    private[5] = 7
    release_pages(private)
    assert private[5] == 7
    own = np.arange(5)
    release_pages(own)
    assert own.tolist() == [0, 1, 2, 3, 4]


def test_memory_of_the_process() -> None:
    assert 1 << 20 < own_memory_bytes() <= peak_memory_bytes()
