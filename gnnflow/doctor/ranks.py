"""What the ranks of a job tell about MPI and the links between them."""

import json
import subprocess
import sys
from collections.abc import Sequence

from gnnflow.doctor.links import Links
from gnnflow.doctor.machine import Finding
from gnnflow.errors import CommError
from gnnflow.launch.environment import Launch
from gnnflow.launch.mpiexec import find_mpiexec, launch_environment
from gnnflow.units import human_bytes

_LIMIT_S = 120.0
_SLOW_BYTES_PER_S = 125e6  # 1 Gbit/s
_SLOW_LATENCY_S = 1e-3


def links_of_started_ranks(num_ranks: int) -> tuple[Links | None, list[Finding]]:
    """Starts ranks on this machine and lets them measure.

    Args:
        num_ranks: How many.

    Returns:
        What they measured, None if they could not; and what was found on the way.
    """
    try:
        mpiexec = find_mpiexec()
    except CommError as error:
        return None, [Finding(name="mpiexec", state="problem", value="none", advice=str(error))]
    findings = [Finding(name="mpiexec", state="ok", value=str(mpiexec))]
    command = [str(mpiexec), "-n", str(num_ranks), sys.executable, "-m", "gnnflow.doctor.links"]
    environment = launch_environment(mpiexec)
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_LIMIT_S, env=environment, check=False
        )
        links = Links(**json.loads(ended.stdout.strip().splitlines()[-1]))
    except subprocess.TimeoutExpired:
        reason = f"no answer within {_LIMIT_S:g} s"
    except (ValueError, TypeError, IndexError):
        said = (ended.stderr.strip() or ended.stdout.strip()).splitlines()
        reason = said[-1] if said else f"it ended with exit code {ended.returncode}"
    else:
        return links, findings
    failed = Finding(
        name=f"{num_ranks} ranks",
        state="problem",
        value=f"they do not start: {reason}",
        advice='use the mpiexec of the MPI that this Python loads: pip install "gnnflow[mpich]", '
        f"or load the machine's own; try: {' '.join(command)}",
    )
    return None, [*findings, failed]


def check_links(links: Links, launched: Launch | None = None) -> list[Finding]:
    """Judges what the ranks measured.

    Args:
        links: What rank 0 measured.
        launched: How they were started, if a launcher of the user's did.
    """
    num_ranks, num_hosts = len(links.hosts), len(set(links.hosts))
    started = "mpiexec" if launched is None else launched.launcher
    findings = [
        Finding(
            name="ranks",
            state="ok",
            value=f"{num_ranks} on {num_hosts} machine{'s' if num_hosts > 1 else ''}, {started}",
        ),
        _thread_level(links),
    ]
    if num_ranks > 1:
        within = [host == links.hosts[0] for host in links.hosts[1:]]
        for name, wanted in (("inside the machine", True), ("between machines", False)):
            chosen = [index for index, same in enumerate(within) if same == wanted]
            if chosen:
                findings.append(_link(links, chosen, name, is_network=not wanted))
    return findings


def _thread_level(links: Links) -> Finding:
    is_enough = links.thread_level in ("SERIALIZED", "MULTIPLE")
    return Finding(
        name="MPI",
        state="ok" if is_enough else "problem",
        value=f"{links.library}, thread level {links.thread_level}",
        advice="" if is_enough else "use an MPI build with thread support: rows move in a thread",
    )


def _link(links: Links, chosen: Sequence[int], name: str, *, is_network: bool) -> Finding:
    slowest = min(links.bytes_per_s[index] for index in chosen)
    longest_s = max(links.latency_s[index] for index in chosen)
    advice = []
    if is_network and slowest < _SLOW_BYTES_PER_S:
        advice.append(
            "less than 1 Gbit/s: raise --cache-fraction, send rows with --wire-dtype bfloat16, and "
            "check that MPI uses the fast network"
        )
    if longest_s > _SLOW_LATENCY_S:
        advice.append(
            "more than a millisecond: start fewer ranks than cores, and check that MPI uses the "
            "fast network"
        )
    return Finding(
        name=f"link {name}",
        state="note" if advice else "ok",
        value=f"{human_bytes(slowest)}/s, {1e6 * longest_s:.0f} microseconds (slowest of "
        f"{len(chosen)})",
        advice="; ".join(advice),
    )
