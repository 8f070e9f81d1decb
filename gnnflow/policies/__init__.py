"""Policies: who decides, while training goes on, when rows of the halo cache are replaced.

An `Observation` of plain numbers goes in, a `Decision` comes out. `Steering` is what the cache
calls after every minibatch, in training and in replay alike; it makes the observations, asks a
policy through the `PolicyController`, measures effects and writes them down.
"""

from gnnflow.policies.controller import Answer, PolicyController
from gnnflow.policies.decision import (
    Decision,
    InvalidDecisionError,
    Outcome,
    PolicyError,
    RankInfo,
    ReplacementPolicy,
)
from gnnflow.policies.decision_log import DecisionLog, DecisionStatistics, decision_log_name
from gnnflow.policies.measured_effects import CacheView, PlanTracker, ReplacementPlan, SteeredCache
from gnnflow.policies.observation import (
    CacheState,
    MinibatchCounters,
    Observation,
    PastDecision,
    RunFacts,
    Window,
)
from gnnflow.policies.observation_features import FEATURE_NAMES, FEATURE_VERSION, features
from gnnflow.policies.registry import (
    check_policy_name,
    describe_policy,
    known_policies,
    make_policy,
)
from gnnflow.policies.steering import Steering, start_steering

__all__ = [
    "FEATURE_NAMES",
    "FEATURE_VERSION",
    "Answer",
    "CacheState",
    "CacheView",
    "Decision",
    "DecisionLog",
    "DecisionStatistics",
    "InvalidDecisionError",
    "MinibatchCounters",
    "Observation",
    "Outcome",
    "PastDecision",
    "PlanTracker",
    "PolicyController",
    "PolicyError",
    "RankInfo",
    "ReplacementPlan",
    "ReplacementPolicy",
    "RunFacts",
    "SteeredCache",
    "Steering",
    "Window",
    "check_policy_name",
    "decision_log_name",
    "features",
    "describe_policy",
    "known_policies",
    "make_policy",
    "start_steering",
]
