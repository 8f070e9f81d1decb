"""Tests that share a job of ranks: whatever one of them does, it is named and the others run."""

import textwrap
from pathlib import Path

from rank_jobs import RankJobs

TESTS = """
    import os
    import signal
    import time

    import pytest
    from rank_jobs import note

    import gnnflow
    from gnnflow.launch import detect_launch

    RANK = detect_launch().rank


    def test_first():
        with gnnflow.init() as ctx:
            assert ctx.num_ranks == 2


    def test_only_one_rank_fails():
        assert RANK == 0, "rank 1 sees something"


    def test_after_a_failure():
        with gnnflow.init() as ctx:
            ctx.barrier()


    def test_crashes():
        if RANK == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)


    def test_hangs():
        while RANK == 0:
            time.sleep(1)


    def test_last():
        pass
"""
NAMES = ["first", "only_one_rank_fails", "after_a_failure", "crashes", "hangs", "last"]


def test_what_ends_a_job_is_named_and_the_others_run(tmp_path):
    made = tmp_path / "tests"
    made.mkdir()
    (made / "test_made_up.py").write_text(textwrap.dedent(TESTS))
    hooks = "from conftest_of_ranks import *  # noqa: F403\n"
    (made / "conftest_of_ranks.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (made / "conftest.py").write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n{hooks}"
    )
    nodeids = [f"tests/test_made_up.py::test_{name}" for name in NAMES]
    options = [f"--rootdir={tmp_path}", "-c", "/dev/null"]
    jobs = RankJobs(2, nodeids, tmp_path, test_s=10, options=options, root=tmp_path)
    failures = [jobs.failure_of(nodeid) for nodeid in nodeids]
    assert failures[0] == failures[2] == failures[5] == "", failures
    one, crash, hang = failures[1], failures[3], failures[4]
    assert "test_only_one_rank_fails on 2 ranks" in one and "rank 1 sees something" in one
    assert "test_crashes on 2 ranks: the job ended with exit code" in crash
    assert "test_hangs on 2 ranks: no rank went on for 10 s" in hang
    assert "rank 0: started" in hang and "rank 1: passed" in hang
    assert "in test_hangs" in hang, "where it hangs"
    assert jobs.num_started == 4
