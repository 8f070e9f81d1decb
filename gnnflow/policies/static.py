"""Policies that look at nothing: never replace, or replace at fixed intervals."""

from gnnflow.config import PolicyConfig
from gnnflow.policies.decision import Decision, RankInfo
from gnnflow.policies.observation import Observation


class NonePolicy:
    """Never replaces; runs leave the cache out altogether with it, as DistDGL does."""

    name = "none"

    def decide(self, observation: Observation) -> Decision:
        """Keeps still."""
        return Decision(replace=False)


class StaticPolicy:
    """Fills once, or replaces with every `period`-th minibatch."""

    name = "static"

    def __init__(self, period: int) -> None:
        """Sets the period in minibatches; 0 leaves the first fill as it is."""
        self._period = period

    def decide(self, observation: Observation) -> Decision:
        """Replaces when the period is over."""
        # A replacement comes with the minibatch after the observed one, the first of them with the
        # last minibatch of the first period.
        first = observation.minibatch + 2 == self._period
        over = observation.minibatches_since_replacement >= self._period
        return Decision(replace=self._period > 0 and (first or over))


def make_none(config: PolicyConfig, rank_info: RankInfo) -> NonePolicy:
    """Builds the policy `none`."""
    return NonePolicy()


def make_static(config: PolicyConfig, rank_info: RankInfo) -> StaticPolicy:
    """Builds the policy `static` with the period of the run's schedule."""
    return StaticPolicy(rank_info.period)
