"""The least traffic that the cache of a run could have had, as its folder keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.cache.belady import belady_hits
from gnnflow.errors import DataError, one_line
from gnnflow.files.json_text import is_count, parse_json, to_json_text
from gnnflow.files.regular_file import read_regular
from gnnflow.files.whole_file import write_whole
from gnnflow.replay.trace import Trace

OPTIMUM_FILE = "optimum.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimum:
    """What Belady's cache of the run's size would have found."""

    capacity_rows: Sequence[int]
    """Rows that each rank's cache can hold."""
    hits: npt.NDArray[np.int64] | None
    """int64 `[num_steps]`, summed over ranks; None if it is not known."""
    left_out: str | None = None
    """Why it is not known, in words."""

    @classmethod
    def of_traces(cls, traces: Sequence[Trace]) -> "Optimum":
        """Works it out from the traces of all ranks.

        Raises:
            DataError: If a trace does not say how many rows the cache could hold.
        """
        capacities: list[Any] = [trace.facts.settings.get("capacity") for trace in traces]
        if not all(type(capacity) is int and capacity >= 0 for capacity in capacities):
            raise DataError(
                f"the settings of a trace must give 'capacity' as a number, got {capacities}"
            )
        hits = [
            belady_hits(trace.minibatches(), capacity)
            for trace, capacity in zip(traces, capacities, strict=True)
        ]
        return cls(capacity_rows=capacities, hits=np.sum(hits, axis=0))

    def write(self, folder: Path) -> None:
        """Writes `optimum.json` into the folder of a run, under a temporary name first.

        Raises:
            ResourceError: if it cannot be written.
        """
        content = {
            "capacity_rows": list(self.capacity_rows),
            "hits": None if self.hits is None else self.hits.tolist(),
            "left_out": self.left_out,
        }
        write_whole(folder / OPTIMUM_FILE, to_json_text(content) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Optimum | None":
        """Reads the folder of a run; None if it has no such file.

        Raises:
            DataError: If the file is damaged.
        """
        path = folder / OPTIMUM_FILE
        try:
            content = parse_json(read_regular(path))
            hits, left_out = content["hits"], content["left_out"]
            if not (left_out is None or isinstance(left_out, str)):
                raise ValueError("why it is left out must be said in words")
            return cls(
                capacity_rows=_counts(content["capacity_rows"]).tolist(),
                hits=None if hits is None else _counts(hits),
                left_out=left_out,
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged ({one_line(error)}); remove it") from None


def _counts(values: object) -> npt.NDArray[np.int64]:
    """A list of counts as int64."""
    if not (isinstance(values, list) and all(map(is_count, values))):
        raise ValueError("rows and hits must be lists of numbers from 0")
    return np.array(values, dtype=np.int64)
