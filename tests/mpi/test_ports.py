"""On one machine nothing of a job can be reached from outside."""

import json
import os
import sys
from pathlib import Path

from listening_job import LOOPBACK
from ranks import ENVIRONMENT, start_program

JOB = str(Path(__file__).with_name("listening_job.py"))


def test_ranks_of_one_machine_listen_on_loopback_only():
    process = start_program([sys.executable, JOB], os.environ | ENVIRONMENT)
    printed, said = process.communicate(timeout=240)
    assert (process.returncode, said) == (0, "")
    (first, starter), (second, _) = json.loads(printed)
    assert starter == []
    assert first and second, "the transport and gloo listen; the test must see it"
    assert set(first) | set(second) <= LOOPBACK
