"""Policies that look at nothing: never replace, or replace at fixed intervals."""

from gnnflow.config import PolicyConfig
from gnnflow.policies.decision import Decision, RankInfo
from gnnflow.policies.observation import Observation


class NonePolicy:
    """Never replaces; with it the cache is left out altogether, as in DistDGL."""

    name = "none"

    def decide(self, observation: Observation) -> Decision:
        """Keeps still."""
        return Decision(replace=False)


class StaticPolicy:
    """Fills once, or replaces every `period` minibatches."""

    name = "static"

    def __init__(self, period: int) -> None:
        """Sets the period in minibatches; 0 leaves the first fill as it is."""
        self._period = period

    def decide(self, observation: Observation) -> Decision:
        """Replaces when the period is over."""
        due = self._period > 0 and observation.minibatches_since_replacement >= self._period
        return Decision(replace=due)


def make_none(config: PolicyConfig, rank_info: RankInfo) -> NonePolicy:
    """Builds the policy `none`."""
    return NonePolicy()


def make_static(config: PolicyConfig, rank_info: RankInfo) -> StaticPolicy:
    """Builds the policy `static` with the period of a config."""
    return StaticPolicy(config.period)
