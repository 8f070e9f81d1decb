"""`gnnflow-partition`: cuts a graph into parts, one for each rank of a training job."""

import math
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import tyro

from gnnflow.cli import options
from gnnflow.cli.graph_source import SourceConfig
from gnnflow.config import PartitionConfig
from gnnflow.errors import GnnflowError, resource_error
from gnnflow.files.whole_file import made_folders
from gnnflow.partition import (
    Manifest,
    PartitionReport,
    open_partition,
    partition_graph,
    plot,
    read_manifest,
)
from gnnflow.partition.held_out_edges import HELD_OUT
from gnnflow.partition.output_folder import check_output
from gnnflow.partition.stage_progress import Progress as ProgressCallback
from gnnflow.terminal import (
    BarColumn,
    PlainColumn,
    PlainConsole,
    Progress,
    SpinnerColumn,
    Table,
    TaskID,
    TimeElapsedColumn,
)

PROG = "gnnflow-partition"


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionCommandConfig:
    """Cuts a graph into parts, one for each rank of a training job."""

    source: tyro.conf.OmitArgPrefixes[SourceConfig] = SourceConfig()
    partition: tyro.conf.OmitArgPrefixes[PartitionConfig] = PartitionConfig()

    out: Path = Path("parts")
    """Folder to write; it appears when it is complete."""

    overwrite: bool = False
    """Replace a partition that is there already, once the new one is complete."""

    verify: bool = False
    """Read everything back and check its hash."""

    plot: Path | None = None
    """Picture of the parts and the traffic between them (.png, .svg, .pdf)."""


def main() -> None:
    """Runs the command."""
    options.run(_main)


def _main() -> None:
    config = options.parse(PartitionCommandConfig, prog=PROG)
    config.source.check(PROG)
    check_output(config.out, overwrite=config.overwrite)
    if config.plot is not None:
        plot.check_output(config.plot)
    # A scheduler's polite end of the job must clean up like Ctrl-C does.
    signal.signal(signal.SIGTERM, _stop)
    try:
        with _progress_bars() as progress:
            name, report = _partition(config, progress)
    except OSError as error:
        reason = resource_error(error) or error
        raise GnnflowError(f"{reason}; nothing was written") from error
    except MemoryError as error:
        raise GnnflowError(f"{str(error) or 'out of memory'}; nothing was written") from error
    console = PlainConsole()
    _print_report(console, name, report)
    console.print(_about_labels(read_manifest(config.out)))
    console.print(f"Wrote {config.out}. {_next_step(config.out)}", soft_wrap=True)
    if config.plot is not None:
        plot.plot_report(report, config.plot, title=f"{name}, {report.method}")
        console.print(f"Picture: {config.plot}", soft_wrap=True)


def _next_step(out: Path) -> str:
    """Says how to train on a partition, or what it lacks for that."""
    manifest = read_manifest(out)
    lacks = []
    if "y" not in manifest.arrays:
        lacks.append("no labels (--labels)")
    if "train" not in manifest.splits:
        lacks.append("no train split (--split FILE, or --split random:0.6,0.2,0.2)")
    if not lacks:
        return f"Next: gnnflow-train {out} --ranks {manifest.num_parts}"
    held_out = any(f"{name}_edges.npy" in manifest.parts[0].files for name in HELD_OUT)
    return (
        f"gnnflow-train has nothing to learn there: the graph has {' and '.join(lacks)}"
        + ("; edges are held out for link prediction" if held_out else "")
        + "."
    )


def _about_labels(manifest: Manifest) -> str:
    """Says what labels were taken for."""
    labels = manifest.arrays.get("y")
    if labels is None:
        return "Labels: none"
    if not manifest.num_classes:
        num_columns = math.prod(labels.row_shape)
        return (
            f"Labels: {'a number' if num_columns == 1 else f'{num_columns} numbers'} (regression)"
        )
    several = ", several for a vertex (multilabel)" if labels.row_shape else ""
    return f"Labels: {manifest.num_classes} classes{several}"


def _stop(signal_number: int, _frame: object) -> None:
    sys.exit(128 + signal_number)


def _partition(
    config: PartitionCommandConfig, progress: ProgressCallback
) -> tuple[str, PartitionReport]:
    """Does the work; returns the graph's name and the figures."""
    progress("reading the graph", 0, 0)
    with ExitStack() as stack:
        workdir = None
        if config.source.needs_workdir:
            # Edges that are made go to a file, on the disk that has to hold the result as well.
            out = config.out.absolute()
            stack.enter_context(made_folders(out.parent))
            folder = tempfile.TemporaryDirectory(prefix=f".{out.name}.edges-", dir=out.parent)
            workdir = Path(stack.enter_context(folder))
        graph = config.source.open(workdir, config.partition.seed, progress)
        report = partition_graph(
            graph, config.out, config.partition, progress, overwrite=config.overwrite
        )
    if config.verify:
        for part_id in range(report.num_parts):
            progress("verifying", part_id, report.num_parts)
            open_partition(config.out, part_id, verify=True)
    return graph.name, report


@contextmanager
def _progress_bars() -> Iterator[ProgressCallback]:
    """Shows one bar per stage on stderr, nothing where that is no terminal."""
    console = PlainConsole(stderr=True)
    columns = (SpinnerColumn(), PlainColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task: TaskID | None = None
        current = ""

        def show(stage: str, done: int, total: int) -> None:
            nonlocal task, current
            if stage != current or task is None:
                if task is not None:
                    bars.update(task, total=1, completed=1)
                task = bars.add_task(stage, total=total or None)
                current = stage
            bars.update(task, completed=done, total=total or None)

        yield show
        if task is not None:
            bars.update(task, total=1, completed=1)


def _print_report(console: PlainConsole, name: str, report: PartitionReport) -> None:
    table = Table(title=f"{name}: {report.num_parts} parts by {report.method}")
    for heading in ("part", "vertices", "in-edges", *report.num_seeds, "halo"):
        table.add_column(heading, justify="right", no_wrap=True)
    for part in range(report.num_parts):
        seeds = [f"{counts[part]:,}" for counts in report.num_seeds.values()]
        table.add_row(
            str(part),
            f"{report.num_vertices[part]:,}",
            f"{report.num_edges[part]:,}",
            *seeds,
            f"{report.num_halo[part]:,}",
        )
    balance = report.balance
    table.add_section()
    table.add_row(
        "max / mean",
        f"{balance['vertices']:.3f}",
        f"{balance['edges']:.3f}",
        *(f"{balance[split]:.3f}" for split in report.num_seeds),
        "",
    )
    console.print(table)
    if report.halo_topology_bytes.any():
        largest = int(report.halo_topology_bytes.max())
        own = int(report.num_edges.max()) * 8
        console.print(
            f"Neighbour lists beyond the parts: up to {largest / 2**20:,.1f} MiB for a part, "
            f"beside {own / 2**20:,.1f} MiB of its own; hops that they cover need no exchange"
        )
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in report.stage_s.items())
    console.print(
        f"Edge cut {report.edge_cut:.4f} ({report.num_cut_edges:,} of "
        f"{int(report.num_edges.sum()):,} edges), peak memory "
        f"{report.peak_memory_bytes / 2**20:,.0f} MiB, {report.total_s:.1f} s ({stages})"
    )
