"""Options: where and how a job runs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gnnflow.config.option_values import (
    LISTED_BEFORE,
    check_whole_numbers,
    require_at_least,
    require_seconds,
)

Transport = Literal["auto", "shared", "alltoall", "rma"]
"""How rows move between ranks."""

DEFAULT_TIMEOUT_S = 300.0
"""How long an answer of another rank may take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobConfig:
    """What every command takes that runs one rank per part."""

    ranks: int | None = None
    """Start this many ranks; leave it out under mpiexec, srun or for one process."""

    transport: Transport = "auto"
    """How rows move: shared memory inside a machine and messages between (auto), or one of them for
    all. alltoall treats every rank as a machine of its own."""

    comm_timeout: float = DEFAULT_TIMEOUT_S
    """Seconds after which a missing answer ends the job with the rank that owes it."""

    threads: int | None = None
    """Threads of one rank; by default the machine's cores divided by its ranks."""

    device: Literal["cpu", "cuda", "auto"] = "auto"
    """Where the network runs."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        check_whole_numbers(self)
        require_at_least(self, 1, "ranks")
        require_seconds("comm_timeout", self.comm_timeout)
        require_at_least(self, 1, "threads")


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeConfig(JobConfig):
    """Where and how the job runs."""

    wire_dtype: Literal["stored", "bfloat16", "int8"] = field(
        default="stored", metadata={LISTED_BEFORE: "comm_timeout"}
    )
    """How float32 rows travel between ranks: as stored, or in half or a quarter of the bytes."""

    gradient_dtype: Literal["float32", "bfloat16"] = field(
        default="float32", metadata={LISTED_BEFORE: "comm_timeout"}
    )
    """How gradients travel between ranks: bfloat16 takes half the bytes, for slow links; they are
    summed in float32 all the same."""

    topology_bytes: int | None = field(default=None, metadata={LISTED_BEFORE: "comm_timeout"})
    """Memory for a rank's neighbour lists, beyond which they stay mapped files; by default an
    eighth of the machine's memory, between its ranks."""

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
        JobConfig.__post_init__(self)
        require_at_least(self, 0, "topology_bytes", "seed")
