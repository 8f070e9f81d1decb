"""What other programs take of the cores while something is timed."""

import os
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

MOST_CORES = 0.15
"""What others may take of the cores on average for a run to count."""
_NICE = 10
"""Programs that are at least so nice give way; they do not count."""


class OtherLoad:
    """Counts from its making on."""

    def __init__(self) -> None:
        """Notes what every program has taken so far."""
        self._before = _seconds_by_process()
        self._begin_s = monotonic()

    @property
    def cores(self) -> float:
        """Cores that programs have been busy on since, on average, without those we started.

        Programs that came or went in between are not seen.
        """
        elapsed_s = max(monotonic() - self._begin_s, 1e-9)
        after = _seconds_by_process()
        own = _descendants(os.getpid(), {process: line[1] for process, line in after.items()})
        busy_s = sum(
            after[process][0] - seconds
            for process, (seconds, _) in self._before.items()
            if process in after and process not in own
        )
        # Ticks are coarse: over a moment they may come to more than there is.
        return min(busy_s / elapsed_s, float(os.cpu_count() or 1))


def _seconds_by_process() -> dict[int, tuple[float, int]]:
    """Processor seconds and parent of every process that is not nice."""
    found = {}
    ticks = os.sysconf("SC_CLK_TCK")
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            text = (folder / "stat").read_text()
        except OSError:
            continue  # it has ended
        fields = text.rpartition(")")[2].split()
        parent, user, system, nice = (int(fields[number]) for number in (1, 11, 12, 16))
        if nice < _NICE:
            found[int(folder.name)] = ((user + system) / ticks, parent)
    return found


def _descendants(process: int, parents: dict[int, int]) -> set[int]:
    own = {process}
    while grown := {child for child, parent in parents.items() if parent in own} - own:
        own |= grown
    return own


def is_disturbed(line: Mapping[str, Any]) -> bool:
    """Whether others took too much of the cores during a run of the matrix."""
    return bool(line.get("others_cores", 0.0) > MOST_CORES)
