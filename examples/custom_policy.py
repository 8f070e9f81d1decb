"""A replacement policy of one's own, in thirty lines, steering a run.

    gnnflow-partition --dataset debian-packages --num-parts 4 --out parts
    mpiexec -n 4 python examples/custom_policy.py parts

It replaces once the hit rate has fallen clearly below its best, and waits a while after that. To
use it with `gnnflow-train PARTS --policy watchful`, name `make_watchful` in the entry points of
your package:

    [project.entry-points."gnnflow.policies"]
    watchful = "my_package.watchful:make_watchful"
"""

import argparse

import torch.nn.functional as F
from torch.optim import Adam
from torch_geometric.nn import GraphSAGE

import gnnflow
from gnnflow.config import CacheConfig, PolicyConfig
from gnnflow.policies import Decision, Observation, RankInfo


class WatchfulPolicy:
    """Replaces when the hit rate has dropped and the last replacement is a while ago."""

    name = "watchful"

    def __init__(self, drop: float = 0.05, rest: int = 10) -> None:
        """Sets the drop of the hit rate and the minibatches of rest."""
        self._drop = drop
        self._rest = rest
        self._best = 0.0

    def decide(self, observation: Observation) -> Decision:
        """Compares the hit rate with its best since the last replacement."""
        self._best = max(self._best, observation.hit_rate)
        lost = self._best - observation.hit_rate
        rested = observation.minibatches_since_replacement >= self._rest
        starting = observation.state.occupied_rows < observation.facts.cache_rows
        replace = (lost > self._drop or starting) and rested
        if replace:
            self._best = 0.0
        return Decision(replace=replace, explanation=f"{lost:.0%} below the best hit rate")


def make_watchful(config: PolicyConfig, rank_info: RankInfo) -> WatchfulPolicy:
    """Builds the policy; what the entry point names."""
    return WatchfulPolicy()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()

    # Every rank counts as a machine of its own, so that there is something to fetch and to cache.
    with gnnflow.init(transport="alltoall") as ctx:
        graph = gnnflow.DistGraph.open(options.parts, ctx)
        loader = gnnflow.DistNeighborLoader(
            graph,
            fanout=[10, 10],
            cache=CacheConfig(scorer="decay"),
            num_epochs=options.epochs,
            policy=WatchfulPolicy(),
        )
        model = gnnflow.wrap(GraphSAGE(graph.num_features, 64, 2, graph.num_classes), ctx)
        optimizer = Adam(model.parameters(), lr=0.01)
        for _ in range(options.epochs):
            for batch in loader:
                out = model(batch.x, batch.edge_index)[: batch.batch_size]
                optimizer.zero_grad()
                F.cross_entropy(out, batch.y).backward()
                optimizer.step()
        loader.finish()
        if ctx.rank == 0 and loader.policy is not None:
            figures = loader.policy.statistics.summary()
            print(f"{figures['decisions']} decisions, {figures['replacements']} replacements")


if __name__ == "__main__":
    main()
