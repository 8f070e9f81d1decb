"""Links between emulated hosts: their rate, the bytes that went over them, what can go wrong."""

import re
from pathlib import Path
from typing import NamedTuple

from gnnflow.errors import GnnflowError

_UNITS = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
# A queue that holds 50 ms of the link's rate never drops what TCP sends between two hosts.
_QUEUE = "50ms"
# Segmentation offload hands the bucket packets of up to 64 KB: it must hold several, and at least
# what a fast link moves between two wake-ups of its timer.
_MIN_BURST_BYTES = 256 * 1024
_BURST_S = 0.001


class EmulationError(GnnflowError, RuntimeError):
    """Emulated hosts could not be set up, or a program on them did not end as it should."""


class EmulationUnavailableError(EmulationError):
    """This machine cannot emulate hosts: a tool or a permission is missing."""


class Traffic(NamedTuple):
    """Bytes of one host's link, Ethernet headers included."""

    sent_bytes: int
    """From the host to the others."""
    received_bytes: int
    """From the others to the host."""


def parse_rate(rate: str) -> int:
    """Returns the bits per second of a rate such as `200mbit` or `1gbit`.

    Raises:
        EmulationError: If it is not a positive number followed by kbit, mbit or gbit.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(kbit|mbit|gbit)", rate)
    bits = round(float(match[1]) * _UNITS[match[2]]) if match else 0
    if bits <= 0:
        raise EmulationError(
            f"the rate of a link must be a positive number and kbit, mbit or gbit, as 200mbit; "
            f"got {rate!r}"
        )
    return bits


def token_bucket(interface: str, rate: str, action: str = "add") -> str:
    """Returns the tc command that limits what leaves through an interface.

    Args:
        interface: The interface.
        rate: As for `parse_rate`.
        action: `add` for one without a limit, `change` for one that has one.
    """
    bits = parse_rate(rate)
    burst = max(_MIN_BURST_BYTES, round(bits / 8 * _BURST_S))
    return (
        f"tc qdisc {action} dev {interface} root tbf rate {bits}bit burst {burst} latency {_QUEUE}"
    )


def read_traffic(hub: Path, hosts: tuple[str, ...]) -> dict[str, Traffic]:
    """Reads the counters of the bridge's ports, one of them per host.

    Args:
        hub: Folder under /proc of a process in the bridge's network namespace.
        hosts: Names of the hosts, which their ports have too.

    Returns:
        Bytes since the links came up, per host. What a port received is what its host sent.
    """
    ports = {}
    for line in (hub / "net" / "dev").read_text().splitlines()[2:]:
        name, _, counters = line.partition(":")
        columns = counters.split()
        ports[name.strip()] = Traffic(sent_bytes=int(columns[0]), received_bytes=int(columns[8]))
    return {host: ports[host] for host in hosts}


def traffic_between(before: dict[str, Traffic], after: dict[str, Traffic]) -> dict[str, Traffic]:
    """Returns the bytes per host that two readings of the counters lie apart."""
    return {
        host: Traffic(
            sent_bytes=after[host].sent_bytes - before[host].sent_bytes,
            received_bytes=after[host].received_bytes - before[host].received_bytes,
        )
        for host in before
    }
