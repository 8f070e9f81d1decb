"""One rank of a job that only samples, started by `benchmarks.cache` with mpiexec.

    python -m benchmarks._distributed_sampling_side PARTS BATCH_SIZE FANOUT...

Rank 0 prints a line of JSON: the median seconds of one of its minibatches, remote hops included.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

import gnnflow
from benchmarks._commands import run_ranks
from benchmarks._traces import NUM_PARTS
from gnnflow.files.json_text import to_json_text
from gnnflow.sampling.dist_sampler import MinibatchSeeds

MINIBATCHES = 12
_SIDE = "benchmarks._distributed_sampling_side"


def measure(parts: Path, batch_size: int, fanout: Sequence[int]) -> float:
    """Starts a rank for each part, all with messages between them; returns seconds."""
    said = run_ranks(NUM_PARTS, _SIDE, parts, batch_size, *fanout)
    return float(json.loads(said.splitlines()[-1])["sample_s"])


def main(parts: Path, batch_size: int, fanout: Sequence[int]) -> None:
    with gnnflow.init(transport="alltoall", threads=1) as ctx:
        graph = gnnflow.DistGraph.open(parts, ctx)
        sampler = graph.sampler()
        generator = np.random.default_rng(ctx.rank)
        times = []
        for step in range(2 * MINIBATCHES):
            seeds = generator.choice(graph.splits["train"], batch_size, replace=False)
            begin = perf_counter()
            sampler.sample_many([MinibatchSeeds(seeds, 0, step * NUM_PARTS + ctx.rank)], fanout)
            times.append(perf_counter() - begin)
        ctx.barrier()
        if ctx.rank == 0:
            print(to_json_text({"sample_s": float(np.median(times[MINIBATCHES:]))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), [int(word) for word in sys.argv[3:]])
