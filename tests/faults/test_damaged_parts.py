"""A damaged part is refused by its rank; `tests/partition/test_damage.py` knows all damages."""

import shutil

from jobs import run_job


def test_the_rank_and_the_file_are_named(parts, tmp_path):
    copied = shutil.copytree(parts, tmp_path / "parts")
    damaged = copied / "part-00001" / "x.npy"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    words = [
        "--ranks",
        2,
        "--transport",
        "alltoall",
        "--fanout",
        "2",
        "--epochs",
        1,
        "--out",
        tmp_path / "run",
    ]
    ended = run_job(["-m", "gnnflow.cli.train", copied, *words])
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"gnnflow-train: error on rank 1: {damaged}: expected "), line
    assert line.endswith("copy the folder again or run gnnflow-partition again")
    assert not (tmp_path / "run").exists()
