"""Which ranks share a machine."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

HOST_VARIABLE = "GNNFLOW_HOST"


def host_name() -> str:
    """Returns the name of this machine; the environment variable GNNFLOW_HOST overrides it."""
    return os.environ.get(HOST_VARIABLE) or socket.gethostname()


@dataclass(frozen=True, slots=True)
class HostMap:
    """The machine of every rank, numbered in order of their first rank."""

    host_of: tuple[int, ...]
    """Machine of each rank."""

    @classmethod
    def from_names(cls, names: Sequence[str]) -> "HostMap":
        """Groups ranks by the name of their machine, given in rank order."""
        numbers: dict[str, int] = {}
        return cls(tuple(numbers.setdefault(name, len(numbers)) for name in names))

    @property
    def num_hosts(self) -> int:
        """Number of machines."""
        return max(self.host_of) + 1

    def ranks_beside(self, rank: int) -> tuple[int, ...]:
        """Returns the ranks on the machine of `rank`, itself included, in order."""
        host = self.host_of[rank]
        return tuple(other for other, its_host in enumerate(self.host_of) if its_host == host)
