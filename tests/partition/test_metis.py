"""What METIS may do instead of giving a cut."""

import dataclasses
import os
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

from gnnflow.errors import DataError, GnnflowError
from gnnflow.partition import metis
from gnnflow.partition.adjacency import Adjacency, build_adjacency
from gnnflow.partition.metis import run_metis


@pytest.fixture
def ring() -> Adjacency:
    ids = np.arange(40)
    neighbors = np.stack(((ids - 1) % 40, (ids + 1) % 40), axis=1).reshape(-1)
    return Adjacency(np.arange(0, 82, 2), neighbors.astype(np.int32))


def run(ring: Adjacency, scratch: Path, **changes: object) -> metis.MetisRun:
    weights = np.ones((40, 1), dtype=np.int32)
    options = {"seed": 0, "imbalance": 1.05, "scratch": scratch} | changes
    return run_metis(ring, weights, 4, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("on_disk", [False, True])
def test_cuts_a_ring_into_arcs(ring: Adjacency, tmp_path: Path, on_disk: bool) -> None:
    result = run(ring, tmp_path, on_disk=on_disk)
    assert np.bincount(result.part).tolist() == [10] * 4
    assert (result.part != np.roll(result.part, 1)).sum() == 4
    assert result.metis_s > 0
    assert result.peak_memory_bytes > 0


def test_seeds_0_and_1_differ(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    graph = np.unique(np.sort(generator.integers(0, 300, (900, 2))), axis=0)
    graph = graph[graph[:, 0] != graph[:, 1]].T
    lists = build_adjacency(graph, 300, tmp_path)
    weights = np.ones((300, 1), dtype=np.int32)
    parts = [
        run_metis(lists, weights, 4, seed=seed, imbalance=1.05, scratch=tmp_path).part.tolist()
        for seed in (0, 1, 0)
    ]
    assert parts[0] == parts[2] != parts[1]


def test_wide_ids_are_narrowed(ring: Adjacency, tmp_path: Path) -> None:
    wide = dataclasses.replace(ring, neighbors=ring.neighbors.astype(np.int64))
    assert np.array_equal(run(wide, tmp_path).part, run(ring, tmp_path).part)


def test_too_large_for_32_bits(tmp_path: Path) -> None:
    lists = np.broadcast_to(np.int32(0), 2**31)
    adjacency = Adjacency(np.array([0, 2**30, 2**31]), lists)
    with pytest.raises(DataError, match="counts to 2147483647, .* 2147483648 .*--method ldg"):
        run_metis(
            adjacency,
            np.ones((2, 1), dtype=np.int32),
            2,
            seed=0,
            imbalance=1.05,
            scratch=tmp_path,
        )
    heavy = np.full((2, 1), 2**31 - 1, dtype=np.int32)
    small = Adjacency(np.array([0, 1, 2]), np.array([1, 0], dtype=np.int32))
    with pytest.raises(DataError, match="constraints of up to 4294967294"):
        run_metis(small, heavy, 2, seed=0, imbalance=1.05, scratch=tmp_path)


def test_settings_of_the_c_library_reach_metis_only(
    ring: Adjacency, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "tell.py"
    script.write_text("import os; raise SystemExit(os.environ['GLIBC_TUNABLES'])")
    monkeypatch.setattr(metis, "_SCRIPT", script)
    for given, expected in (
        (None, "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.perturb=1", "glibc.malloc.perturb=1:glibc.malloc.hugetlb=1"),
        ("glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0"),
    ):
        if given is None:
            monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
        else:
            monkeypatch.setenv("GLIBC_TUNABLES", given)
        with pytest.raises(GnnflowError, match=rf"\({expected}\); use --method ldg"):
            run(ring, tmp_path)
        assert os.environ.get("GLIBC_TUNABLES") == given


def test_return_code_is_checked(ring: Adjacency, tmp_path: Path) -> None:
    with pytest.raises(GnnflowError, match="METIS failed on 40 vertices and 80 .*input; use"):
        run(ring, tmp_path, imbalance=0.5)


def test_a_crash_stays_outside(
    ring: Adjacency, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "crash.py"
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(metis, "_SCRIPT", script)
    with pytest.raises(GnnflowError, match="ended with signal 11, as when memory runs out"):
        run(ring, tmp_path)
    script.write_text("raise SystemExit('no more')")
    with pytest.raises(GnnflowError, match=r"exit code 1 on 40 .*\(no more\); use --method ldg"):
        run(ring, tmp_path)


def test_metis_is_not_installed(
    ring: Adjacency, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(metis, "distribution", missing)
    metis._libraries.cache_clear()
    with pytest.raises(GnnflowError, match="pip install cmeel-metis, or use --method ldg"):
        run(ring, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="the signal at a parent's end is Linux's")
def test_metis_ends_with_its_parent(tmp_path: Path) -> None:
    """A stand-in for METIS that never ends is gone soon after the partitioner is killed."""
    (tmp_path / "libmetis.c").write_text(
        "#include <unistd.h>\n#include <stdio.h>\n"
        "int METIS_SetDefaultOptions(int *o) { return 1; }\n"
        'int METIS_PartGraphKway(void) { FILE *f = fopen("started", "w");'
        ' fprintf(f, "%d", getpid()); fclose(f); for (;;) pause(); }\n'
    )
    library = tmp_path / "libmetis.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "libmetis.c"], check=True)
    code = f"""
import numpy as np, pathlib
from gnnflow.partition import metis
from gnnflow.partition.adjacency import Adjacency, build_adjacency
metis._libraries = lambda: ("", {str(library)!r})
adjacency = Adjacency(np.array([0, 1, 2]), np.array([1, 0], dtype=np.int32))
metis.run_metis(adjacency, np.ones((2, 1), dtype=np.int32), 2, seed=0, imbalance=1.05,
                scratch=pathlib.Path({str(tmp_path)!r}))
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    started = tmp_path / "started"
    wait_until(lambda: started.exists() and started.read_text() != "")
    child = int(started.read_text())
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_running(child))


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def wait_until(condition: object, limit_s: float = 60.0) -> None:
    assert callable(condition)
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
