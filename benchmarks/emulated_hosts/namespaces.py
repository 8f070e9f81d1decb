"""Hosts that are namespaces: a network, a host name, a /dev/shm and a link each.

Everything lives inside one *hub*: namespaces of network, mounts, host name, System V memory and
process ids of its own. The hub ends with its first process, and that process ends when the pipe
from this one closes, for whatever reason it closes. Then the kernel kills every process on the
hosts and drops interfaces, mounts and namespaces with them. The machine's own interfaces, mounts
and files are never touched, so there is nothing to clean up and nothing that could be left over.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.emulated_hosts.limited_links import (
    EmulationError,
    EmulationUnavailableError,
    Traffic,
    parse_rate,
    read_traffic,
    token_bucket,
)

HUB = "hub"
BRIDGE = "br0"
INTERFACE = "eth0"
LAUNCHER = Path("/dev/shm/launch")  # in the hub's own /dev/shm
# RFC 2544 sets this network aside for benchmarks; it exists only inside the namespaces.
_NETWORK = "198.18.0"
_MAX_HOSTS = 200
# Kinds of namespaces a host has for itself, as /proc names them and as the tools do.
_KINDS = {"net": "net", "mnt": "mount", "uts": "uts", "ipc": "ipc"}
_TOOLS = {
    "ip": "iproute2",
    "tc": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "taskset": "util-linux",
    "mount": "mount",
}
_CLOSE_TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Host:
    name: str
    address: str
    cpus: str
    """Cores it may use, as a list that taskset reads."""


class EmulatedHosts:
    """Hosts on a hub, between `emulated_hosts(...)` and the end of its block."""

    def __init__(self, hosts: Sequence[_Host], rate: str | None) -> None:
        """Sets hub and hosts up. Use `emulated_hosts` instead, which also takes them down."""
        self.rate = rate
        self.names = tuple(host.name for host in hosts)
        self.addresses = {host.name: host.address for host in hosts}
        self._cpus = {host.name: host.cpus for host in hosts}
        self._holders: list[subprocess.Popen[str]] = []
        self._programs: list[subprocess.Popen[str]] = []
        self._namespaces: dict[str, str] = {}
        try:
            self._start_hub(hosts)
            pids = [self._start_host(host, rate) for host in hosts]
            self._run_in_hub(_launcher_script(hosts, pids))
        except BaseException:
            self.close()
            raise

    def enter(self, host: str) -> list[str]:
        """Returns the words that go before a command to run it on a host (or on the hub).

        Raises:
            EmulationError: If there is no such host.
        """
        if host not in self._namespaces:
            raise EmulationError(
                f"no emulated host is called {host!r}; there are {', '.join(self.names)}"
            )
        options = [f"--{option}={self._namespaces[host]}/{kind}" for kind, option in _KINDS.items()]
        # All processes belong to the hub's process ids, so that they end with it.
        options.append(f"--pid={self._namespaces[HUB]}/pid_for_children")
        # Entering a mount namespace changes to its root folder: go back to where we are.
        back = ["sh", "-c", 'cd "$0" && exec "$@"', os.getcwd()]
        pin = [] if host == HUB else ["taskset", "-c", self._cpus[host]]
        return ["nsenter", *options, "--", *back, *pin]

    def start(
        self,
        host: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        output: IO[str] | int | None = None,
    ) -> subprocess.Popen[str]:
        """Starts a program on a host.

        Args:
            host: Name of the host.
            argv: The program and its arguments.
            env: Variables added to this process's environment.
            output: Where standard output and error go, as for `subprocess`.

        Returns:
            The process, leader of a process group of its own: it stands for the program, whose
            exit status it takes, but signals reach the program only through the group. It does not
            outlive the hosts.
        """
        program = subprocess.Popen(
            [*self.enter(host), *map(str, argv)],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._programs.append(program)
        return program

    def traffic(self) -> dict[str, Traffic]:
        """Returns the bytes that went over the link of each host since it came up."""
        return read_traffic(Path(self._namespaces[HUB]).parent, self.names)

    def set_rate(self, rate: str) -> None:
        """Changes the rate of every host's link, in either direction, while programs run.

        Raises:
            EmulationError: If it is no rate, or the links were made without one.
        """
        if self.rate is None:
            raise EmulationError("the links have no rate to change; make the hosts with one")
        self.rate = rate
        for host in self.names:
            self._run_in(host, token_bucket(INTERFACE, rate, "change"))
            self._run_in(HUB, token_bucket(host, rate, "change"))

    def close(self) -> None:
        """Ends every process on the hosts and the hosts themselves."""
        # The hub first: its end takes everything else along.
        for holder in self._holders:
            assert holder.stdin is not None
            holder.stdin.close()
            try:
                # The kernel lets the hub's holder go only after all its processes have ended.
                holder.wait(_CLOSE_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                holder.kill()
            with holder:  # closes the pipes
                pass
        for program in self._programs:
            program.wait()  # its end is there to be collected

    def _start_hub(self, hosts: Sequence[_Host]) -> None:
        flags = [*(f"--{option}" for option in _KINDS.values()), "--pid", "--fork", "--kill-child"]
        holder = self._hold(["unshare", *flags, "--mount-proc"], _hub_script(hosts))
        _read_pid(
            holder,
            "this machine does not let us make them; run as root outside a container, "
            "or in one with --privileged",
        )
        self._namespaces[HUB] = f"/proc/{holder.pid}/ns"

    def _start_host(self, host: _Host, rate: str | None) -> int:
        """Returns the process that holds the host's namespaces, by the hub's process ids."""
        flags = [f"--{option}" for option in _KINDS.values()]
        holder = self._hold([*self.enter(HUB), "unshare", *flags], _host_script(host, rate))
        pid = _read_pid(holder, "the kernel needs veth and sch_tbf")
        self._namespaces[host.name] = f"/proc/{self._holders[0].pid}/root/proc/{pid}/ns"
        self._run_in_hub(_port_script(host, rate))
        return pid

    def _hold(self, unshare: list[str], script: str) -> subprocess.Popen[str]:
        """Starts a process that sets namespaces up and holds them until its input ends."""
        holder = subprocess.Popen(
            # cat ends with its input: when we close the pipe, and when we die.
            [*unshare, "sh", "-e", "-c", f"{script}\necho $$\nexec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us: the hosts go when we are done
        )
        self._holders.append(holder)
        return holder

    def _run_in_hub(self, script: str) -> None:
        self._run_in(HUB, script)

    def _run_in(self, host: str, script: str) -> None:
        done = subprocess.run(
            [*self.enter(host), "sh", "-e"], input=script, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise EmulationError(f"emulated hosts could not be set up: {done.stderr.strip()}")


@contextmanager
def emulated_hosts(
    num_hosts: int, *, rate: str | None = "1gbit", cpus_per_host: int | None = None
) -> Iterator[EmulatedHosts]:
    """Emulates hosts `host0`, `host1`, ... on a switch, until the block ends.

    Args:
        num_hosts: How many hosts.
        rate: Rate of each host's link in either direction, as `200mbit`; None does not limit it.
        cpus_per_host: Give each host this many of the machine's cores for itself; by default all
            hosts share all cores.

    Raises:
        EmulationUnavailableError: If this machine does not let us make namespaces.
        EmulationError: If an argument cannot be used, or the set-up fails.
    """
    if not 1 <= num_hosts <= _MAX_HOSTS:
        raise EmulationError(f"num_hosts must be in [1, {_MAX_HOSTS}], got {num_hosts}")
    if rate is not None:
        parse_rate(rate)
    cpus = _split_cpus(num_hosts, cpus_per_host)
    _check_tools()
    hosts = EmulatedHosts(
        [
            _Host(name=f"host{number}", address=f"{_NETWORK}.{number + 2}", cpus=host_cpus)
            for number, host_cpus in enumerate(cpus)
        ],
        rate,
    )
    try:
        yield hosts
    finally:
        hosts.close()


def _read_pid(holder: subprocess.Popen[str], remedy: str) -> int:
    assert holder.stdout is not None
    line = holder.stdout.readline()
    if not line:
        _, complaint = holder.communicate()
        raise EmulationUnavailableError(
            f"namespaces for emulated hosts could not be made ({complaint.strip()}): {remedy}"
        )
    return int(line)


def _hub_script(hosts: Sequence[_Host]) -> str:
    table = ["127.0.0.1 localhost", *(f"{host.address} {host.name}" for host in hosts)]
    return f"""
        mount -t tmpfs tmpfs /dev/shm
        mount -t sysfs sysfs /sys
        echo {HUB} > /proc/sys/kernel/hostname
        printf '%s\n' {shlex.join([*table, f"{_NETWORK}.1 {HUB}"])} > /dev/shm/hosts
        mount --bind /dev/shm/hosts /etc/hosts
        ip link set lo up
        ip link add {BRIDGE} type bridge mcast_snooping 0
        ip address add {_NETWORK}.1/24 dev {BRIDGE}
        ip link set {BRIDGE} addrgenmode none up
    """


def _host_script(host: _Host, rate: str | None) -> str:
    return f"""
        mount -t tmpfs tmpfs /dev/shm
        mount -t sysfs sysfs /sys
        echo {host.name} > /proc/sys/kernel/hostname
        ip link set lo up
        ip link add {INTERFACE} type veth peer name {host.name} netns 1
        ip address add {host.address}/24 dev {INTERFACE}
        {token_bucket(INTERFACE, rate) if rate else ""}
        ip link set {INTERFACE} addrgenmode none up
    """


def _port_script(host: _Host, rate: str | None) -> str:
    """The bridge's side of a host's link."""
    return f"""
        {token_bucket(host.name, rate) if rate else ""}
        ip link set {host.name} addrgenmode none master {BRIDGE} up
    """


def _launcher_script(hosts: Sequence[_Host], pids: Sequence[int]) -> str:
    """Writes what mpiexec calls like ssh: options, a host, words that a shell there joins."""
    cases = "\n".join(
        f"{host.name}) pid={pid} cpus={host.cpus} ;;" for host, pid in zip(hosts, pids, strict=True)
    )
    options = " ".join(f"--{option}" for option in _KINDS.values())
    return f"""cat > {LAUNCHER} <<'END'
#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do shift; done
case "$1" in
{cases}
*) echo "no emulated host is called $1" >&2; exit 1 ;;
esac
shift
exec nsenter --target "$pid" {options} -- taskset -c "$cpus" sh -c "$*"
END
chmod +x {LAUNCHER}
"""


def _split_cpus(num_hosts: int, cpus_per_host: int | None) -> list[str]:
    """Returns the cores of each host, as a list that taskset reads."""
    available = sorted(os.sched_getaffinity(0))
    if cpus_per_host is None:
        return [",".join(map(str, available))] * num_hosts
    if cpus_per_host < 1 or num_hosts * cpus_per_host > len(available):
        raise EmulationError(
            f"{num_hosts} hosts with {cpus_per_host} cores each need "
            f"{num_hosts * cpus_per_host} cores, and this machine has {len(available)}; "
            "leave cpus_per_host out to share them"
        )
    return [
        ",".join(map(str, available[first : first + cpus_per_host]))
        for first in range(0, num_hosts * cpus_per_host, cpus_per_host)
    ]


def _check_tools() -> None:
    if sys.platform != "linux":
        raise EmulationUnavailableError("emulated hosts need Linux: they are its namespaces")
    if os.geteuid() != 0:
        raise EmulationUnavailableError(
            f"emulated hosts need root to make namespaces, and this is user {os.geteuid()}; use "
            "sudo"
        )
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        packages = " ".join(sorted({_TOOLS[tool] for tool in missing}))
        raise EmulationUnavailableError(
            f"emulated hosts need {', '.join(missing)}, which this machine lacks; on Debian: "
            f"apt-get install {packages}"
        )
