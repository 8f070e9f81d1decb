"""Learns to tell the edges of a graph from pairs that are none, in one process or on many ranks.

    gnnflow-partition --dataset debian-packages --num-parts 4 --out parts \
        --val-edges 0.05 --test-edges 0.1
    mpiexec -n 4 python examples/link_prediction.py parts

With one part no mpiexec is needed. The model computes an embedding of each vertex; two vertices are
likely to be joined where the inner product of theirs is large.
"""

import argparse

import torch
import torch.nn.functional as F

import gnnflow
from gnnflow.models import SAGE
from gnnflow.training import evaluate_links


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=1024)
    options = parser.parse_args()

    with gnnflow.init() as ctx:
        torch.set_num_threads(ctx.threads)
        graph = gnnflow.DistGraph.open(options.parts, ctx)
        loader = gnnflow.DistLinkNeighborLoader(
            graph,
            "train",
            fanout=[10, 5],
            batch_size=options.batch_size,
            neg_sampling="binary",
            exclude_targets=True,
            num_epochs=options.epochs,
        )
        torch.manual_seed(0)
        model = gnnflow.wrap(SAGE([graph.num_features, 128, 64]), ctx)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)

        for epoch in range(options.epochs):
            model.train()
            for batch in loader:
                z = model(
                    batch.x, batch.edge_index, batch.num_sampled_nodes, batch.num_sampled_edges
                )
                src, dst = batch.edge_label_index
                scores = (z[src] * z[dst]).sum(dim=-1)
                loss = F.binary_cross_entropy_with_logits(scores, batch.edge_label)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            found = evaluate_links(model, graph, "val", num_negatives=100)
            if ctx.rank == 0:
                print(f"epoch {epoch + 1}: val MRR {found['mrr']:.4f}")
        found = evaluate_links(model, graph, "test", num_negatives=100)
        if ctx.rank == 0:
            print(", ".join(f"test {name} {value:.4f}" for name, value in found.items()))


if __name__ == "__main__":
    main()
