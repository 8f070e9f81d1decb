"""What users of PyG give a loader, in whatever form, is understood or refused by name."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch_geometric.sampler import NegativeSampling

from gnnflow.errors import ConfigError, DataError
from gnnflow.loader.arguments import (
    as_device,
    as_fanout,
    as_labels,
    as_names,
    as_negatives,
    as_seeds,
    as_whole_number,
)


@pytest.mark.parametrize(
    "value",
    [
        [10, 5],
        (10, 5),
        "10,5",
        "10, 5",
        np.array([10, 5]),
        torch.tensor([10, 5]),
        [np.int32(10), 5],
    ],
)
def test_fanouts_that_are_the_same(value):
    assert as_fanout(value) == (10, 5)


def test_a_number_is_one_hop():
    assert as_fanout(5) == as_fanout(np.int64(5)) == as_fanout(torch.tensor(5)) == (5,)
    assert as_fanout(-1) == as_fanout("-1") == (-1,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("train", "fanout needs a whole number for each hop.*got 'train'.*name them"),
        (torch.tensor([True, False]), "got tensor.*name them"),
        ([2.5], r"got \[2.5\]"),
        (10.0, "got 10.0"),
        (True, "got True"),
        (None, "got None"),
        ({("a", "b", "c"): [5]}, "must be one list for all edges"),
        ([], r"for each hop, at least 1 or -1.*got \[\]"),
        ("", "got ''"),
        ([5, 0], r"got \[5, 0\]"),
        (-2, r"got \[-2\]"),
    ],
)
def test_fanouts_that_are_none(value, message):
    with pytest.raises(ConfigError, match=message):
        as_fanout(value)


def test_whole_numbers():
    for value in (7, np.int16(7), np.array(7), torch.tensor(7), torch.tensor([7])):
        assert as_whole_number("batch_size", value, least=1) == 7
    for value in (2.5, 7.0, "7", True, None, np.float32(7), torch.tensor([7, 7]), [7]):
        with pytest.raises(ConfigError, match="^batch_size must be a whole number, got"):
            as_whole_number("batch_size", value)
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
        as_whole_number("batch_size", torch.tensor(0), least=1)


@pytest.fixture
def part():
    """Rank 1 of a job: it has the vertices 3, 4, 5 of six, which the input calls 0, 2, 5."""
    return SimpleNamespace(
        ctx=SimpleNamespace(rank=1),
        book=SimpleNamespace(range=lambda rank: (3, 6)),
        partition=SimpleNamespace(original_id=np.array([0, 2, 5])),
        num_vertices=6,
        path="parts",
        splits={"train": np.array([4])},
    )


def test_seeds(part):
    assert as_seeds(part, "train").tolist() == [4]
    assert as_seeds(part, None).tolist() == [3, 4, 5]
    assert as_seeds(part, torch.tensor([5, 0])).tolist() == [5, 0]
    of_all = torch.tensor([True, True, False, True, False, True])
    for mask in (of_all, of_all.numpy(), of_all.tolist()):
        assert as_seeds(part, mask).tolist() == [3, 5]
    assert as_seeds(part, torch.tensor([False, True, True])).tolist() == [4, 5]
    with pytest.raises(DataError, match=r"mask of shape \[4\].* 6 vertices of the graph.* 3 of"):
        as_seeds(part, np.zeros(4, dtype=bool))
    with pytest.raises(DataError, match="no split 'val'; it has: train"):
        as_seeds(part, "val")
    with pytest.raises(DataError, match="seeds must be an array, a tensor or a list of numbers"):
        as_seeds(part, ("paper", of_all))


def test_names_and_devices():
    assert as_names("arrays", "half") == as_names("arrays", ["half"]) == ("half",)
    for value in (None, [1], 5):
        with pytest.raises(ConfigError, match="arrays must be a list of names, got"):
            as_names("arrays", value)
    assert as_device("cpu") == torch.device("cpu") and as_device(None) is None
    with pytest.raises(ConfigError, match="device must be None, cpu or cuda, got 'gpu'"):
        as_device("gpu")


def test_negatives_as_pyg_takes_them():
    one = NegativeSampling("binary", 2)
    for sampling, ratio in ((one, None), (one, 0.0), (("binary", 2), None), (None, 2)):
        assert as_negatives(sampling, ratio) == one
    same = as_negatives({"mode": "binary", "amount": 2}, None)
    assert same == as_negatives(None, torch.tensor(2)) == as_negatives(None, np.float32(2)) == one
    assert as_negatives(None, None) is None is as_negatives(None, 0)
    for sampling, ratio, message in (
        (None, float("nan"), "neg_sampling_ratio must be a finite number, got nan"),
        (None, float("inf"), "got inf"),
        (None, "2", "neg_sampling_ratio must be a number, got '2'"),
        (5, None, "neg_sampling is 'binary' or 'triplet'"),
        ({"kind": "binary"}, None, "neg_sampling is 'binary' or 'triplet'"),
        ("binary", 2, "not both"),
    ):
        with pytest.raises(ConfigError, match=message):
            as_negatives(sampling, ratio)


def test_labels():
    assert as_labels([0.5, 1]).tolist() == [0.5, 1.0]
    with pytest.raises(DataError, match="edge_label must hold a number for each edge"):
        as_labels(["friend"])
