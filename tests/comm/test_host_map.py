import socket

import pytest

from gnnflow.comm.context import HostMap, host_name


def test_hosts_are_numbered_by_their_first_rank() -> None:
    hosts = HostMap.from_names(["b", "a", "b", "c", "a"])
    assert hosts.host_of == (0, 1, 0, 2, 1)
    assert hosts.num_hosts == 3
    assert hosts.ranks_beside(2) == (0, 2)
    assert hosts.ranks_beside(3) == (3,)


def test_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GNNFLOW_HOST", raising=False)
    assert host_name() == socket.gethostname()
    monkeypatch.setenv("GNNFLOW_HOST", "node7")
    assert host_name() == "node7"
