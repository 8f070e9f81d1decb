"""One training run on emulated hosts: its workload, gnnflow with a setting, and what came of it."""

import statistics
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import _commands as commands
from benchmarks.emulated_hosts import EmulatedHosts, EmulationError, Traffic, run_mpi
from benchmarks.emulated_hosts.limited_links import parse_rate
from benchmarks.hyperparameters import HYPERPARAMETERS, Hyperparameters

DISTDGL = "distdgl"
LOOPBACK = "loopback"
UNLIMITED = "unlimited"
STAGES = ("sample", "fetch", "wait", "compute", "all_reduce")


_TASKS = {"cross-entropy": "classes"}
_ALWAYS_SO = {
    "aggregation": "mean",
    "activation": "relu",
    "normalization": "none",
    "replace": False,
    "cut": "evenly",
}
"""What gnnflow-train's GraphSAGE has no options for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What all contenders train: a graph, and the hyperparameters of every side."""

    graph: str = "sbm:vertices=300000,edges=2175000,classes=64,within=0.78,features=128,train=0.1"
    """What gnnflow-partition generates; every edge then gets its reverse."""
    hyperparameters: Hyperparameters = HYPERPARAMETERS

    def options(self, epochs: int | None = None) -> dict[str, object]:
        """Options of gnnflow-train by name, without the dashes.

        Args:
            epochs: Epochs to train, if more than the hyperparameters say. There is an evaluation
                after those all the same.

        Raises:
            ValueError: If gnnflow-train does not train in this way.
        """
        hyper = self.hyperparameters
        for name, value in _ALWAYS_SO.items():
            if getattr(hyper, name) != value:
                raise ValueError(
                    f"gnnflow-train has {name} {value}, got {getattr(hyper, name)} to compare with"
                )
        if hyper.loss not in _TASKS:
            raise ValueError(f"gnnflow-train has no loss '{hyper.loss}' to compare with")
        return {
            "model": hyper.model,
            "hidden": hyper.hidden,
            "dropout": hyper.dropout,
            "task": _TASKS[hyper.loss],
            "optimizer": hyper.optimizer,
            "lr": hyper.lr,
            "weight-decay": hyper.weight_decay,
            "schedule": hyper.schedule,
            "fanout": ",".join(map(str, hyper.fanout)),
            "batch-size": hyper.batch_size,
            "epochs": epochs or hyper.epochs,
            "eval-every": hyper.epochs if epochs and epochs > hyper.epochs else 0,
            "seed": hyper.seed,
        }

    def seeded(self, seed: int) -> "Workload":
        """The same with minibatches and weights of another seed."""
        return replace(self, hyperparameters=replace(self.hyperparameters, seed=seed))


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A way to run gnnflow: a name and the words it adds to gnnflow-train's command line."""

    name: str
    words: tuple[str, ...]


NO_CACHE = "none"
STATIC = "static"
LOOKAHEAD = "lookahead"
DEPENDENT = "dependent"
STORED = "stored"
SHORT_GRADIENTS = "gradients"
LARGE, COMPRESSED = "50", "50-bfloat16"
_STATIC = ("--scorer", "decay", "--period", "25")
DEPENDENT_WORDS = ("--draw", "dependent", "--draw-every", "16")
STORED_WORDS = (*DEPENDENT_WORDS, "--first-hop", "stored")
SETTINGS = (
    Setting(name=NO_CACHE, words=("--cache-fraction", "0")),
    Setting(name=STATIC, words=("--cache-fraction", "0.25", *_STATIC)),
    Setting(name=LOOKAHEAD, words=("--cache-fraction", "0.25")),
    Setting(name=DEPENDENT, words=("--cache-fraction", "0.25", *DEPENDENT_WORDS)),
    Setting(name=STORED, words=("--cache-fraction", "0.25", *STORED_WORDS)),
    Setting(
        name=SHORT_GRADIENTS,
        words=("--cache-fraction", "0.25", *STORED_WORDS, "--gradient-dtype", "bfloat16"),
    ),
    Setting(name="static-50", words=("--cache-fraction", "0.5", *_STATIC)),
    Setting(name="lookahead-50", words=("--cache-fraction", "0.5")),
    Setting(
        name="lookahead-50-bfloat16",
        words=("--cache-fraction", "0.5", "--wire-dtype", "bfloat16"),
    ),
)
"""All ways to run it."""
GROUPS: dict[str, tuple[str, ...]] = {
    "": (NO_CACHE, STATIC, LOOKAHEAD, DEPENDENT, STORED, SHORT_GRADIENTS),
    LARGE: (NO_CACHE, "static-50", "lookahead-50"),
    COMPRESSED: (NO_CACHE, "static-50", "lookahead-50-bfloat16"),
}
"""What is compared with each other: caches of 25 % of the halo, of 50 %, and of 50 % with rows in
half the bytes against static prefetching of whole ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What a run took and moved."""

    contender: str
    """`distdgl`, or the name of a setting of gnnflow."""
    rate: str
    """Rate of the links, or `loopback`."""
    epoch_time_s: tuple[float, ...]
    """Of each epoch, on the slowest rank."""
    hyperparameters: Hyperparameters
    """What it trained with."""
    val_accuracy: float | None
    """Over all neighbours, after the epochs of the hyperparameters; None without such seeds."""
    test_accuracy: float | None
    """Likewise."""
    traffic: dict[str, Traffic]
    """Bytes over the link of each host in the whole run; empty over loopback."""
    details: dict[str, Any]
    """What else the contender reports."""

    @property
    def typical_epoch_time_s(self) -> float:
        """Median over the epochs, without the first one, which pays for first touches."""
        return statistics.median(self.epoch_time_s[1:] or self.epoch_time_s)

    @property
    def stages_s(self) -> dict[str, float]:
        """Median seconds of an epoch in each stage, the first epoch left out; gnnflow's alone."""
        epochs = self.details.get("epochs", [])
        return {
            stage: statistics.median(epoch[f"{stage}_s"] for epoch in epochs[1:] or epochs)
            for stage in STAGES
            if epochs and f"{stage}_s" in epochs[0]
        }

    @property
    def row_bytes(self) -> float | None:
        """Bytes of rows that all ranks fetch in a median epoch but the first; gnnflow's alone."""
        epochs = self.details.get("epochs", [])
        if not epochs or "volume_bytes" not in epochs[0]:
            return None
        return statistics.median(epoch["volume_bytes"] for epoch in epochs[1:] or epochs)

    @property
    def rows_alone_s(self) -> float | None:
        """Seconds that the links need for the rows of such an epoch, and nothing else."""
        if self.row_bytes is None or not self.traffic or self.rate == UNLIMITED:
            return None
        return self.row_bytes * 8 / (parse_rate(self.rate) * len(self.traffic))

    @property
    def hidden_share(self) -> float | None:
        """Share of the fetching that fits behind training and that training did not wait for."""
        stages = self.stages_s
        if len(stages) < len(STAGES):
            return None
        trained_s = stages["compute"] + stages["all_reduce"]
        fits_s = min(stages["fetch"], trained_s)
        exposed_s = stages["wait"] - max(0.0, stages["fetch"] - trained_s)
        return 1 - min(1.0, max(0.0, exposed_s) / fits_s) if fits_s else None

    @property
    def sent_bytes(self) -> int:
        """Bytes that all hosts sent in the whole run, start and evaluation included."""
        return sum(traffic.sent_bytes for traffic in self.traffic.values())


def make_parts(workload: Workload, num_parts: int, num_hosts: int, out: Path) -> None:
    """Generates the workload's graph and cuts it with METIS.

    Raises:
        CommandError: If gnnflow-partition fails.
    """
    source = ["--generate", workload.graph, "--undirected", "--seed", workload.hyperparameters.seed]
    commands.make_parts(out, num_parts, *source, "--hosts", num_hosts)


def train_words(
    setting: Setting,
    parts: Path,
    workload: Workload,
    threads: int,
    out: Path,
    epochs: int | None = None,
) -> list[str]:
    """Returns the words of gnnflow-train's command line."""
    options = workload.options(epochs) | {"threads": threads, "device": "cpu", "out": out}
    return [str(parts), *commands.option_words(options), *setting.words]


def run_gnnflow(
    hosts: EmulatedHosts | None,
    setting: Setting,
    parts: Path,
    workload: Workload,
    num_ranks: int,
    threads: int,
    *,
    epochs: int | None = None,
    look: Callable[[Path], dict[str, Any]] | None = None,
) -> Run:
    """Trains with gnnflow-train on emulated hosts, or over loopback without any.

    Args:
        hosts: Where to run, or None.
        setting: How.
        parts: Folder of the parts.
        workload: What is trained; its graph is that of the parts.
        num_ranks: Ranks of the job.
        threads: Threads of each.
        epochs: Epochs to train, if more than the workload's; accuracies are those after the
            workload's.
        look: Is shown the folder of the run before it goes; what it returns joins the details.

    Raises:
        EmulationError: If the training fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = train_words(setting, parts, workload, threads, out, epochs)
        command = [*commands.gnnflow_command("train"), *words]
        if hosts is None:
            traffic: dict[str, Traffic] = {}
            command += ["--ranks", str(num_ranks), "--transport", "alltoall"]
            done = subprocess.run(command, capture_output=True, text=True)
            returncode, output = done.returncode, done.stdout + done.stderr
        else:
            run = run_mpi(hosts, num_ranks // len(hosts.names), command)
            returncode, output, traffic = run.returncode, run.output, run.traffic
        if returncode != 0:
            raise EmulationError(
                f"gnnflow-train with setting '{setting.name}' ended with status {returncode}; it "
                f"last wrote: {output[-2000:].strip()}"
            )
        summary = commands.summary_of(out)
        if look is not None:
            summary |= look(out)
    learnt = summary
    if epochs is not None and epochs > workload.hyperparameters.epochs:
        learnt = summary["epochs"][workload.hyperparameters.epochs - 1]
    return Run(
        contender=setting.name,
        rate=LOOPBACK if hosts is None else hosts.rate or UNLIMITED,
        epoch_time_s=tuple(epoch["epoch_time_s"] for epoch in summary["epochs"]),
        hyperparameters=workload.hyperparameters,
        val_accuracy=learnt["val_accuracy"],
        test_accuracy=learnt["test_accuracy"],
        traffic=traffic,
        details=summary,
    )
