"""Strong and weak scaling with ranks that share this machine's cores.

Eight ranks on two cores take turns, so the time on the clock says nothing about eight machines.
Each rank's own processor seconds do: what it computes, sends and receives, without what it waits.
With a core of its own and all of its traffic hidden, an epoch takes the processor seconds of the
busiest rank, or the time of its bytes on the link if that is longer; with nothing hidden, the sum.
"""

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import _commands as commands


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """A graph for each number of ranks."""

    vertices: int
    edges: int
    grows: bool
    """Whether each rank has so many (weak scaling), or all together (strong)."""
    ranks: tuple[int, ...] = (1, 2, 4, 8)
    batch_size: int = 250
    fanout: str = "10,10"
    epochs: int = 4

    def graph(self, num_ranks: int) -> str:
        """What gnnflow-partition generates for a number of ranks; 1000 vertices a community."""
        times = num_ranks if self.grows else 1
        vertices, edges = times * self.vertices, times * self.edges
        size = f"vertices={vertices},edges={edges},classes={max(vertices // 1000, 2)}"
        return f"sbm:{size},within=0.78,features=128,train=0.2"


STRONG = Growth(vertices=100_000, edges=1_000_000, grows=False)
WEAK = Growth(vertices=25_000, edges=250_000, grows=True)
QUICK = Growth(vertices=20_000, edges=200_000, grows=False, ranks=(1, 2), batch_size=100, epochs=2)


def measure(growth: Growth) -> list[dict[str, Any]]:
    """Runs each number of ranks in turn, messages between all of them.

    Raises:
        CommandError: If a run fails.
    """
    return [_measure(growth, num_ranks) for num_ranks in growth.ranks]


def _measure(growth: Growth, num_ranks: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="gnnflow-") as made:
        folder = Path(made)
        source = ["--generate", growth.graph(num_ranks), "--undirected"]
        commands.make_parts(folder / "parts", num_ranks, *source)
        options = {
            "transport": "alltoall" if num_ranks > 1 else "auto",
            "batch-size": growth.batch_size,
            "fanout": growth.fanout,
            "epochs": growth.epochs,
            "eval-every": 0,
            "hidden": 128,
            "threads": 1,
            "device": "cpu",
            "out": folder / "run",
        }
        words = [folder, folder / "parts", *commands.option_words(options)]
        commands.run_ranks(num_ranks, "benchmarks.scaling.rank", *words)
        return {"ranks": num_ranks, **_figures(folder, num_ranks)}


def _figures(folder: Path, num_ranks: int) -> dict[str, Any]:
    """Medians over epochs, the first one left out."""
    summary = commands.summary_of(folder / "run")
    files = folder.glob("processor-*.jsonl")
    processor = [[float(line) for line in file.read_text().splitlines()] for file in files]
    assert len(processor) == num_ranks
    busiest = [max(seconds) for seconds in zip(*processor, strict=True)][1:]
    later = [step for step in commands.steps_of(folder / "run") if step["epoch"] > 0]
    received = [0] * num_ranks
    for step in later:
        received[step["rank"]] += step["bytes_fetched"] + step["sample_bytes"]
    num_epochs = len(summary["epochs"]) - 1
    num_vertices = sum(step["num_vertices"] for step in later)
    return {
        "steps": len(later) // (num_ranks * num_epochs),
        "clock_s": statistics.median(e["epoch_time_s"] for e in summary["epochs"][1:]),
        "processor_s": statistics.median(busiest),
        "received_bytes": max(received) / num_epochs,
        "volume_bytes": sum(received) / num_epochs,
        "sampled_vertices": num_vertices / num_epochs,
        "hit_rate": summary["hit_rate"],
        "peak_memory_bytes": summary["peak_memory_bytes"],
    }
