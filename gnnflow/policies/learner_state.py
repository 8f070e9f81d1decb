"""What a policy has learnt on the features of observations, for checkpoints, with their version."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.errors import DataError
from gnnflow.policies.observation_features import FEATURE_VERSION

Arrays = Mapping[str, NDArray[np.float64]]


def learner_state(arrays: Arrays) -> dict[str, Any]:
    """Returns arrays by name as JSON values, beside the version of the features."""
    lists = {name: array.tolist() for name, array in arrays.items()}
    return {"feature_version": FEATURE_VERSION, **lists}


def load_learner_state(
    state: Mapping[str, Any], now: Arrays, learner: str
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
