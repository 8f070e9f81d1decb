"""One rank of a job that computes a stored first hop, started by `benchmarks.first_hop`.

    python -m benchmarks._first_hop_side PARTS KIND MEMORY_BYTES

Rank 0 prints a line of JSON: seconds, the most memory that any rank took for it besides its own
features and the pages of its files, and the bytes on disk of all ranks.
"""

import json
import sys
import threading
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import gnnflow
from benchmarks._commands import run_ranks
from gnnflow.files.json_text import to_json_text
from gnnflow.first_hop import FirstHop, open_first_hop
from gnnflow.process_memory import own_memory_bytes

_SIDE = "benchmarks._first_hop_side"
_LOOK_EVERY_S = 0.01


def measure(parts: Path, num_ranks: int, kind: FirstHop, memory_bytes: int) -> dict[str, float]:
    """Starts a rank for each part, all with messages between them."""
    said = run_ranks(num_ranks, _SIDE, parts, kind, memory_bytes)
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


class _PeakOfOwnMemory:
    """The most memory besides pages of files, looked at again and again."""

    def __init__(self) -> None:
        self.start_bytes = self.peak_bytes = own_memory_bytes()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_PeakOfOwnMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            self.peak_bytes = max(self.peak_bytes, own_memory_bytes())
            sleep(_LOOK_EVERY_S)


def main(parts: Path, kind: FirstHop, memory_bytes: int) -> None:
    """Measures as one rank."""
    with gnnflow.init(transport="alltoall", threads=1) as ctx:
        graph = gnnflow.DistGraph.open(parts, ctx)
        ctx.barrier()
        begin_s = perf_counter()
        with _PeakOfOwnMemory() as memory:
            open_first_hop(graph, kind, memory_bytes=memory_bytes)
        seconds = perf_counter() - begin_s
        file = graph.partition.folder / f"first_hop_{kind}.npy"
        about = ctx.allgather_json(
            [seconds, memory.peak_bytes - memory.start_bytes, file.stat().st_size]
        )
        if ctx.rank == 0:
            all_seconds, memories, sizes = zip(*about, strict=True)
            print(
                to_json_text(
                    {
                        "seconds": max(all_seconds),
                        "memory_bytes": max(memories),
                        "disk_bytes": sum(sizes),
                    }
                )
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))  # type: ignore[arg-type]
