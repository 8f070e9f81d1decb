"""Queues between threads that are ended at random moments, in a process where nothing else runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("case", ["finish", "error", "close here", "close there", "gate", "pool"])
def test_nothing_is_lost_and_nobody_waits_for_ever(case):
    program = Path(__file__).with_name("stress_queues.py")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, program, case], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
