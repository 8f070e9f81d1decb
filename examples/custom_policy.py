"""A replacement policy of one's own, in thirty lines.

It replaces once the hit rate has fallen clearly below its best, and waits a while after that.

    python examples/custom_policy.py

shows what it decides for a hit rate that falls. To train with it, name it in the entry points of
your package and install that:

    [project.entry-points."gnnflow.policies"]
    watchful = "my_package.watchful:make_watchful"

after which `gnnflow-train PARTS --policy watchful` finds it.
"""

from gnnflow.config import PolicyConfig
from gnnflow.policies import CacheState, Decision, Observation, RankInfo, RunFacts, Window


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
        replace = lost > self._drop and rested
        if replace:
            self._best = 0.0
        return Decision(replace=replace, explanation=f"{lost:.0%} below the best hit rate")


def make_watchful(config: PolicyConfig, rank_info: RankInfo) -> WatchfulPolicy:
    """Builds the policy; what the entry point names."""
    return WatchfulPolicy()


def main() -> None:
    policy = make_watchful(PolicyConfig(), RankInfo())
    for minibatch, hit_rate in enumerate([0.60, 0.62, 0.59, 0.55, 0.50], start=20):
        decision = policy.decide(observe(minibatch, hit_rate))
        print(minibatch, "replace" if decision.replace else "keep", f"({decision.explanation})")


def observe(minibatch: int, hit_rate: float) -> Observation:
    """An observation as the cache would make it, with a hit rate of our choice."""
    return Observation(
        rank=0,
        minibatch=minibatch,
        minibatches_since_replacement=minibatch,
        facts=RunFacts(
            scorer="decay",
            num_parts=4,
            graph_vertices=63_436,
            graph_edges=664_632,
            part_vertices=15_859,
            halo_vertices=8_096,
            cache_rows=2_024,
            row_bytes=512,
            num_minibatches=200,
        ),
        window=Window(minibatches=8, remote_rows=32_000, hit_rows=round(32_000 * hit_rate)),
        before=Window(),
        state=CacheState(
            occupied_rows=2_024,
            stale_rows=300,
            candidate_rows=5_000,
            incoming_rows=300,
            outgoing_rows=300,
            incoming_uses=0.4,
            outgoing_uses=0.0,
        ),
    )


if __name__ == "__main__":
    main()
