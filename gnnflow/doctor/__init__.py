"""Whether this machine can run jobs well, and what to change."""

from gnnflow.doctor.links import Links, check_links, links_of_started_ranks, measure_links
from gnnflow.doctor.machine import Finding, State, check_machine

__all__ = [
    "Finding",
    "Links",
    "State",
    "check_links",
    "check_machine",
    "links_of_started_ranks",
    "measure_links",
]
