"""A finished run, read back from its folder."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import FloatArray
from gnnflow.errors import DataError
from gnnflow.files.json_text import parse_json, without_nan
from gnnflow.files.regular_file import read_regular_text
from gnnflow.replay.optimum import Optimum
from gnnflow.replay.trace import read_traces
from gnnflow.report.decisions import DecisionLine, read_decisions
from gnnflow.report.partition_figures import PartitionFigures, read_partition_figures
from gnnflow.report.summary_file import is_number, read_summary

METRICS_FILE = "metrics.jsonl"


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
