"""Runs in GraphBolt's environment: samples as lines on standard input say, answers on the output.

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
    from dgl import graphbolt

    torch.set_num_threads(threads)
    graph = graphbolt.fused_csc_sampling_graph(
        torch.from_numpy(np.load(folder / "indptr.npy", allow_pickle=False)),
        torch.from_numpy(np.load(folder / "indices.npy", allow_pickle=False).astype(np.int64)),
    )
    seeds = torch.from_numpy(np.load(folder / "seeds.npy", allow_pickle=False))
    print(json.dumps({"version": dgl.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        fanouts = [torch.tensor([fanout]) for fanout in request["fanouts"]]
        num_edges = num_vertices = 0
        begin = perf_counter()
        for number in range(request["begin"], request["end"]):
            vertices = seeds[number]
            # As GraphBolt's NeighborSampler: every layer expands all vertices found so far.
            for fanout in fanouts:
                sampled = graph.sample_neighbors(vertices, fanout).sampled_csc
                vertices, compact = graphbolt.unique_and_compact_csc_formats(sampled, vertices)
                num_edges += len(compact.indices)
            num_vertices += len(vertices)
        seconds = perf_counter() - begin
        answer = {"seconds": seconds, "num_edges": num_edges, "num_vertices": num_vertices}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
