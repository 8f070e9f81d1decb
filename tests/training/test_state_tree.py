"""States turned into JSON and tensors and back."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import torch as safetensors

from gnnflow.errors import CheckpointError
from gnnflow.training.checkpoints.state_tree import pack, unpack


def through_files(state):
    tensors = {}
    text = json.dumps(pack(state, "state", tensors), allow_nan=False)
    return unpack(json.loads(text), safetensors.load(safetensors.save(tensors)))


def same(left, right):
    if type(left) is not type(right):
        return False
    if isinstance(left, torch.Tensor | np.ndarray):
        return left.dtype == right.dtype and np.array_equal(np.asarray(left), np.asarray(right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right or (left != left and right != right)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.integers(0, 3).map(lambda size: torch.arange(size) + 0.5)
    | st.integers(0, 3).map(lambda size: np.arange(2 * size, dtype=np.int16).reshape(2, size))
)
KEYS = st.text() | st.sampled_from(["$", "name", "items"]) | st.integers() | st.floats(0, 1)
STATES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=12,
)


@given(STATES)
def test_states_come_back_as_they_were(state):
    assert same(through_files(state), state)


def test_what_optimizers_and_schedules_keep():
    weights = [torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.zeros(1))]
    optimizer = torch.optim.Adam(weights, lr=0.1)
    sum(weight.sum() for weight in weights).backward()
    optimizer.step()
    assert same(through_files(optimizer.state_dict()), optimizer.state_dict())
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer).state_dict()
    assert through_files(plateau) == plateau and math.isinf(plateau["best"])
    steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 2, 5]).state_dict()
    assert through_files(steps) == {**steps, "milestones": dict(steps["milestones"])}


def test_tensors_may_share_memory_and_be_strided():
    base = torch.arange(6.0).reshape(2, 3)
    state = {"all": base, "again": base, "column": base[:, 1], "turned": base.T}
    back = through_files(state)
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_names_that_read_alike():
    state = {"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}, 1: {"1": torch.ones(2)}, "1.1": 0}
    assert same(through_files(state), state)


@pytest.mark.parametrize("value", [object(), {1, 2}, len, np.array(["word"]), b"bytes"])
def test_nothing_else_is_saved(value):
    with pytest.raises(CheckpointError, match=r"cannot hold 'state\.inner\.0', a"):
        pack({"inner": [value]}, "state", {})
