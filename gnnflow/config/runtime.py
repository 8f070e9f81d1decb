"""Options: where and how a job runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gnnflow.config.option_values import check_whole_numbers, require, require_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeConfig:
    """Where and how the job runs."""

    ranks: int | None = None
    """Start this many ranks; leave it out under mpiexec, srun or for one process."""

    transport: Literal["auto", "shared", "alltoall", "rma"] = "auto"
    """How rows move: shared memory inside a machine and messages between (auto), or one of them for
    all. alltoall treats every rank as a machine of its own."""

    wire_dtype: Literal["stored", "bfloat16", "int8"] = "stored"
    """How float32 rows travel between ranks: as stored, or in half or a quarter of the bytes."""

    topology_bytes: int | None = None
    """Memory for a rank's neighbour lists, beyond which they stay mapped files; by default an
    eighth of the machine's memory, between its ranks."""

    comm_timeout: float = 300.0
    """Seconds after which a missing answer ends the job with the rank that owes it."""

    threads: int | None = None
    """Threads of one rank; by default the machine's cores divided by its ranks."""

    device: Literal["cpu", "cuda", "auto"] = "auto"
    """Where the network runs."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the network's arithmetic (bfloat16 by autocast)."""

    seed: int = 0
    """Seed of weights, shuffling and sampling."""

    verify: bool = False
    """Check the hash of every partition file before training."""

    out: Path | None = None
    """Folder of the run (metrics.jsonl, summary.json); runs/TIME by default."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        check_whole_numbers(self)
        require(
            self.ranks is None or self.ranks >= 1, f"ranks must be at least 1, got {self.ranks}"
        )
        require_seconds("comm_timeout", self.comm_timeout)
        require(
            self.threads is None or self.threads >= 1,
            f"threads must be at least 1, got {self.threads}",
        )
        require(
            self.topology_bytes is None or self.topology_bytes >= 0,
            f"topology_bytes must not be negative, got {self.topology_bytes}",
        )
        require(self.seed >= 0, f"seed must not be negative, got {self.seed}")
