"""The least traffic that any cache of a given size could have had.

Source: Belady, "A Study of Replacement Algorithms for a Virtual-Storage Computer", IBM Systems
Journal 5(2), 1966. Here a whole minibatch is asked for at once and a fetched row need not be kept,
so after each minibatch the rows with the soonest next use stay, out of those cached and those just
fetched. Fetching a row before it is asked for saves nothing: it is fetched once either way.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_NEVER = np.iinfo(np.int32).max


def belady_hits(
    minibatches: Sequence[npt.NDArray[np.int64]], capacity: int
) -> npt.NDArray[np.int64]:
    """Returns the rows found per minibatch by a cache that knows the future.

    Args:
        minibatches: Distinct ids that each minibatch asks for.
        capacity: Rows that the cache can hold.

    Returns:
        int64 `[num_minibatches]`; the sum is the largest possible.
    """
    hits = np.zeros(len(minibatches), dtype=np.int64)
    if not len(minibatches):
        return hits
    lengths = [len(ids) for ids in minibatches]
    distinct, dense = np.unique(np.concatenate(minibatches), return_inverse=True)
    requests = np.split(dense.astype(np.int32), np.cumsum(lengths)[:-1])
    next_uses = _next_uses(requests, len(distinct))
    next_use_of = np.full(len(distinct), _NEVER, dtype=np.int32)
    is_cached = np.zeros(len(distinct), dtype=np.bool_)
    cached = np.zeros(0, dtype=np.int32)
    for number, (wanted, next_uses_of_wanted) in enumerate(zip(requests, next_uses, strict=True)):
        found = is_cached[wanted]
        hits[number] = np.count_nonzero(found)
        next_use_of[wanted] = next_uses_of_wanted
        is_cached[cached] = False
        candidates = np.concatenate([cached, wanted[~found]])
        candidates = candidates[next_use_of[candidates] != _NEVER]
        if len(candidates) > capacity:
            order = np.argpartition(next_use_of[candidates], capacity)
            candidates = candidates[order[:capacity]]
        cached = candidates
        is_cached[cached] = True
    return hits


def _next_uses(
    requests: Sequence[npt.NDArray[np.int32]], num_distinct: int
) -> list[npt.NDArray[np.int32]]:
    """For each minibatch, the number of the one that uses each of its rows next."""
    later = np.full(num_distinct, _NEVER, dtype=np.int32)
    backwards = []
    for number in range(len(requests) - 1, -1, -1):
        backwards.append(later[requests[number]])
        later[requests[number]] = number
    return backwards[::-1]
