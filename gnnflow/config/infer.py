"""Options: everything that gnnflow-infer takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from gnnflow.config.option_values import check_whole_numbers, require, require_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class InferConfig:
    """Computes predictions and embeddings of vertices with a trained model, over all neighbours."""

    parts: tyro.conf.Positional[Path]
    """Partition folder, as written by gnnflow-partition."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint of gnnflow-train, or its checkpoint-dir: then the best one, or else the newest."""

    out: Path = Path("inference")
    """Folder to write, on a disk that all ranks reach; inference.json in it is written last."""

    vertices: Path | None = None
    """File of ids of the input (.npy, .npz, .csv, .parquet) to answer for; all by default."""

    ranks: int | None = None
    """Start this many ranks; leave it out under mpiexec, srun or for one process."""

    transport: Literal["auto", "shared", "alltoall", "rma"] = "auto"
    """How rows move between ranks, as for gnnflow-train."""

    comm_timeout: float = 300.0
    """Seconds after which a missing answer ends the job with the rank that owes it."""

    threads: int | None = None
    """Threads of one rank; by default the machine's cores divided by its ranks."""

    device: Literal["cpu", "cuda", "auto"] = "auto"
    """Where the network runs."""

    chunk_bytes: int = 128 << 20
    """About how much memory a chunk of vertices may take."""

    verify: bool = False
    """Check the hash of every file of the partition first."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        check_whole_numbers(self)
        require(
            self.ranks is None or self.ranks >= 1, f"ranks must be at least 1, got {self.ranks}"
        )
        require(self.chunk_bytes >= 1, f"chunk_bytes must be at least 1, got {self.chunk_bytes}")
        require_seconds("comm_timeout", self.comm_timeout)
        require(
            self.threads is None or self.threads >= 1,
            f"threads must be at least 1, got {self.threads}",
        )
