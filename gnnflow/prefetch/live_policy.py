"""A policy at work in a run: one rank's steering, from the options to what a checkpoint holds."""

import dataclasses
import reprlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.scorers import ReplacementScorer
from gnnflow.cache.steered import SteeredDecide
from gnnflow.cache.transfer import every
from gnnflow.config import PolicyConfig
from gnnflow.errors import ConfigError, GnnflowError
from gnnflow.features.wire import WIRE_DTYPES
from gnnflow.graph import DistGraph
from gnnflow.policies import (
    DecisionStatistics,
    RankInfo,
    ReplacementPolicy,
    RunFacts,
    Steering,
    check_policy_name,
    start_steering,
)
from gnnflow.prefetch.cache_setup import CacheSetup
from gnnflow.prefetch.cached_rows import CachedRows

Policy = str | PolicyConfig | ReplacementPolicy
"""How a policy is named: by its name, with its options, or as an object."""


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """Who decides when rows of the halo cache are replaced, and all that belongs to it."""

    policy: Policy = "static"
    """Name, options or object; ranks may have different objects."""
    options: PolicyConfig | None = None
    """How a policy that is given by name or as an object is asked."""
    run_dir: Path | str | None = None
    """Folder where the policy writes its decisions; None writes none."""

    def __post_init__(self) -> None:
        """Checks that there is such a policy.

        Raises:
            ConfigError: if there is none, or the options are none.
        """
        if self.options is not None and not isinstance(self.options, PolicyConfig):
            raise ConfigError(
                f"policy_options must be a PolicyConfig, got {reprlib.repr(self.options)}"
            )
        if isinstance(self.policy, str | PolicyConfig):
            check_policy_name(self.name)
        elif not callable(getattr(self.policy, "decide", None)) or not hasattr(self.policy, "name"):
            raise ConfigError(
                "policy must be a name, a PolicyConfig or an object with 'name' and 'decide', got "
                f"{reprlib.repr(self.policy)}"
            )

    @property
    def name(self) -> str:
        """Name of the policy."""
        if isinstance(self.policy, str):
            return self.policy
        return self.policy.policy if isinstance(self.policy, PolicyConfig) else self.policy.name

    @property
    def config(self) -> PolicyConfig:
        """How the policy is asked; its name counts unless an object was given."""
        if isinstance(self.policy, PolicyConfig):
            return self.policy
        options = self.options or PolicyConfig()
        if isinstance(self.policy, str):
            return dataclasses.replace(options, policy=self.policy)
        return options

    @property
    def given(self) -> ReplacementPolicy | None:
        """The policy itself, if it was given."""
        return None if isinstance(self.policy, str | PolicyConfig) else self.policy


class LivePolicy:
    """The policy that steers the halo cache of a rank while it trains."""

    def __init__(self, name: str, steering: Steering, facts: RunFacts) -> None:
        """Joins the parts; `start_live_policy` makes them."""
        self.name = name
        """Name of the policy."""
        self._steering = steering
        self._facts = facts

    @property
    def bounds(self) -> dict[str, Any]:
        """Within what the policy may change how rows travel; a trace holds it for replays."""
        facts = self._facts
        return {
            "max_lookahead": facts.max_lookahead,
            "max_exchange_every": facts.max_exchange_every,
            "wire_dtypes": list(facts.wire_dtypes),
        }

    @property
    def statistics(self) -> DecisionStatistics:
        """What was decided so far; complete after `close`."""
        return self._steering.statistics

    @property
    def log_problem(self) -> GnnflowError | None:
        """Why decisions are missing in the log, if any are; known after `close`."""
        return self._steering.log_problem

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint of this rank has to hold: name and state of the policy, as JSON."""
        return {"policy": self.name, "state": self._steering.policy_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on with what `state_dict` gave; a policy of another name starts anew."""
        if state["policy"] == self.name and state["state"] is not None:
            self._steering.load_policy_state(state["state"])

    def close(self) -> None:
        """Ends the policy and what it holds, and writes the decisions still being measured."""
        self._steering.close()


class _LiveMinibatches:
    """What the cache of a run has just planned."""

    def __init__(self, rows: CachedRows) -> None:
        self._rows = rows

    def ids(self, minibatch: int) -> npt.NDArray[np.int64]:
        return self._rows.latest_ids

    def times(self, minibatch: int) -> tuple[float, float]:
        return self._rows.known_s


def start_live_policy(
    choice: PolicyChoice,
    graph: DistGraph,
    setup: CacheSetup,
    *,
    scorer: str,
    period: int,
    num_minibatches: int,
    seed: int = 0,
) -> LivePolicy | None:
    """Lets a policy decide when rows of a halo cache are replaced; all ranks call this.

    Args:
        choice: Who decides.
        graph: The graph.
        setup: The cache; its `rows` are steered from now on.
        scorer: Name of the scorer that orders the rows.
        period: Minibatches between two replacements of the schedule that `static` stands for, and
            that goes on while no policy decides.
        num_minibatches: Minibatches of this rank in the whole run.
        seed: Seed of the run.

    Returns:
        The policy at work; None where there is nothing to decide: no rank has a cache, or the
        schedule over a scorer that keeps what arrives.
    """
    config, name = choice.config, choice.name
    cache = setup.rows.cache
    # A name for what the ranks of a machine share; agreed on before any rank goes its own way.
    job = graph.ctx.broadcast_json(uuid.uuid4().hex if graph.ctx.rank == 0 else None)
    keeps_arrivals = cache is not None and not isinstance(cache.scorer, ReplacementScorer)
    if cache is None or (name == "static" and keeps_arrivals):
        return None
    ctx = graph.ctx
    facts = _facts(graph, setup, cache, config, scorer=scorer, num_minibatches=num_minibatches)
    info = RankInfo(
        rank=ctx.rank,
        num_ranks=ctx.num_ranks,
        host_rank=ctx.host_rank,
        ranks_on_host=len(ctx.ranks_on_host),
        job=f"{job}-{ctx.hosts.host_of[ctx.rank]}",
        seed=seed,
        run_dir=None if choice.run_dir is None else Path(choice.run_dir),
        period=period,
    )
    steering = start_steering(config, facts, info, choice.given)
    setup.rows.decide = SteeredDecide(
        steering,
        _LiveMinibatches(setup.rows),
        transfer=setup.rows.transfer,
        schedule=every(period),
    )
    return LivePolicy(name, steering, facts)


def _facts(
    graph: DistGraph,
    setup: CacheSetup,
    cache: HaloCache,
    config: PolicyConfig,
    *,
    scorer: str,
    num_minibatches: int,
) -> RunFacts:
    """What the policy is told of the run, the bounds of what it may set included."""
    return RunFacts(
        scorer=scorer,
        num_parts=graph.ctx.num_ranks,
        graph_vertices=graph.num_vertices,
        graph_edges=graph.num_edges,
        part_vertices=graph.partition.num_vertices,
        halo_vertices=len(setup.halo.vertices),
        cache_rows=setup.capacity,
        row_bytes=setup.rows.store.wire_row_bytes,
        num_minibatches=num_minibatches,
        free_admission=not isinstance(cache.scorer, ReplacementScorer),
        max_lookahead=config.steer_lookahead if cache.scorer.looks_ahead else 0,
        max_exchange_every=max(config.steer_exchange_every, setup.rows.transfer.exchange_every),
        wire_dtypes=_wire_dtypes(setup.rows, config),
    )


def _wire_dtypes(rows: CachedRows, config: PolicyConfig) -> tuple[str, ...]:
    """Types in which the policy may let rows travel: the run's own, then shorter ones."""
    own, shortest = rows.transfer.wire_dtype, config.steer_wire
    allowed = [] if shortest is None else WIRE_DTYPES[: WIRE_DTYPES.index(shortest) + 1]
    shorter = [name for name in allowed if WIRE_DTYPES.index(name) > WIRE_DTYPES.index(own)]
    return (own, *(name for name in shorter if rows.store.wire_for(name) is not None))
