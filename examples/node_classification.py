"""Trains a PyG model of your own on a partitioned graph, in one process or on many ranks.

    gnnflow-partition --dataset debian-packages --num-parts 4 --out parts
    mpiexec -n 4 python examples/node_classification.py parts --checkpoints saved

With one part no mpiexec is needed. Started again, it goes on after the last epoch that it saved.
Compared with a program for PyG's NeighborLoader on one process, the lines with gnnflow in them are
what is new.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv

import gnnflow
from gnnflow.training import Checkpoints, Position, TrainingState, evaluate


class Net(nn.Module):
    """GraphSAGE with a residual connection: any model will do.

    `num_layers` and `layer` are optional. With them gnnflow evaluates the model layer by layer
    over all neighbours, computing no vertex twice; without them `evaluate` takes minibatches.
    """

    num_layers = 2

    def __init__(self, num_features: int, hidden: int, num_classes: int) -> None:
        """Makes two convolutions and a way around the first."""
        super().__init__()
        self.convs = nn.ModuleList([SAGEConv(num_features, hidden), SAGEConv(hidden, num_classes)])
        self.skip = nn.Linear(num_features, hidden)

    def layer(self, index: int, x: tuple[Tensor, Tensor], edge_index: Tensor) -> Tensor:
        """Computes one layer from the rows of its sources and of its destinations."""
        out = self.convs[index](x, edge_index)
        if index == 1:
            return out
        return F.dropout((out + self.skip(x[1])).relu(), 0.5, self.training)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Computes all layers of a minibatch or of a whole graph."""
        for index in range(self.num_layers):
            x = self.layer(index, (x, x), edge_index)
        return x


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--checkpoints", help="folder to save in and to go on from")
    options = parser.parse_args()

    with gnnflow.init() as ctx:
        torch.set_num_threads(ctx.threads)
        graph = gnnflow.DistGraph.open(options.parts, ctx)
        # Rows of other ranks are cached and fetched ahead; cache=None would do without.
        loader = gnnflow.DistNeighborLoader(
            graph, seeds="train", fanout=[10, 10], batch_size=512, num_epochs=options.epochs
        )
        torch.manual_seed(0)
        model = gnnflow.wrap(Net(graph.num_features, 128, graph.num_classes), ctx)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        checkpoints, begin = None, Position()
        if options.checkpoints:
            state = TrainingState(
                graph=graph, model=model, loader=loader, shared={"optimizer": optimizer}
            )
            checkpoints = Checkpoints(options.checkpoints, state)
            resumed = checkpoints.resume()
            begin = resumed.position if resumed else begin

        for epoch in range(begin.epoch, options.epochs):
            model.train()
            loader.set_epoch(epoch)
            for batch in loader:
                out = model(batch.x, batch.edge_index)[: batch.batch_size]
                loss = F.cross_entropy(out, batch.y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            scores = evaluate(model, graph, ["val", "test"])
            if checkpoints is not None:
                checkpoints.save(epoch + 1, score=scores["val"])
            if ctx.rank == 0:
                print(f"epoch {epoch + 1}: val {scores['val']:.4f}, test {scores['test']:.4f}")


if __name__ == "__main__":
    main()
