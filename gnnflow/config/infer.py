"""Options: everything that gnnflow-infer takes."""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from gnnflow.config.option_values import LISTED_BEFORE, require_at_least
from gnnflow.config.runtime import JobConfig, Transport

CHUNK_BYTES = 128 << 20
"""Rows and messages of a chunk of vertices take about this much memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InferConfig(JobConfig):
    """Computes predictions and embeddings of vertices with a trained model, over all neighbours."""

    parts: tyro.conf.Positional[Path] = field(metadata={LISTED_BEFORE: "ranks"})
    """Partition folder, as written by gnnflow-partition."""

    checkpoint: tyro.conf.Positional[Path] = field(metadata={LISTED_BEFORE: "ranks"})
    """Checkpoint of gnnflow-train, or its checkpoint-dir: then the best one, or else the newest."""

    out: Path = field(default=Path("inference"), metadata={LISTED_BEFORE: "ranks"})
    """Folder to write, on a disk that all ranks reach; inference.json in it is written last."""

    vertices: Path | None = field(default=None, metadata={LISTED_BEFORE: "ranks"})
    """File of ids of the input (.npy, .npz, .csv, .parquet) to answer for; all by default."""

    transport: Transport = "auto"
    """How rows move between ranks, as for gnnflow-train."""

    chunk_bytes: int = CHUNK_BYTES
    """About how much memory a chunk of vertices may take."""

    verify: bool = False
    """Check the hash of every file of the partition first."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        JobConfig.__post_init__(self)
        require_at_least(self, 1, "chunk_bytes")
