"""What replays say about parts and a budget: the best schedule, and what is possible."""

from collections.abc import Sequence
from typing import Any

from benchmarks._harness import over
from benchmarks.fixed_schedules import best_schedule, capacity_of, schedules
from gnnflow.cache import belady_hits
from gnnflow.errors import GnnflowError
from gnnflow.policies.classifier.classifier_folder import load_classifier, shipped_classifiers
from gnnflow.policies.classifier.classifier_policy import ClassifierPolicy
from gnnflow.replay import ReplaySettings, Trace, replay_trace
from gnnflow.replay.policy_replay import replay_with_policy

FILLS = ("empty", "degree")
_PERIOD_OF_POLICIES = 25


def replay_bounds(traces: Sequence[Trace], budget: int) -> dict[str, Any]:
    """Replays a budget; volumes are rows that cross, fills included, over those without a cache.

    Args:
        traces: Those of all ranks.
        budget: Cache in percent of the halo vertices.

    Returns:
        `fill`, `period` and `alpha` of the best schedule of the scorer `decay`, the best
        `classifier` that comes with gnnflow (None if none can be loaded here), the volumes that
        they were chosen by, and those of the scorer `lookahead` and of Belady's optimum.
    """
    requested = sum(trace.rows_asked for trace in traces)
    capacities = [capacity_of(trace, budget / 100) for trace in traces]

    both = list(zip(traces, capacities, strict=True))

    def volume(**settings: Any) -> float:
        rows = sum(
            replay_trace(trace, ReplaySettings(capacity=capacity, **settings)).volume_rows
            for trace, capacity in both
        )
        return over(rows, requested)

    schedule = best_schedule(traces, budget / 100, schedules(FILLS))
    by_classifier = {}
    for kind in shipped_classifiers():
        try:
            _, classifier = load_classifier(kind)
        except GnnflowError:
            continue  # its package is missing
        rows = 0
        for trace, capacity in both:
            settings = ReplaySettings(scorer="decay", capacity=capacity, period=_PERIOD_OF_POLICIES)
            policy = ClassifierPolicy(classifier)
            rows += replay_with_policy(trace, settings, policy).result.volume_rows
        by_classifier[kind] = over(rows, requested)
    hits = sum(int(belady_hits(trace.minibatches(), capacity).sum()) for trace, capacity in both)
    return {
        "fill": schedule.best.fill,
        "period": schedule.best.period,
        "alpha": schedule.best.alpha,
        "classifier": min(by_classifier, key=by_classifier.__getitem__, default=None),
        "volume_by_schedule": {
            str(each): over(rows, requested) for each, rows in schedule.tried.items()
        },
        "volume_by_classifier": by_classifier,
        "lookahead_volume": volume(scorer="lookahead"),
        "belady_volume": over(requested - hits, requested),
        "rows_without_cache": requested,
        "row_bytes": traces[0].facts.row_bytes,
    }
