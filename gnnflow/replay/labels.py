"""Situations with known better choices: the same cache state with and without a replacement."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.step import CacheCounts
from gnnflow.policies import (
    Decision,
    Observation,
    PolicyController,
    ReplacementPolicy,
    Steering,
)
from gnnflow.policies.auto import AutoPolicy
from gnnflow.policies.labelled_situations import Situation
from gnnflow.policies.static import StaticPolicy
from gnnflow.replay.policy_replay import run_facts, steered_decide
from gnnflow.replay.replay import Replay, ReplaySettings
from gnnflow.replay.trace import Trace


@dataclass(frozen=True, kw_only=True, slots=True)
class BothWays:
    """What the next minibatches cost with and without a replacement."""

    replaced: CacheCounts
    """With it."""

    kept: CacheCounts
    """Without."""

    @property
    def saved_rows(self) -> int:
        """Rows that replacing saves; negative if it costs."""
        return self.kept.rows_fetched - self.replaced.rows_fetched

    @property
    def hit_rate_change(self) -> float:
        """Hit rate with the replacement minus hit rate without."""
        return (self.replaced.hit_rate or 0.0) - (self.kept.hit_rate or 0.0)

    @property
    def volume_change(self) -> float:
        """Rows moved with the replacement over those moved without, minus 1."""
        return -self.saved_rows / max(self.kept.rows_fetched, 1)


class _Remembering:
    """Passes questions on and keeps the last one."""

    def __init__(self, policy: ReplacementPolicy) -> None:
        self.name = policy.name
        self._policy = policy
        self.observation: Observation | None = None

    def decide(self, observation: Observation) -> Decision:
        self.observation = observation
        return self._policy.decide(observation)


def try_both(trace: Trace, cache: HaloCache, minibatch: int, horizon: int) -> BothWays:
    """Replays the next minibatches from a cache's state, once replacing first and once not at all.

    Args:
        trace: what the rank asked for.
        cache: the cache before the minibatch; left as it is.
        minibatch: the minibatch with which a replacement would be carried out.
        horizon: minibatches to replay, as far as there are so many.
    """
    return BothWays(
        replaced=_continue(trace, cache, minibatch, horizon, replace=True),
        kept=_continue(trace, cache, minibatch, horizon, replace=False),
    )


class RandomPolicy:
    """Replaces at random, to see states of the cache that no sensible policy leads to."""

    name = "random"

    def __init__(self, share: float, seed: int) -> None:
        """Sets the share of questions answered with a replacement."""
        self._share = share
        self._generator = np.random.default_rng(seed)

    def decide(self, observation: Observation) -> Decision:
        """Throws a die."""
        return Decision(replace=bool(self._generator.random() < self._share))


def behaviours(seed: int) -> dict[str, ReplacementPolicy]:
    """Policies that together lead to caches of every kind: fresh, worn out, churned."""
    return {
        "rare": StaticPolicy(40),
        "often": StaticPolicy(12),
        "random-rare": RandomPolicy(0.04, seed),
        "random-often": RandomPolicy(0.25, seed),
        "auto": AutoPolicy(),
    }


def collect_situations(
    trace: Trace,
    settings: ReplaySettings,
    behaviour: ReplacementPolicy,
    *,
    group: str,
    horizon: int = 16,
    label_every: int = 4,
    window: int = 8,
) -> Iterator[Situation]:
    """Replays a trace and labels what its policy was asked about.

    Args:
        trace: what a rank asked for.
        settings: the cache.
        behaviour: decides in the replay, and so what states of the cache are seen.
        group: names graph and configuration.
        horizon: minibatches over which both ways are compared.
        label_every: minibatches between two labels; each costs twice `horizon` minibatches.
        window: minibatches of an observation's window.

    Yields:
        Situations in the order of the trace, those of its first window left out, and those in
        which both choices are equally good.
    """
    remembering = _Remembering(behaviour)
    steering = Steering(
        PolicyController(lambda: remembering, mode="sync", timeout_s=None),
        run_facts(trace, settings),
        rank=trace.facts.rank,
        window=window,
    )
    decide = steered_decide(trace, settings, steering)
    run = Replay(trace, settings, decide.transfer)
    for minibatch in range(trace.num_minibatches):
        run.announce(minibatch)
        fraction = decide(run.cache, minibatch)
        observation = remembering.observation
        if observation is not None and minibatch >= window and minibatch % label_every == 0:
            both = try_both(trace, run.cache, minibatch, horizon)
            if both.saved_rows != 0:
                yield Situation(
                    observation=observation,
                    saved_rows=both.saved_rows,
                    horizon=min(horizon, trace.num_minibatches - minibatch),
                    group=group,
                    hit_rate_change=both.hit_rate_change,
                    volume_change=both.volume_change,
                )
        run.step(minibatch, fraction)
    steering.close()


def _continue(
    trace: Trace, cache: HaloCache, minibatch: int, horizon: int, *, replace: bool
) -> CacheCounts:
    twin = cache.books()
    for number in range(minibatch, min(minibatch + horizon, trace.num_minibatches)):
        twin.commit(twin.plan(trace.ids(number), replace=replace and number == minibatch))
    return twin.counts - cache.counts
