"""Epochs on more ranks than run here, from the minibatches that some of them would take.

The graph is cut by METIS into as many parts. Sampling is a pure function of seed, epoch and
minibatch, so one process draws exactly the minibatches of any rank of such a job; the cache is
replayed on them, and the model of `gnnflow-replay --predict` puts sampling, fetching and training
together. A sampled vertex takes the processor seconds that it took two ranks with a core each here,
sampling, messages and training together.
"""

import math
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._commands import CommandError, gnnflow_command
from benchmarks._traces import steps_of, traces_of_parts
from benchmarks.partition import proportional_bytes
from gnnflow.config import DEFAULT_DEPTH
from gnnflow.partition import read_manifest
from gnnflow.partition.manifest import Manifest
from gnnflow.replay import ReplaySettings, Trace, replay_trace
from gnnflow.replay.epoch_model import EpochModel, LinkModel
from gnnflow.replay.replay import ReplayResult

ROW_BYTES = 512
BUDGET = 0.25
LINKS = {"10gbit": 10e9 / 8, "1gbit": 1e9 / 8}
LATENCY_S = 50e-6
# Two layers of GraphSAGE, 128 -> 128 -> 64, of float32.
GRADIENT_BYTES = 4 * (2 * 128 * 128 + 128 + 2 * 128 * 64 + 64)
SETTINGS: dict[str, dict[str, Any]] = {
    "lookahead": {"scorer": "lookahead"},
    "static": {"scorer": "decay", "period": 25},
    "none": {"scorer": "lookahead"},
}
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class PartsPlan:
    """A graph in more and more parts."""

    graph: str
    parts: tuple[int, ...]
    batch_size: int
    fanout: tuple[int, ...] = (10, 10)
    sampled_ranks: int = 4
    least_minibatches: int = 64
    """Epochs are sampled until each rank has so many."""
    most_epochs: int = 16


FULL = PartsPlan(
    graph="sbm:vertices=1e6,edges=1e7,classes=4096,within=0.78,features=128,train=0.5",
    parts=(16, 64, 256, 1024),
    batch_size=128,
)
QUICK = PartsPlan(
    graph="sbm:vertices=20000,edges=200000,classes=64,within=0.78,features=128,train=0.5",
    parts=(16, 64),
    batch_size=64,
    sampled_ranks=2,
    least_minibatches=16,
)


def estimate(plan: PartsPlan, s_per_vertex: float) -> Iterator[dict[str, Any]]:
    """Cuts the graph into each number of parts and estimates epochs, one after the other.

    Args:
        plan: The graph and its parts.
        s_per_vertex: Processor seconds of a rank by sampled vertex.

    Raises:
        CommandError: If gnnflow-partition fails.
    """
    for num_parts in plan.parts:
        with tempfile.TemporaryDirectory(prefix="gnnflow-") as folder:
            parts = Path(folder) / "parts"
            cost = partition_cost(plan.graph, num_parts, parts)
            manifest = read_manifest(parts)
            traces = _sample(plan, parts, manifest)
            # A rank has one core, so sampling and messages take their time from training.
            num_vertices = [trace.columns["num_vertices"] for trace in traces]
            compute_s = s_per_vertex * np.stack(num_vertices, axis=1)
            yield (
                {"parts": num_parts, **cost, **_about(manifest)}
                | _estimates(plan, manifest, traces, compute_s)
            )


def partition_cost(
    graph: str, num_parts: int, out: Path, method: str = "metis"
) -> dict[str, float]:
    """Generates and cuts a graph in a process of its own; returns what that takes.

    Seconds are the processor's, so that other programs do not count.

    Raises:
        CommandError: If it fails.
    """
    source = ["--generate", graph, "--undirected", "--method", method]
    command = [*gnnflow_command("partition"), *source, "--num-parts", str(num_parts)]
    peak_bytes, begin_s = 0, _processor_s()
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen([*command, "--out", out], stdout=said, stderr=said) as running,
    ):
        while running.poll() is None:
            peak_bytes = max(peak_bytes, proportional_bytes(running.pid))
            time.sleep(_LOOK_EVERY_S)
        if running.returncode != 0:
            said.seek(0)
            raise CommandError(f"partitioning failed: {said.read()[-1500:]}")
    return {"partition_s": _processor_s() - begin_s, "partition_peak_bytes": peak_bytes}


def _processor_s() -> float:
    """Processor seconds of all programs that were started from here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _about(manifest: Manifest) -> dict[str, Any]:
    return {
        "edge_cut": manifest.edge_cut,
        "balance": max(manifest.balance[name] for name in ("vertices", "edges", "train")),
        "halo_over_part": sum(part.num_halo for part in manifest.parts) / manifest.num_vertices,
    }


def _sample(plan: PartsPlan, parts: Path, manifest: Manifest) -> list[Trace]:
    steps = steps_of(manifest, plan.batch_size)
    num_ranks = min(plan.sampled_ranks, manifest.num_parts)
    return traces_of_parts(
        parts,
        fanout=plan.fanout,
        batch_size=plan.batch_size,
        num_epochs=min(plan.most_epochs, max(2, math.ceil(plan.least_minibatches / steps))),
        ranks=[manifest.num_parts * rank // num_ranks for rank in range(num_ranks)],
        with_vip=False,
    )


def _estimates(
    plan: PartsPlan, manifest: Manifest, traces: list[Trace], compute_s: NDArray[np.float64]
) -> dict[str, Any]:
    num_parts, steps = manifest.num_parts, steps_of(manifest, plan.batch_size)
    # Caches are cold in the first epoch.
    warm = slice(steps if len(compute_s) > steps else 0, None)
    per_epoch = steps / len(compute_s[warm])
    figures: dict[str, Any] = {
        "steps": steps,
        "compute_s": float(compute_s[warm].sum(axis=0).max()) * per_epoch,
    }
    for name, settings in SETTINGS.items():
        budget = 0.0 if name == "none" else BUDGET
        replays = [
            replay_trace(trace, ReplaySettings(capacity=int(budget * trace.num_halo), **settings))
            for trace in traces
        ]
        moved = np.stack([replay.rows_fetched for replay in replays], axis=1)[warm]
        asked = np.stack([replay.rows_asked for replay in replays], axis=1)[warm]
        figures[name] = {
            "epoch_s": {
                link: per_epoch * _seconds(plan, num_parts, compute_s[warm], moved, rate)
                for link, rate in LINKS.items()
            },
            "rank_bytes": float(moved.mean()) * ROW_BYTES * steps,
            "volume": float(moved.sum() / asked.sum()),
            "rank_memory_bytes": max(
                _memory(manifest, replay, trace)
                for replay, trace in zip(replays, traces, strict=True)
            ),
        }
    return figures


def _seconds(
    plan: PartsPlan,
    num_parts: int,
    compute_s: NDArray[np.float64],
    rows_fetched: NDArray[np.int64],
    rate: float,
) -> float:
    """Seconds of all steps given, of a job of which some ranks are given."""
    num_steps, num_sampled = compute_s.shape
    # Hops ask other ranks one after the other, a way there and one back; so do rows.
    hops_s = 2 * (len(plan.fanout) - 1) * LATENCY_S
    ring_s = 2 * (num_parts - 1) / num_parts * GRADIENT_BYTES / rate
    model = EpochModel(
        sample_s=np.full(compute_s.shape, hops_s),
        train_s=compute_s,
        all_reduce_s=ring_s + 2 * math.log2(num_parts) * LATENCY_S,
        bytes_fetched=rows_fetched * float(ROW_BYTES),
        link=LinkModel(latency_s=2 * LATENCY_S, bytes_per_s=rate),
        depth=DEFAULT_DEPTH,
        overlap=1.0,
        # The sampled ranks stand for all: so many seeds as give them these steps.
        num_train_seeds=num_steps * num_sampled * plan.batch_size,
        batch_size=plan.batch_size,
        gradient_bytes=GRADIENT_BYTES,
        measured_s=0.0,
    )
    return model.predict().epoch_s


def _memory(manifest: Manifest, replay: ReplayResult, trace: Trace) -> int:
    """Bytes that a rank holds for the graph: lists, own rows, halo, cached rows and their books."""
    part = manifest.parts[trace.facts.rank]
    lists = 8 * (part.num_vertices + 1) + 4 * part.num_edges + 8 * part.num_vertices
    rows = (part.num_vertices + replay.settings.capacity) * ROW_BYTES
    return lists + rows + 20 * part.num_halo + replay.bookkeeping_bytes
