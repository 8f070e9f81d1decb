"""The least traffic that the cache of a run could have had, as its folder keeps it."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gnnflow.errors import DataError
from gnnflow.prefetch.belady import belady_hits
from gnnflow.prefetch.trace import Trace

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
        """Works it out from the traces of all ranks."""
        capacities = [int(trace.facts.settings["capacity"]) for trace in traces]
        hits = [
            belady_hits(trace.minibatches(), capacity)
            for trace, capacity in zip(traces, capacities, strict=True)
        ]
        return cls(capacity_rows=capacities, hits=np.sum(hits, axis=0))

    def write(self, folder: Path) -> None:
        """Writes `optimum.json` into the folder of a run, under a temporary name first."""
        content = {
            "capacity_rows": list(self.capacity_rows),
            "hits": None if self.hits is None else self.hits.tolist(),
            "left_out": self.left_out,
        }
        temporary = folder / f"{OPTIMUM_FILE}.part"
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
        os.replace(temporary, folder / OPTIMUM_FILE)

    @classmethod
    def read(cls, folder: Path) -> "Optimum | None":
        """Reads the folder of a run; None if it has no such file.

        Raises:
            DataError: If the file is damaged.
        """
        path = folder / OPTIMUM_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            hits = content["hits"]
            return cls(
                capacity_rows=[int(rows) for rows in content["capacity_rows"]],
                hits=None if hits is None else np.array(hits, dtype=np.int64),
                left_out=content["left_out"],
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged ({error}); remove it") from None
