import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.emulated_hosts import (
    EmulatedHosts,
    EmulationError,
    EmulationUnavailableError,
    emulated_hosts,
    parse_rate,
    run_mpi,
)
from benchmarks.emulated_hosts.limited_links import Traffic, token_bucket, traffic_between

REPOSITORY = Path(__file__).parents[2]
NUM_BYTES = 8_000_000

EXCHANGE = f"""
import os, socket
import numpy as np
from mpi4py import MPI

world = MPI.COMM_WORLD
host = world.Split_type(MPI.COMM_TYPE_SHARED)
out = np.full({NUM_BYTES}, world.rank, np.uint8)
received = np.empty_like(out)
other = (world.rank + host.size) % world.size
world.Sendrecv(out, other, recvbuf=received, source=other)
assert (received == other).all()
neighbour = host.size - 1 - host.rank
host.Sendrecv(out, neighbour, recvbuf=received, source=neighbour)
print(f"rank={{world.rank}} name={{socket.gethostname()}} ranks_on_host={{host.size}}\\n", end="")
"""

# Sets hosts up as a benchmark would, tells their namespaces, and then never ends by itself.
ENDLESS = """
import os, signal, sys, time
from benchmarks.emulated_hosts import emulated_hosts

# Where the tests run in the background, they pass on that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with emulated_hosts(2, rate="1gbit") as hosts:
    sleeper = hosts.start("host1", ["sleep", "1000"])
    print(os.getpid(), flush=True)
    time.sleep(1000)
"""


@pytest.fixture(autouse=True, scope="module")
def _namespaces_allowed():
    try:
        with emulated_hosts(1, rate=None):
            pass
    except EmulationUnavailableError as reason:
        pytest.skip(str(reason))


def on_host(hosts: EmulatedHosts, host: str, *argv: str) -> str:
    process = hosts.start(host, argv, output=subprocess.PIPE)
    text, _ = process.communicate()
    assert process.returncode == 0, text
    return text


def token_bucket_bytes(hosts: EmulatedHosts, host: str, interface: str) -> int:
    (queue,) = json.loads(on_host(hosts, host, "tc", "-s", "-j", "qdisc", "show", "dev", interface))
    assert queue["kind"] == "tbf"
    return queue["bytes"]


def namespaces_in_use() -> dict[str, set[int]]:
    """The processes of this machine by their network namespace."""
    users: dict[str, set[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            users.setdefault(os.readlink(folder / "ns" / "net"), set()).add(int(folder.name))
        except OSError:
            continue  # it has just ended
    return users


def machine_state() -> tuple[str, str]:
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True)
    names = sorted(line.split(":")[1].strip() for line in links.stdout.splitlines())
    return " ".join(names), Path("/proc/self/mounts").read_text()


def wait_until_unused(namespaces: set[str], limit_s: float = 30.0) -> None:
    deadline = time.monotonic() + limit_s
    while left := namespaces & namespaces_in_use().keys():
        assert time.monotonic() < deadline, f"still in use: {left}"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("text", "bits"),
    [("200mbit", 200_000_000), ("1gbit", 10**9), ("2.5gbit", 2_500_000_000), ("64kbit", 64_000)],
)
def test_rates(text, bits):
    assert parse_rate(text) == bits


@pytest.mark.parametrize("text", ["", "1", "gbit", "-1gbit", "0mbit", "1 gbit", "1gbit; reboot"])
def test_rates_refused(text):
    with pytest.raises(EmulationError, match="rate of a link"):
        parse_rate(text)


def test_bucket_holds_what_a_fast_link_moves_in_a_millisecond():
    assert "burst 262144 " in token_bucket("eth0", "1gbit")
    assert "rate 10000000000bit burst 1250000 " in token_bucket("eth0", "10gbit")


def test_traffic_is_a_difference():
    before = {"host0": Traffic(sent_bytes=5, received_bytes=7)}
    after = {"host0": Traffic(sent_bytes=15, received_bytes=7)}
    assert traffic_between(before, after) == {"host0": Traffic(sent_bytes=10, received_bytes=0)}


def test_hosts_are_separate():
    with emulated_hosts(3, rate="1gbit") as hosts:
        assert hosts.names == ("host0", "host1", "host2")
        for name in hosts.names:
            assert on_host(hosts, name, "uname", "-n").strip() == name
            addresses = on_host(hosts, name, "ip", "-4", "-o", "address", "show", "dev", "eth0")
            assert f" {hosts.addresses[name]}/24 " in addresses
            assert on_host(hosts, name, "getent", "hosts", "host2").split() == [
                hosts.addresses["host2"],
                "host2",
            ]
            on_host(hosts, name, "touch", f"/dev/shm/of-{name}")
            assert on_host(hosts, name, "ls", "/dev/shm").split() == [f"of-{name}"]
            assert on_host(hosts, name, "pwd").strip() == os.getcwd()
    assert not list(Path("/dev/shm").glob("of-host*"))


def test_exchange_goes_over_the_limited_link():
    with emulated_hosts(2, rate="1gbit") as hosts:
        run = run_mpi(hosts, 1, [sys.executable, "-c", EXCHANGE], timeout_s=60)
        assert run.returncode == 0, run.output
        assert sorted(run.output.splitlines()) == [
            "rank=0 name=host0 ranks_on_host=1",
            "rank=1 name=host1 ranks_on_host=1",
        ]
        for host in hosts.names:
            assert NUM_BYTES < run.traffic[host].sent_bytes < 1.1 * NUM_BYTES
            assert NUM_BYTES < run.traffic[host].received_bytes < 1.1 * NUM_BYTES
            # All of it went through the buckets at both ends.
            assert token_bucket_bytes(hosts, host, "eth0") > NUM_BYTES
            assert token_bucket_bytes(hosts, "hub", host) > NUM_BYTES


def test_the_rate_of_links_changes():
    with emulated_hosts(2, rate="1gbit") as hosts:
        hosts.set_rate("300mbit")
        assert hosts.rate == "300mbit"
        for host in hosts.names:
            assert "rate 300Mbit" in on_host(hosts, host, "tc", "qdisc", "show", "dev", "eth0")
            assert "rate 300Mbit" in on_host(hosts, "hub", "tc", "qdisc", "show", "dev", host)
    with emulated_hosts(1, rate=None) as hosts:
        with pytest.raises(EmulationError, match="no rate to change"):
            hosts.set_rate("1gbit")


def test_ranks_of_one_host_do_not_use_the_link():
    with emulated_hosts(2, rate="1gbit") as hosts:
        run = run_mpi(hosts, 2, [sys.executable, "-c", EXCHANGE], timeout_s=60)
        assert run.returncode == 0, run.output
        assert sorted(run.output.splitlines()) == [
            "rank=0 name=host0 ranks_on_host=2",
            "rank=1 name=host0 ranks_on_host=2",
            "rank=2 name=host1 ranks_on_host=2",
            "rank=3 name=host1 ranks_on_host=2",
        ]
        for host in hosts.names:
            # Each rank sent as much to its neighbour on the host as to the other host.
            assert 2 * NUM_BYTES < run.traffic[host].sent_bytes < 2.2 * NUM_BYTES


def test_failure_of_a_program_is_told():
    with emulated_hosts(2) as hosts:
        code = "import sys; print('no luck'); sys.exit(3)"
        run = run_mpi(hosts, 1, [sys.executable, "-c", code], timeout_s=60)
    assert run.returncode != 0
    assert "no luck" in run.output


def test_run_past_its_time_is_killed():
    words = ["sh", "-c", "echo waiting; exec sleep 1000"]
    with emulated_hosts(2) as hosts:
        with pytest.raises(EmulationError, match=r"(?s)took longer than 3 s.*waiting"):
            run_mpi(hosts, 1, words, timeout_s=3)
        assert run_mpi(hosts, 1, ["true"], timeout_s=60).returncode == 0


def test_cores_can_be_divided():
    cores = sorted(os.sched_getaffinity(0))
    code = "import os; print(*sorted(os.sched_getaffinity(0)))"
    with emulated_hosts(1, cpus_per_host=1) as hosts:
        assert on_host(hosts, "host0", sys.executable, "-c", code).split() == [str(cores[0])]
    with pytest.raises(EmulationError, match=f"need {len(cores) + 1} cores"):
        with emulated_hosts(len(cores) + 1, cpus_per_host=1):
            pass


def test_unknown_host():
    with emulated_hosts(1) as hosts:
        with pytest.raises(EmulationError, match="'host7'; there are host0"):
            hosts.enter("host7")


@pytest.mark.parametrize("number", [0, 201])
def test_number_of_hosts_has_limits(number):
    with pytest.raises(EmulationError, match=f"num_hosts must be in .* got {number}"):
        with emulated_hosts(number):
            pass


def test_missing_tool_names_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulationUnavailableError, match=r"need ip, tc.*apt-get install.* iproute2"):
        with emulated_hosts(2):
            pass


def test_other_users_are_told_to_be_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(EmulationUnavailableError, match="need root .* user 1000"):
        with emulated_hosts(2):
            pass


def test_nothing_is_left():
    before = machine_state()
    with pytest.raises(ZeroDivisionError):
        with emulated_hosts(2) as hosts:
            hosts.start("host1", ["sleep", "1000"])
            own = os.readlink("/proc/self/ns/net")
            used = {os.readlink(f"{hosts._namespaces[host]}/net") for host in ("hub", *hosts.names)}
            assert len(used) == 3 and own not in used
            assert used <= namespaces_in_use().keys()
            assert machine_state() == before  # while they run, too
            1 / 0  # noqa: B018
    assert not used & namespaces_in_use().keys()
    assert machine_state() == before


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_of_a_killed_benchmark(how):
    before, others = machine_state(), namespaces_in_use().keys()
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as benchmark:
        assert benchmark.stdout.readline().strip() == str(benchmark.pid)
        used = descendants_namespaces(benchmark.pid) - others
        assert len(used) == 3
        benchmark.send_signal(how)
    wait_until_unused(used)
    assert machine_state() == before
    with emulated_hosts(2) as hosts:  # and the next one starts as if nothing had been
        assert on_host(hosts, "host1", "uname", "-n").strip() == "host1"


def descendants_namespaces(pid: int) -> set[str]:
    """The network namespaces of a process's children, theirs, and so on."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue  # it has just ended
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {namespace for namespace, users in namespaces_in_use().items() if users & found}
