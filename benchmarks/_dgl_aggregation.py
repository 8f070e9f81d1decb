"""Runs in DGL's environment: takes numbers of minibatches, answers with seconds and loss.

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
    weights = np.load(folder / "weights.npz", allow_pickle=False)
    convs = []
    for index in range(len(weights.files) // 3):
        neighbour, own = weights[f"neighbour_weight_{index}"], weights[f"self_weight_{index}"]
        conv = dgl.nn.pytorch.SAGEConv(neighbour.shape[1], neighbour.shape[0], "mean")
        with torch.no_grad():
            conv.fc_neigh.weight.copy_(torch.from_numpy(neighbour))
            conv.fc_self.weight.copy_(torch.from_numpy(own))
            # Where DGL keeps the bias has changed between its releases.
            bias = conv.bias if getattr(conv, "bias", None) is not None else conv.fc_self.bias
            bias.copy_(torch.from_numpy(weights[f"bias_{index}"]))
        convs.append(conv)
    minibatches = {}
    print(json.dumps({"version": dgl.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        number = int(line)
        if number not in minibatches:
            stored = np.load(folder / f"minibatch_{number}.npz", allow_pickle=False)
            minibatches[number] = {name: torch.from_numpy(stored[name]) for name in stored.files}
        stored = minibatches[number]
        # New blocks each time, as a sampler makes them: formats that DGL derives are not kept.
        blocks = []
        for index in range(len(convs)):
            indptr, src = stored[f"indptr_{index}"], stored[f"src_{index}"]
            block = dgl.create_block(
                ("csc", (indptr, src, torch.empty(0, dtype=torch.int64))),
                num_src_nodes=int(stored[f"num_src_{index}"]),
                num_dst_nodes=len(indptr) - 1,
            )
            blocks.append(block)
        begin = perf_counter()
        x = stored["x"]
        for index, (conv, block) in enumerate(zip(convs, blocks, strict=True)):
            x = conv(block, x)
            if index < len(convs) - 1:
                x = x.relu()
        loss = x.square().mean()
        loss.backward()
        seconds = perf_counter() - begin
        print(json.dumps({"seconds": seconds, "loss": loss.item()}), file=answers, flush=True)


if __name__ == "__main__":
    main()
