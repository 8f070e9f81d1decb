"""Freed memory is used again."""

import subprocess
import sys

PROGRAM = """
import resource
import torch
from gnnflow.training.machine_use import keep_freed_memory

def faults_of_a_round():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        rows = [torch.ones(10_000_000) for _ in range(2)]
        del rows
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
done = keep_freed_memory()
faults_of_a_round()
faults = faults_of_a_round()
assert not done or faults < 1000, faults
"""


def test_large_arrays_come_from_pages_that_are_there():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=120)
