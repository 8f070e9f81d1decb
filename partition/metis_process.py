"""Runs METIS on the files of the current folder; `metis.py` starts it as a process of its own.

So METIS can be interrupted, what it aborts on or runs out of memory over ends this process
alone, its memory goes back to the system at the end, and the files that it spills coarse graphs
to lie in the scratch folder. Needs nothing but the standard library, so that it starts at once.
"""

import ctypes
import json
import mmap
import signal
import sys
import time
from pathlib import Path
from typing import Any

# As numbered in metis.h of METIS 5.2; earlier releases number them differently.
_NUM_OPTIONS = 40
_OPTION_SEED = 9
_OPTION_ON_DISK = 11
_PR_SET_PDEATHSIG = 1


def _map(path: str, *, copy_on_write: bool = True) -> Any:
    """Maps a file of 32-bit numbers; None if it is empty, which mmap refuses."""
    size_bytes = Path(path).stat().st_size
    if size_bytes == 0:
        return None
    access = mmap.ACCESS_COPY if copy_on_write else mmap.ACCESS_WRITE
    with open(path, "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=access)
    return (ctypes.c_int32 * (size_bytes // 4)).from_buffer(mapped)


def _peak_memory_bytes() -> int:
    """Largest resident memory of this process; ru_maxrss would include its parent's."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def main() -> None:
    """Cuts the graph in `xadj`, `vertex_weights` and the given adjacency file into `part`."""
    job = json.loads(sys.argv[1])
    if sys.platform == "linux":
        # If the partitioner is killed, METIS must not go on for nobody.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if job["gklib"]:
        ctypes.CDLL(job["gklib"], mode=ctypes.RTLD_GLOBAL)
    metis = ctypes.CDLL(job["metis"])
    options = (ctypes.c_int32 * _NUM_OPTIONS)()
    metis.METIS_SetDefaultOptions(options)
    options[_OPTION_SEED] = job["seed"]
    options[_OPTION_ON_DISK] = job["on_disk"]
    num_constraints = job["num_constraints"]
    cut = ctypes.c_int32()
    start = time.perf_counter()
    code = metis.METIS_PartGraphKway(
        ctypes.byref(ctypes.c_int32(job["num_vertices"])),
        ctypes.byref(ctypes.c_int32(num_constraints)),
        _map("xadj"),
        _map(job["neighbors"]),
        _map("vertex_weights"),
        None,
        None,
        ctypes.byref(ctypes.c_int32(job["num_parts"])),
        None,
        (ctypes.c_float * num_constraints)(*[job["imbalance"]] * num_constraints),
        options,
        ctypes.byref(cut),
        _map("part", copy_on_write=False),
    )
    result = {
        "code": code,
        "metis_s": time.perf_counter() - start,
        "peak_memory_bytes": _peak_memory_bytes(),
    }
    Path("result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
