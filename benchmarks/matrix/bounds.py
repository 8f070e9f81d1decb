"""What replays say about parts and a budget: the best schedule, and what is possible."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from gnnflow.policies.classifier.policy import ClassifierPolicy
from gnnflow.policies.classifier.saved import load_classifier, shipped_classifiers
from gnnflow.prefetch import ReplaySettings, Trace, belady_hits, replay_trace
from gnnflow.prefetch.policy_replay import replay_with_policy

PERIODS = (1, 2, 5, 10, 25, 50, 100)
FILLS = ("empty", "degree")
_PERIOD_OF_POLICIES = 25


def replay_bounds(traces: Sequence[Trace], budget: int) -> dict[str, Any]:
    """Replays a budget; volumes are rows that cross, fills included, over those without a cache.

    Args:
        traces: Those of all ranks.
        budget: Cache in percent of the halo vertices.

    Returns:
        `fill` and `period` of the best schedule of the scorer `decay`, the best `classifier` that
        comes with gnnflow, the volumes that they were chosen by, and those of the scorer
        `lookahead` and of Belady's optimum.
    """
    requested = sum(trace.num_requested for trace in traces)
    capacities = [int(budget / 100 * trace.num_halo) for trace in traces]

    both = list(zip(traces, capacities, strict=True))

    def volume(**settings: Any) -> float:
        rows = sum(
            replay_trace(trace, ReplaySettings(capacity=capacity, **settings)).volume_rows
            for trace, capacity in both
        )
        return rows / requested

    schedules = [*product(FILLS, PERIODS), ("degree", 0)]
    by_schedule = {
        (fill, period): volume(scorer="decay", fill=fill, period=period)
        for fill, period in schedules
    }
    best_fill, best_period = min(by_schedule, key=by_schedule.__getitem__)
    by_classifier = {}
    for kind in shipped_classifiers():
        _, classifier = load_classifier(kind)
        rows = 0
        for trace, capacity in both:
            settings = ReplaySettings(scorer="decay", capacity=capacity, period=_PERIOD_OF_POLICIES)
            policy = ClassifierPolicy(classifier)
            rows += replay_with_policy(trace, settings, policy).result.volume_rows
        by_classifier[kind] = rows / requested
    hits = sum(int(belady_hits(trace.minibatches(), capacity).sum()) for trace, capacity in both)
    return {
        "fill": best_fill,
        "period": best_period,
        "classifier": min(by_classifier, key=by_classifier.__getitem__),
        "volume_by_schedule": {
            f"{fill}, {period}": volume for (fill, period), volume in by_schedule.items()
        },
        "volume_by_classifier": by_classifier,
        "lookahead_volume": volume(scorer="lookahead"),
        "belady_volume": 1 - hits / requested,
        "rows_without_cache": requested,
        "row_bytes": traces[0].facts.row_bytes,
    }
