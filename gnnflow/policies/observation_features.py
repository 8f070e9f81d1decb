"""An observation as a short vector of ratios and rates.

Classifiers, the bandit, the rule and the language model's prompt all look at a run through these
numbers. None of them is a size: what was learnt on one graph carries over to another. What a
policy has learnt on them goes into checkpoints with their version.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.errors import DataError
from gnnflow.policies.observation import Observation

FEATURE_VERSION = 1
"""Raised whenever a name, its meaning or the order changes; saved models carry it."""

FEATURE_NAMES: tuple[str, ...] = (
    "hit_rate",
    "hit_rate_change",
    "occupancy",
    "stale_share",
    "candidate_share",
    "incoming_share",
    "miss_share",
    "fill_share",
    "replacement_cost",
    "incoming_uses",
    "outgoing_uses",
    "expected_gain",
    "payback_share",
    "minibatches_since_replacement",
    "remaining_minibatches",
    "remaining_share",
    "stall_share",
    "cache_share",
    "halo_share",
    "last_hit_rate_change",
    "last_volume_change",
)

GAIN_HORIZON = 16
"""Minibatches over which `expected_gain` looks ahead."""

_CAP = 10.0
LearntArrays = Mapping[str, NDArray[np.float64]]
"""What a policy has learnt on the features, by name."""


def feature_values(observation: Observation) -> dict[str, float]:
    """The ratios and rates of an observation by name, in the order of `FEATURE_NAMES`.

    All values are finite. Ratios that can explode are cut off at 10; counts of minibatches are
    `log(1 + count)`.
    """
    facts, window, state = observation.facts, observation.window, observation.state
    minibatches = max(window.minibatches, 1)
    missed = window.missed_rows / minibatches
    cache_rows = max(facts.cache_rows, 1)
    replaced = [past for past in observation.history if past.replace]
    horizon = min(GAIN_HORIZON, observation.remaining_minibatches)
    values = (
        observation.hit_rate,
        observation.hit_rate_change,
        _capped(state.occupied_rows / cache_rows),
        _capped(state.stale_rows / cache_rows),
        _capped(state.candidate_rows / cache_rows),
        _capped(state.incoming_rows / cache_rows),
        _capped(missed / cache_rows),
        _capped(window.filled_rows / max(window.remote_rows, 1)),
        _capped(state.incoming_rows / max(missed, 1.0)),
        _capped(state.incoming_uses),
        _capped(state.outgoing_uses),
        _capped(expected_saving(observation, horizon) / max(missed * max(horizon, 1), 1.0)),
        _capped(_payback_minibatches(observation) / max(observation.remaining_minibatches, 1)),
        math.log1p(observation.minibatches_since_replacement),
        math.log1p(observation.remaining_minibatches),
        observation.remaining_minibatches / max(facts.num_minibatches, 1),
        min(window.stall_s / window.elapsed_s, 1.0) if window.elapsed_s > 0 else 0.0,
        _capped(cache_rows / max(facts.halo_vertices, 1)),
        _capped(facts.halo_vertices / max(facts.part_vertices, 1)),
        replaced[-1].hit_rate_change if replaced else 0.0,
        _capped(replaced[-1].volume_change) if replaced else 0.0,
    )
    return dict(zip(FEATURE_NAMES, values, strict=True))


def features(observation: Observation) -> NDArray[np.float64]:
    """The ratios and rates of an observation, float64 `[num_features]`."""
    return np.array(list(feature_values(observation).values()), dtype=np.float64)


def gain_per_minibatch(observation: Observation) -> float:
    """Rows per minibatch that a replacement would save if past use were to go on."""
    state = observation.state
    return state.incoming_rows * state.incoming_uses - state.outgoing_rows * state.outgoing_uses


def expected_saving(observation: Observation, minibatches: int) -> float:
    """Rows that a replacement would save within some minibatches, its own cost taken off.

    Negative: it would cost more than it brings.
    """
    return gain_per_minibatch(observation) * minibatches - observation.state.incoming_rows


def expected_return(observation: Observation) -> float:
    """Fetches that a replacement would avoid for each row that it fetches, if past use goes on.

    Over `GAIN_HORIZON` minibatches, or those that are left; within [-10, 10], 0 if there is nothing
    to fetch.
    """
    cost = observation.state.incoming_rows
    minibatches = min(GAIN_HORIZON, observation.remaining_minibatches)
    return _capped(gain_per_minibatch(observation) * minibatches / cost) if cost else 0.0


def learner_state(arrays: LearntArrays) -> dict[str, Any]:
    """Returns arrays by name as JSON values, beside the version of the features."""
    lists = {name: array.tolist() for name, array in arrays.items()}
    return {"feature_version": FEATURE_VERSION, **lists}


def load_learner_state(
    state: Mapping[str, Any], now: LearntArrays, learner: str
) -> dict[str, NDArray[np.float64]]:
    """Returns the arrays of a state that `learner_state` made.

    Args:
        state: what a checkpoint holds, other values beside them allowed.
        now: the arrays of a learner that knows nothing, for names and shapes.
        learner: whose state it is, for errors.

    Raises:
        DataError: if it was learnt on other features.
    """
    is_known = state["feature_version"] == FEATURE_VERSION
    if not is_known or any(np.shape(state[name]) != array.shape for name, array in now.items()):
        raise DataError(
            f"the {learner}'s state has features of version {state['feature_version']}, "
            f"this is version {FEATURE_VERSION}; it starts anew"
        )
    return {name: np.array(state[name], dtype=np.float64) for name in now}


def _payback_minibatches(observation: Observation) -> float:
    """Minibatches after which a replacement has earned what it cost, if past use were to go on."""
    gain, cost = gain_per_minibatch(observation), observation.state.incoming_rows
    if cost == 0:
        return 0.0
    return cost / gain if gain > 0 else math.inf


def _capped(value: float) -> float:
    return max(-_CAP, min(value, _CAP))
