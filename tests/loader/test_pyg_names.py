"""Loaders take every parameter of PyG's, by its name, or say why not."""

import inspect
import logging
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader
from torch_geometric.loader import LinkNeighborLoader, NeighborLoader

from gnnflow.errors import ConfigError
from gnnflow.loader import DistLinkNeighborLoader, DistNeighborLoader
from gnnflow.loader.pyg_names import PygNames, take_pyg_names

CTX = SimpleNamespace(rank=0)


def names_of(loader):
    return set(inspect.signature(loader).parameters)


def take(**names):
    own = inspect.signature(DistNeighborLoader).parameters
    return take_pyg_names(names, CTX, own, num_neighbors=("fanout", (10,), (10,)))


def test_both_loaders_have_the_same_options():
    about_seeds = {"seeds"}
    about_edges = {"edge_label_index", "edge_label", "neg_sampling", "neg_sampling_ratio"}
    about_edges |= {"exclude_targets"}
    one, other = names_of(DistNeighborLoader), names_of(DistLinkNeighborLoader)
    assert one - other == about_seeds and other - one == about_edges
    ours = inspect.signature(DistNeighborLoader).parameters
    theirs = inspect.signature(DistLinkNeighborLoader).parameters
    for name in one & other:
        assert (ours[name].default, ours[name].annotation) == (
            theirs[name].default,
            theirs[name].annotation,
        ), name


@pytest.mark.parametrize("loader", [NeighborLoader, LinkNeighborLoader, DataLoader])
def test_every_parameter_of_pyg_is_known(loader):
    known = names_of(DistNeighborLoader) | names_of(DistLinkNeighborLoader)
    known |= set(PygNames.__annotations__) | {"data", "dataset", "kwargs"}
    assert names_of(loader) <= known


def test_defaults_of_pyg_are_taken_in_silence(caplog):
    defaults = {
        name: parameter.default
        for loader in (NeighborLoader, LinkNeighborLoader, DataLoader)
        for name, parameter in inspect.signature(loader).parameters.items()
        if name in PygNames.__annotations__ and parameter.default is not parameter.empty
    }
    assert len(defaults) > 20
    del defaults["input_nodes"]  # another loader's
    assert take(**defaults) == [(10,)]
    assert not caplog.records


def test_what_processes_need_is_ignored_and_said_once(caplog):
    with caplog.at_level(logging.WARNING):
        assert take(num_workers=4, persistent_workers=True, prefetch_factor=2, timeout=0)
    [record] = caplog.records
    words = "num_workers=4, persistent_workers=True, prefetch_factor=2 ignored: threads make"
    assert record.getMessage().startswith(words)


def test_another_name():
    assert take(num_neighbors=[5]) == [[5]]
    with pytest.raises(ConfigError, match="num_neighbors is PyG's name for fanout: give one"):
        take_pyg_names({"num_neighbors": [5]}, CTX, (), num_neighbors=("fanout", [3], (10, 25)))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"drop_last": True}, "drop_last=True has no meaning here: seeds are spread evenly"),
        ({"directed": False}, "directed=False has no meaning here"),
        ({"disjoint": True}, "disjoint=True has no meaning here: seeds share"),
        ({"subgraph_type": "induced"}, "subgraph_type='induced' has no meaning"),
        ({"temporal_strategy": "last"}, "temporal_strategy='last' has no meaning"),
        ({"time_attr": "time"}, "time_attr='time' has no meaning"),
        ({"input_time": torch.ones(3)}, "input_time=tensor.* has no meaning"),
        ({"collate_fn": list}, "transform= changes each of them"),
        ({"batch_sampler": [[0]]}, "a function of seed=, or comes in a SeedSchedule"),
        ({"num_neighbours": [5]}, "no parameter 'num_neighbours'; did you mean 'num_neighbors'"),
        ({"fanouts": [5]}, "no parameter 'fanouts'; did you mean 'fanout'"),
        ({"qqq": 1}, "no parameter 'qqq'; it has: graph, seeds, fanout"),
    ],
)
def test_what_has_no_meaning_is_named(names, message):
    with pytest.raises(ConfigError, match=message):
        take(**names)
