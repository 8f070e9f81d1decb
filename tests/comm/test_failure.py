"""Whatever fails on the way out, a process that is to end the job does end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gnnflow.comm.failure import Failure

PROGRAM = Path(__file__).with_name("ways_out.py")
LINE = "ways_out.py: error on rank 1: the reason\n"


@pytest.fixture(scope="module")
def ends():
    ended = subprocess.run(
        [sys.executable, PROGRAM], capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(ended.stdout)


def test_whatever_fails_the_job_is_ended(ends):
    for case, (aborted, code, _) in ends.items():
        if "hang" in case or "SIGALRM" in case or "empties" in case:
            assert (aborted, code) == ("", -14), case  # the kernel ends it
        elif case == "two threads":
            assert (aborted, code) == ("abort 1", 1), case
        else:
            assert (aborted, code) == ("" if "Abort" in case else "abort 3", 3), case


def test_whatever_fails_the_reason_is_told_once(ends):
    silent = ("_say", "stderr", "no streams")
    for case, (_, _, said) in ends.items():
        if case == "two threads":
            assert said == "ways_out.py: error on rank 0: other\n"
        elif not any(word in case for word in silent):
            assert said == LINE, case


class Mute(Exception):
    """Cannot say what it is."""

    def __str__(self):
        raise MemoryError


def test_an_error_that_cannot_be_described_has_a_name():
    assert Failure.from_exception(Mute(), "epoch 1") == Failure("Mute", "Mute")
