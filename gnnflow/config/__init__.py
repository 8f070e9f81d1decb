"""The options of every command, once: frozen dataclasses for command line, YAML files and Python.

Each field's documentation string is its `--help` line. `__post_init__` checks values that do not
need the data; what needs it (fanout against layers, ranks against parts) is checked where it is
known.
"""

from gnnflow.config.cache import DEFAULT_CACHE, DEFAULT_DEPTH, CacheConfig
from gnnflow.config.infer import CHUNK_BYTES, InferConfig
from gnnflow.config.option_values import (
    IntList,
    parse_int_list,
    recorded_options,
    require,
    require_at_least,
    require_not_negative,
    require_positive,
    require_seconds,
)
from gnnflow.config.partition import PartitionConfig
from gnnflow.config.policy import PolicyConfig
from gnnflow.config.runtime import DEFAULT_TIMEOUT_S, JobConfig, RuntimeConfig, Transport
from gnnflow.config.train import (
    DEFAULT_DRAW_EVERY,
    CheckpointConfig,
    ModelConfig,
    OptimizationConfig,
    RecordsConfig,
    SamplingConfig,
    TrainConfig,
)

__all__ = [
    "CHUNK_BYTES",
    "DEFAULT_CACHE",
    "DEFAULT_DEPTH",
    "DEFAULT_DRAW_EVERY",
    "DEFAULT_TIMEOUT_S",
    "CacheConfig",
    "CheckpointConfig",
    "InferConfig",
    "IntList",
    "JobConfig",
    "ModelConfig",
    "OptimizationConfig",
    "PartitionConfig",
    "PolicyConfig",
    "RecordsConfig",
    "RuntimeConfig",
    "SamplingConfig",
    "TrainConfig",
    "Transport",
    "parse_int_list",
    "recorded_options",
    "require",
    "require_at_least",
    "require_not_negative",
    "require_positive",
    "require_seconds",
]
