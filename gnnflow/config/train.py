"""Options: everything that gnnflow-train takes."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from gnnflow.config.cache import CacheConfig
from gnnflow.config.checkpoint import CheckpointConfig
from gnnflow.config.model import ModelConfig
from gnnflow.config.optimization import OptimizationConfig
from gnnflow.config.policy import PolicyConfig
from gnnflow.config.records import RecordsConfig
from gnnflow.config.runtime import RuntimeConfig
from gnnflow.config.sampling import SamplingConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Trains a graph neural network on a folder of partitions, one rank per part."""

    parts: tyro.conf.Positional[Path]
    """Partition folder, as written by gnnflow-partition."""

    model: tyro.conf.OmitArgPrefixes[ModelConfig] = ModelConfig()
    sampling: tyro.conf.OmitArgPrefixes[SamplingConfig] = SamplingConfig()
    optimization: tyro.conf.OmitArgPrefixes[OptimizationConfig] = OptimizationConfig()
    cache: tyro.conf.OmitArgPrefixes[CacheConfig] = CacheConfig()
    policy: tyro.conf.OmitArgPrefixes[PolicyConfig] = PolicyConfig()
    runtime: tyro.conf.OmitArgPrefixes[RuntimeConfig] = RuntimeConfig()
    records: tyro.conf.OmitArgPrefixes[RecordsConfig] = RecordsConfig()
    checkpoint: tyro.conf.OmitArgPrefixes[CheckpointConfig] = CheckpointConfig()
