"""A finished run, read back from its folder, and the partition that it trained on."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import FloatArray
from gnnflow.errors import DataError, GnnflowError
from gnnflow.files.json_text import parse_json, without_nan
from gnnflow.files.npy_file import map_npy
from gnnflow.files.regular_file import read_regular_text
from gnnflow.partition import read_manifest
from gnnflow.partition.manifest import part_folder
from gnnflow.replay.optimum import Optimum
from gnnflow.replay.trace import read_traces
from gnnflow.report.decisions import DecisionLine, read_decisions
from gnnflow.report.summary_file import is_number, read_summary

METRICS_FILE = "metrics.jsonl"
_MAX_MATRIX_PARTS = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionFigures:
    """A partition at a glance."""

    method: str
    """Partitioning method."""
    edge_cut: float
    """Edges between parts as a share of all."""
    sizes: Mapping[str, npt.NDArray[np.int64]]
    """What is counted (vertices, in-edges, halo, a split's seeds) to int64 `[num_parts]`."""
    halo_rows: npt.NDArray[np.int64] | None
    """int64 `[num_parts, num_parts]`: rows that the part of the row may ask the part of the column
    for; None if there are too many parts to look at."""


def read_partition_figures(folder: Path) -> PartitionFigures | None:
    """Reads a partition folder; None if it is gone or not complete."""
    try:
        manifest = read_manifest(folder)
        num_parts = manifest.num_parts
        sizes = {
            "vertices": [part.num_vertices for part in manifest.parts],
            "in-edges": [part.num_edges for part in manifest.parts],
            "halo": [part.num_halo for part in manifest.parts],
        }
        sizes |= {split: list(manifest.num_seeds(split)) for split in manifest.splits}
        halo_rows = None
        if 1 < num_parts <= _MAX_MATRIX_PARTS:
            halo_rows = np.stack(
                [_halo_owners(folder, part, num_parts) for part in range(num_parts)]
            )
    except (GnnflowError, OSError, ValueError):
        return None
    return PartitionFigures(
        method=manifest.method,
        edge_cut=manifest.edge_cut,
        sizes={name: np.array(values, dtype=np.int64) for name, values in sizes.items()},
        halo_rows=halo_rows,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """Everything that the folder of a run tells."""

    name: str
    """Name of the folder."""
    summary: Mapping[str, Any]
    """Content of `summary.json`."""
    epoch_of_step: npt.NDArray[np.int64]
    """int64 `[num_steps]`: epoch of each step of the run."""
    fields: Mapping[str, FloatArray]
    """Field of `metrics.jsonl` to float64 `[num_steps, num_ranks]`."""
    decisions: tuple[DecisionLine, ...]
    """What policies decided, by minibatch."""
    optimum: Optimum
    """The least traffic."""
    partition: PartitionFigures | None
    """Figures of the partition; None if its folder is not there any more."""

    @property
    def num_steps(self) -> int:
        """Steps of the run, each of all ranks."""
        return len(self.epoch_of_step)

    @property
    def num_ranks(self) -> int:
        """Ranks of the job."""
        return int(self.summary["num_ranks"])

    @property
    def config(self) -> Mapping[str, Any]:
        """Options of the run, by group."""
        config: Mapping[str, Any] = self.summary["config"]
        return config

    def field(self, name: str) -> FloatArray:
        """Returns a field of the metrics, `[num_steps, num_ranks]`; zeros if it is not there."""
        if name in self.fields:
            return self.fields[name]
        return np.zeros((self.num_steps, self.num_ranks))


def read_run(folder: Path) -> RunRecord:
    """Reads the folder of a run.

    Raises:
        DataError: If it is not the folder of a finished run, or damaged.
    """
    summary = read_summary(folder)
    config = summary["config"]
    epoch_of_step, fields = _read_metrics(folder / METRICS_FILE, summary["num_ranks"])
    trace = config.get("cache", {}).get("trace")
    return RunRecord(
        name=folder.resolve().name,
        summary=summary,
        epoch_of_step=epoch_of_step,
        fields=fields,
        decisions=read_decisions(folder),
        optimum=_optimum(folder, len(epoch_of_step), None if trace is None else Path(trace)),
        partition=read_partition_figures(Path(config["parts"])),
    )


def _halo_owners(folder: Path, part: int, num_parts: int) -> npt.NDArray[np.int64]:
    path = folder / part_folder(part) / "halo_owner.npy"
    owners = map_npy(path)
    if owners.ndim != 1 or owners.dtype != np.int32 or not _in_range(owners, num_parts):
        raise ValueError(f"{path} does not hold numbers of {num_parts} parts")
    return np.bincount(owners, minlength=num_parts).astype(np.int64)


def _in_range(owners: npt.NDArray[Any], num_parts: int) -> bool:
    return not len(owners) or (owners.min() >= 0 and int(owners.max()) < num_parts)


def _optimum(folder: Path, num_steps: int, traces: Path | None) -> Optimum:
    """What the run noted; what it had no room for, from its traces."""
    noted = Optimum.read(folder)
    if noted is not None and noted.hits is not None and len(noted.hits) == num_steps:
        return noted
    if traces is not None:
        with suppress(DataError):
            recorded = read_traces(traces)
            if all(trace.num_minibatches == num_steps for trace in recorded):
                return Optimum.of_traces(recorded)
    if noted is None:
        reason = "the run did not note which rows it asked for"
    else:
        reason = noted.left_out or "the run was resumed, and what it asked for before is not known"
    capacities = () if noted is None else noted.capacity_rows
    return Optimum(capacity_rows=capacities, hits=None, left_out=reason)


def _read_metrics(
    path: Path, num_ranks: int
) -> tuple[npt.NDArray[np.int64], dict[str, FloatArray]]:
    """Puts the lines together by step; of a step that was taken twice the last line counts."""
    rows: dict[tuple[int, int], dict[int, dict[str, Any]]] = {}
    for number, line in _json_lines(path):
        if not _is_step(line, num_ranks):
            raise DataError(f"{path}, line {number} is not a step of this run")
        rows.setdefault((line["epoch"], line["step"]), {})[line["rank"]] = line
    complete = {
        step: [lines[rank] for rank in sorted(lines)] for step, lines in sorted(rows.items())
    }
    steps = [step for step, lines in complete.items() if len(lines) == num_ranks]
    if not steps:
        raise DataError(f"{path} holds no step of all {num_ranks} ranks; run it again")
    names = complete[steps[0]][0].keys() - {"epoch", "rank", "step", "hit_rate"}
    fields = {
        name: np.array(
            [[line.get(name, 0) for line in complete[step]] for step in steps], dtype=np.float64
        )
        for name in sorted(names)
    }
    if "loss" in fields:
        fields["loss"][~np.isfinite(fields["loss"])] = np.nan  # a gap in the curve
    return np.array([epoch for epoch, _ in steps], dtype=np.int64), fields


def _is_step(line: Any, num_ranks: int) -> bool:
    """Whether a line holds numbers alone, and says whose they are."""
    return (
        isinstance(line, dict)
        and all(type(line.get(name)) is int for name in ("epoch", "step", "rank"))
        and 0 <= line["rank"] < num_ranks
        and all(value is None or is_number(value) for value in without_nan(line).values())
    )


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yields the number and content of every line; a last line that was cut off is left out."""
    try:
        lines = read_regular_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        try:
            yield number, parse_json(line)
        except ValueError:
            if number < len(lines):
                raise DataError(f"{path}, line {number} is not JSON") from None
