"""The options of every command, once: frozen dataclasses for command line, YAML files and Python.

Each field's documentation string is its `--help` line. `__post_init__` checks values that do not
need the data; what needs it (fanout against layers, ranks against parts) is checked where it is
known.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gnnflow.errors import ConfigError

IntList = Annotated[
    tuple[int, ...],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT,INT,...",
        instance_from_str=lambda args: parse_int_list(args[0]),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [",".join(str(number) for number in value)],
    ),
]


def parse_int_list(text: str) -> tuple[int, ...]:
    """Reads `"10,25"` as `(10, 25)`.

    Raises:
        ValueError: if a part is not a whole number (the command line shows it as a usage error).
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"expected whole numbers with commas between, as 10,25; got {text!r}"
        ) from None


def require(condition: bool, message: str) -> None:
    """Raises `ConfigError(message)` unless the condition holds."""
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionConfig:
    """How a graph is cut into parts."""

    num_parts: int = 4
    """Number of parts; training needs as many ranks as there are parts."""

    method: Literal["metis", "random", "ldg"] = "metis"
    """Who cuts: METIS (least traffic), a streaming partitioner for graphs METIS cannot hold (ldg),
    or chance."""

    hosts: int = 1
    """Machines: the graph is cut between them first, then inside each. Must divide num_parts."""

    seed: int = 0
    """Seed of the partitioner."""

    halo_hops: int = 0
    """Further hops of topology stored with each part: sampling asks nobody for these hops."""

    undirected: bool = False
    """Add the reverse of every edge and merge parallel edges, as PyG's to_undirected does."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        require(self.num_parts >= 1, f"num_parts must be at least 1, got {self.num_parts}")
        require(self.hosts >= 1, f"hosts must be at least 1, got {self.hosts}")
        require(
            self.num_parts % self.hosts == 0,
            f"hosts must divide num_parts, got hosts {self.hosts} and num_parts {self.num_parts}; "
            "every machine holds as many parts as the next",
        )
        require(self.seed >= 0, f"seed must not be negative, got {self.seed}")
        require(self.halo_hops >= 0, f"halo_hops must not be negative, got {self.halo_hops}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Which network is trained."""

    model: Literal["sage", "gat", "gcn", "gin"] = "sage"
    """Kind of layer: GraphSAGE (mean), GAT (attention), GCN or GIN; one for each hop of fanout."""

    hidden: int = 256
    """Width of the hidden layers."""

    dropout: float = 0.5
    """Share of hidden activations dropped while training, in [0, 1)."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        require(self.hidden >= 1, f"hidden must be at least 1, got {self.hidden}")
        require(0 <= self.dropout < 1, f"dropout must be in [0, 1), got {self.dropout}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """How minibatches are made."""

    fanout: IntList = (10, 25)
    """Neighbours kept per hop, from the seeds outwards; -1 keeps all."""

    batch_size: int = 512
    """Seed vertices of one rank in one minibatch."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        require(len(self.fanout) >= 1, "fanout needs at least one hop, as 10,25")
        for number in self.fanout:
            require(
                number >= 1 or number == -1,
                f"fanout of a hop must be at least 1 or -1 for all, got {number}",
            )
        require(self.batch_size >= 1, f"batch_size must be at least 1, got {self.batch_size}")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizationConfig:
    """How the network is trained."""

    epochs: int = 10
    """Passes over the train seeds."""

    lr: float = 0.01
    """Learning rate of Adam."""

    weight_decay: float = 0.0
    """Weight decay of Adam."""

    eval_every: int = 1
    """Epochs between two exact evaluations over all neighbours; 0 evaluates at the end only."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        require(self.epochs >= 1, f"epochs must be at least 1, got {self.epochs}")
        require(self.lr > 0, f"lr must be positive, got {self.lr}")
        require(
            self.weight_decay >= 0, f"weight_decay must not be negative, got {self.weight_decay}"
        )
        require(self.eval_every >= 0, f"eval_every must not be negative, got {self.eval_every}")


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheConfig:
    """Which remote rows are kept, and how far ahead minibatches are made."""

    cache_fraction: float = 0.25
    """Budget of a rank's halo cache as a share of its halo vertices; 0 turns the cache off."""

    cache_bytes: int | None = None
    """Budget in bytes of rows; takes the place of cache-fraction."""

    cache_fill: Literal["empty", "degree", "random", "vip"] = "empty"
    """Rows fetched into the cache before the first minibatch: none, those with most neighbours,
    any, or those that minibatches need with the largest probability."""

    scorer: Literal["lookahead", "vip", "frequency", "lru", "decay", "none"] = "lookahead"
    """Which cached rows stay: those needed soonest (lookahead), with the largest probability (vip),
    most often or last used, or not stale yet (decay, as in MassiveGNN); none turns the cache
    off."""

    alpha: float = 0.05
    """Scorer decay: share of its score that a row loses per minibatch without a use, in (0, 1)."""

    period: int | None = None
    """Minibatches between two replacements, 0 for none after the fill; by default 1, and 25 for
    scorer decay, whose replacements cost traffic."""

    lookahead: int | Literal["auto"] = "auto"
    """Scorer lookahead: minibatches known beyond the next one, or as many as it takes to choose
    best (auto)."""

    prefetch_depth: int | None = None
    """Minibatches whose rows are fetched while one is in training; 0 makes each when it is due. By
    default 2 with several ranks or a GPU, else 0: one process has no link to wait for, and cores
    that sample do not train."""

    exchange_every: int = 1
    """Minibatches that are sampled together and whose remote rows share one exchange."""

    trace: Path | None = None
    """Folder to record what each minibatch asked for, for gnnflow-replay."""

    @property
    def replace_every(self) -> int:
        """Minibatches between two replacements, 0 for none."""
        if self.period is not None:
            return self.period
        return 25 if self.scorer == "decay" else 1

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        require(
            0 <= self.cache_fraction <= 1,
            f"cache_fraction must be in [0, 1], got {self.cache_fraction}; "
            "use cache_bytes for an absolute budget",
        )
        require(0 < self.alpha < 1, f"alpha must be in (0, 1), got {self.alpha}")
        for name in ("cache_bytes", "period", "prefetch_depth"):
            value = getattr(self, name)
            require(value is None or value >= 0, f"{name} must not be negative, got {value}")
        require(
            self.lookahead == "auto" or self.lookahead >= 0,
            f"lookahead must be 'auto' or a number of minibatches from 0 on, got {self.lookahead}",
        )
        require(
            self.exchange_every >= 1,
            f"exchange_every must be at least 1, got {self.exchange_every}",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyConfig:
    """Who decides when rows of the halo cache are replaced."""

    policy: str = "static"
    """Name of the policy: none, static, auto, bandit, classifier, llm, or that of an installed
    package."""

    policy_mode: Literal["async", "sync"] = "async"
    """Whether training goes on while the policy answers (async) or waits for it (sync)."""

    decide_every: int = 1
    """Minibatches between two questions to the policy."""

    max_staleness: int = 16
    """Minibatches after which an answer is too old to be followed."""

    policy_timeout: float = 30.0
    """Seconds after which an answer is given up."""

    period: int = 25
    """Policy static: minibatches between two replacements; 0 leaves the first fill as it is."""

    classifier: str = "rf"
    """Policy classifier: one that comes with gnnflow (lr, rf, mlp) or a folder of a fitted one."""

    online: bool = False
    """Policy classifier: keep learning from measured effects."""

    llm_model: str = "smollm2-135m-instruct"
    """Policy llm: a model by name, folder or GGUF file."""

    llm_url: str | None = None
    """Policy llm: ask this OpenAI-compatible server (http://HOST:PORT/v1) instead; its key comes
    from GNNFLOW_LLM_KEY."""

    llm_template: Path | None = None
    """Policy llm: file to use instead of gnnflow's prompt template."""

    llm_explain: bool = False
    """Policy llm: write out each decision with its explanation and expected effect (slower)."""

    llm_threads: int = 1
    """Policy llm: threads of the machine's model server."""

    llm_device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Policy llm: where the model runs."""

    llm_dtype: Literal["float32", "bfloat16"] = "float32"
    """Policy llm: precision of the model; answers are always compared in float32."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        for name in ("decide_every", "llm_threads"):
            value = getattr(self, name)
            require(value >= 1, f"{name} must be at least 1, got {value}")
        for name in ("max_staleness", "period"):
            value = getattr(self, name)
            require(value >= 0, f"{name} must not be negative, got {value}")
        require(
            self.policy_timeout > 0,
            f"policy_timeout must be positive seconds, got {self.policy_timeout}",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeConfig:
    """Where and how the job runs."""

    ranks: int | None = None
    """Start this many ranks with mpiexec; leave it out under mpiexec, srun or for one process."""

    transport: Literal["auto", "shared", "alltoall", "rma"] = "auto"
    """How rows move: shared memory inside a machine and messages between (auto), or one of them for
    all. alltoall treats every rank as a machine of its own."""

    wire_dtype: Literal["stored", "bfloat16", "int8"] = "stored"
    """How float32 rows travel between ranks: as stored, or in half or a quarter of the bytes."""

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
        require(
            self.ranks is None or self.ranks >= 1, f"ranks must be at least 1, got {self.ranks}"
        )
        require(
            self.comm_timeout > 0, f"comm_timeout must be positive seconds, got {self.comm_timeout}"
        )
        require(
            self.threads is None or self.threads >= 1,
            f"threads must be at least 1, got {self.threads}",
        )
        require(self.seed >= 0, f"seed must not be negative, got {self.seed}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Trains a graph neural network on a folder of partitions, one rank per part."""

    parts: tyro.conf.Positional[Path]
    """Partition folder, as written by gnnflow-partition."""

    model: tyro.conf.OmitArgPrefixes[ModelConfig] = ModelConfig()
    sampling: tyro.conf.OmitArgPrefixes[SamplingConfig] = SamplingConfig()
    optimization: tyro.conf.OmitArgPrefixes[OptimizationConfig] = OptimizationConfig()
    cache: tyro.conf.OmitArgPrefixes[CacheConfig] = CacheConfig()
    runtime: tyro.conf.OmitArgPrefixes[RuntimeConfig] = RuntimeConfig()
