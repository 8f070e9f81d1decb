"""Runs in DGL's environment: samples as the lines on standard input say, answers on the output.

Imports nothing of gnnflow.
"""

import json
import os
import sys
from pathlib import Path
from time import perf_counter


def main() -> None:
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["DGLBACKEND"] = "pytorch"
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what DGL prints is no answer
    import dgl
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    indptr = torch.from_numpy(np.load(folder / "indptr.npy", allow_pickle=False))
    indices = torch.from_numpy(np.load(folder / "indices.npy", allow_pickle=False).astype(np.int64))
    no_edge_ids = torch.empty(0, dtype=torch.int64)
    graph = dgl.graph(("csc", (indptr, indices, no_edge_ids)), num_nodes=len(indptr) - 1)
    seeds = torch.from_numpy(np.load(folder / "seeds.npy", allow_pickle=False))
    print(json.dumps({"version": dgl.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        sampler = dgl.dataloading.NeighborSampler(request["fanouts"][::-1])
        num_edges = num_vertices = 0
        begin = perf_counter()
        for number in range(request["begin"], request["end"]):
            vertices, _, blocks = sampler.sample(graph, seeds[number])
            num_edges += sum(block.num_edges() for block in blocks)
            num_vertices += len(vertices)
        seconds = perf_counter() - begin
        answer = {"seconds": seconds, "num_edges": num_edges, "num_vertices": num_vertices}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
