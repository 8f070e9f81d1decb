"""Several hosts with links of a given rate, emulated on one machine.

with emulated_hosts(2, rate="1gbit") as hosts:
    run = run_mpi(hosts, ranks_per_host=1, argv=["python", "train.py"])
    print(run.traffic["host0"].sent_bytes)
"""

from benchmarks.emulated_hosts.limited_links import (
    EmulationError,
    EmulationUnavailableError,
    Traffic,
    parse_rate,
)
from benchmarks.emulated_hosts.mpi import MpiRun, run_mpi
from benchmarks.emulated_hosts.namespaces import EmulatedHosts, emulated_hosts

__all__ = [
    "EmulatedHosts",
    "EmulationError",
    "EmulationUnavailableError",
    "MpiRun",
    "Traffic",
    "emulated_hosts",
    "parse_rate",
    "run_mpi",
]
