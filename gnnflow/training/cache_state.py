"""Which rows the halo cache holds, so that a run that goes on starts with a warm cache."""

from typing import Any

import numpy as np

from gnnflow.cache.vertex_values import VertexValues
from gnnflow.prefetch import CacheSetup


class CacheState:
    """The contents of a rank's halo cache as a checkpoint holds them: vertices, not rows.

    What is trained does not depend on them. Going on fetches the rows again, once, and the scorer
    starts with what it knows of these vertices before any use.
    """

    def __init__(self, setup: CacheSetup | None) -> None:
        """Takes the cache of a loader, if it has one."""
        self._rows = None if setup is None else setup.rows

    def state_dict(self) -> dict[str, Any]:
        """The global ids of the cached rows, ascending, `[num_cached]` int64."""
        nothing = np.empty(0, dtype=np.int64)
        return {"vertices": nothing if self._rows is None else self._rows.cached_vertices()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Fetches the rows of cached vertices into free slots, before the first minibatch."""
        vertices = np.asarray(state_dict["vertices"], dtype=np.int64)
        if self._rows is None or self._rows.cache is None or not len(vertices):
            return
        wanted = VertexValues(vertices, np.ones(len(vertices), dtype=np.float32))
        # These rows are traffic as well.
        self._rows.num_fill_at_start += self._rows.cache.fill(wanted, self._rows.store.fetch)
