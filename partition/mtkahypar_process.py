"""Runs Mt-KaHyPar on the `graph` of the current folder; `mtkahypar.py` starts it."""

import ctypes
import json
import signal
import sys
from pathlib import Path

import mtkahypar
import numpy as np

_PR_SET_PDEATHSIG = 1


def _peak_memory_bytes() -> int:
    """Largest resident memory of this process; ru_maxrss would include its parent's."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def main() -> None:
    """Cuts the graph into `part` and leaves `result.json`."""
    job = json.loads(sys.argv[1])
    if sys.platform == "linux":
        # If the partitioner is killed, this must not go on for nobody.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    library = mtkahypar.initialize(job["num_threads"])
    mtkahypar.set_seed(job["seed"])
    # The only preset whose result depends on the seed alone, not on how threads come along.
    context = library.context_from_preset(mtkahypar.PresetType.DETERMINISTIC)
    context.set_partitioning_parameters(job["num_parts"], job["epsilon"], mtkahypar.Objective.CUT)
    context.logging = False
    graph = library.graph_from_file("graph", context, mtkahypar.FileFormat.METIS)
    part = graph.partition(context).get_partition()
    np.array(part, dtype=np.int32).tofile("part")
    result = {"peak_memory_bytes": _peak_memory_bytes()}
    Path("result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
