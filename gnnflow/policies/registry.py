"""Policies by name: those of gnnflow and those that other packages register."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from gnnflow.config import PolicyConfig
from gnnflow.errors import ConfigError, did_you_mean
from gnnflow.policies.decision import PolicyError, RankInfo, ReplacementPolicy

PolicyFactory = Callable[[PolicyConfig, RankInfo], ReplacementPolicy]
"""Builds the policy of one rank; what an entry point of the group `gnnflow.policies` names."""

ENTRY_POINT_GROUP = "gnnflow.policies"

_OWN = {
    "auto": "gnnflow.policies.auto:make_auto",
    "bandit": "gnnflow.policies.bandit:make_bandit",
    "classifier": "gnnflow.policies.classifier.classifier_policy:make_classifier_policy",
    "llm": "gnnflow.policies.llm.llm_policy:make_llm",
    "none": "gnnflow.policies.static:make_none",
    "static": "gnnflow.policies.static:make_static",
}

_ABOUT = {
    "auto": "a rule that predicts what a replacement saves and corrects itself by what it did save",
    "bandit": "learns during the run what replacing is worth in which situation",
    "classifier": "a small model trained on replayed situations says which choice is better",
    "llm": "a language model on this machine, or a server's, is asked in words",
    "none": "no cache: every remote row is fetched, as DistDGL does",
    "static": "replaces every period minibatches, whatever happens; the default",
}


def known_policies() -> list[str]:
    """Names that `make_policy` knows, sorted: gnnflow's own and those of installed packages."""
    return sorted({*_OWN, *_third_party()})


def describe_policy(name: str) -> str:
    """One line about a policy that `known_policies` names; imports nothing of what is behind it."""
    if name in _ABOUT:
        return _ABOUT[name]
    entry = _third_party()[name]
    package = entry.dist.name if entry.dist is not None else entry.module
    return f"of the package {package} ({entry.value})"


def check_policy_name(name: str) -> None:
    """Checks a name without importing what is behind it.

    Raises:
        ConfigError: if no policy has that name; lists those there are.
    """
    known = known_policies()
    if name not in known:
        hint = did_you_mean(name, known)
        raise ConfigError(f"unknown policy '{name}', known are {', '.join(known)}{hint}")


def make_policy(config: PolicyConfig, rank_info: RankInfo) -> ReplacementPolicy:
    """Builds the policy that a config names.

    Raises:
        ConfigError: if no policy has that name, or an option does not suit it.
        MissingExtraError: if the policy needs a package that is not installed.
        PolicyError: if a registered policy cannot be imported, or lacks `name` or `decide`.
    """
    check_policy_name(config.policy)
    policy = _load_factory(config.policy)(config, rank_info)
    if not isinstance(policy, ReplacementPolicy):
        raise PolicyError(
            f"policy '{config.policy}' must have 'name' and 'decide', "
            f"got a {type(policy).__name__} without"
        )
    return policy


def _load_factory(name: str) -> PolicyFactory:
    if name in _OWN:
        module, attribute = _OWN[name].split(":")
        factory: PolicyFactory = getattr(import_module(module), attribute)
        return factory
    entry = _third_party()[name]
    try:
        loaded: PolicyFactory = entry.load()
    except Exception as error:
        raise PolicyError(f"policy '{name}' ({entry.value}) cannot be imported: {error}") from error
    return loaded


def _third_party() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
