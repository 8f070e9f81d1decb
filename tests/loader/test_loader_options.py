"""Options of loaders: one record, by name or as a whole."""

import dataclasses
import inspect
import typing

import numpy as np
import pytest
import torch

from gnnflow.config import CacheConfig, PolicyConfig
from gnnflow.errors import ConfigError
from gnnflow.loader import DistLinkNeighborLoader, DistNeighborLoader, LoaderOptions
from gnnflow.loader.loader_options import LoaderKeywords, chosen_options
from gnnflow.loader.pyg_names import PygNames
from gnnflow.policies.auto import AutoPolicy
from gnnflow.prefetch import PolicyChoice

FIELDS = {field.name: field for field in dataclasses.fields(LoaderOptions)}
POSITIONAL = {"fanout", "batch_size"}
OF_POLICY = {"policy_options", "run_dir"}


def test_every_field_is_a_keyword_of_the_same_type():
    keywords = typing.get_type_hints(LoaderKeywords)
    own = {name: kind for name, kind in keywords.items() if name not in PygNames.__annotations__}
    fields = typing.get_type_hints(LoaderOptions)
    assert own.keys() == (fields.keys() - POSITIONAL) | OF_POLICY
    for name in fields.keys() - POSITIONAL:
        assert own[name] == fields[name], name


@pytest.mark.parametrize("loader", [DistNeighborLoader, DistLinkNeighborLoader])
def test_help_names_every_option_with_its_default(loader):
    shown = inspect.signature(loader).parameters
    for name, field in FIELDS.items():
        assert shown[name].default == field.default, name
    assert {*OF_POLICY, "options"} <= shown.keys()


@pytest.mark.parametrize("loader", [DistNeighborLoader, DistLinkNeighborLoader])
def test_the_documentation_names_every_option(loader):
    text = inspect.getdoc(DistNeighborLoader.__init__)
    for name in FIELDS.keys() | OF_POLICY:
        assert name in text, name


def test_names_count_before_options():
    options = LoaderOptions(batch_size=64, seed=3, fanout=[5], edge_ids=True)
    chosen = chosen_options(options, {"seed": 4, "num_workers": 2}, fanout=None, batch_size=32)
    assert chosen == dataclasses.replace(options, seed=4, batch_size=32)
    assert chosen_options(None, {}, fanout=None) == LoaderOptions()


def test_what_belongs_to_a_policy_goes_into_one_object():
    options = PolicyConfig(decide_every=3)
    chosen = chosen_options(None, {"policy": "auto", "policy_options": options, "run_dir": "runs"})
    assert chosen.policy == PolicyChoice("auto", options, "runs")
    assert chosen.policy_choice.config == dataclasses.replace(options, policy="auto")
    # Of an object that holds some of it already, the rest stays.
    again = chosen_options(chosen, {"run_dir": None})
    assert again.policy == PolicyChoice("auto", options)


def test_the_ways_to_name_a_policy():
    given = AutoPolicy()
    assert PolicyChoice("auto").name == PolicyChoice(PolicyConfig(policy="auto")).name == "auto"
    assert PolicyChoice(given).name == given.name
    assert PolicyChoice(given).given is given
    assert PolicyChoice("auto").given is None
    options = PolicyConfig(decide_every=2)
    assert PolicyChoice(given, options).config is options
    # Options with a name are whole.
    assert PolicyChoice(PolicyConfig(policy="bandit"), options).config.decide_every is None


def test_without_a_cache():
    assert LoaderOptions(cache=None).cache_config.scorer == "none"
    assert LoaderOptions(cache=None).prefetch_depth(4) == 0
    off = LoaderOptions(cache=CacheConfig(prefetch_depth=7), policy="none")
    assert (off.cache_config.scorer, off.prefetch_depth(1)) == ("none", 7)


def test_depth_follows_from_what_there_is_to_wait_for():
    assert LoaderOptions().prefetch_depth(1) == 0
    assert LoaderOptions().prefetch_depth(2) == 4
    assert LoaderOptions(device="cpu").prefetch_depth(1) == 0


def test_numbers_of_other_libraries():
    options = LoaderOptions(seed=np.int64(5), num_epochs=torch.tensor(3))
    assert type(options.seed) is int and options.seed == 5
    assert type(options.num_epochs) is int and options.num_epochs == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fanout": []}, "fanout needs a number for each hop"),
        ({"arrays": 5}, "arrays must be a list of names, got 5"),
        ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
        ({"num_epochs": -1}, "num_epochs must be at least 0, got -1"),
        ({"transform": 3}, "transform must be a function of a batch, got 3"),
        ({"device": "gpu"}, "device must be None, cpu or cuda"),
        ({"cache": 0.25}, "cache must be a CacheConfig, or None for no cache, got 0.25"),
        (
            {"cache": None, "policy": "auto"},
            "policy 'auto' steers the halo cache, which",
        ),
        ({"policy": "atuo"}, "atuo"),
        ({"policy": 5}, "policy must be a name, a PolicyConfig or an object"),
        ({"policy_options": {"decide_every": 3}}, "policy_options must be a PolicyConfig, got {"),
    ],
)
def test_what_is_wrong_is_said_without_a_graph(given, message):
    with pytest.raises(ConfigError, match=message):
        chosen_options(None, given)


def test_options_of_another_kind():
    with pytest.raises(ConfigError, match=r"options must be LoaderOptions, got \{"):
        chosen_options({"seed": 1}, {})
