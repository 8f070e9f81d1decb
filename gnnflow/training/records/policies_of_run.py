"""What the policy of a run decided, over all ranks: for the table at the end and `summary.json`."""

from collections.abc import Mapping
from typing import Any

from gnnflow.comm import Context
from gnnflow.config import TrainConfig
from gnnflow.loader import DistNeighborLoader
from gnnflow.policies import DecisionStatistics
from gnnflow.policies.rivals import RIVALS
from gnnflow.terminal import Table

_MAX_ERRORS = 5
_OWN_SITUATIONS = (
    "Pass@1 is over the situations of this run; another policy meets others, so compare it with "
    "its rivals here, and policies by the rows that they move."
)
_SHARES = (
    ("valid_share", "Valid"),
    ("stale_share", "Stale"),
    ("failed_share", "Failed"),
    ("timeout_share", "Late"),
)


def policy_summary(config: TrainConfig, loader: DistNeighborLoader, ctx: Context) -> dict[str, Any]:
    """Adds up the decisions of all ranks, each of which calls this once its loader is finished.

    Returns:
        Name and mode of the policy, the ranks that it steered, and the figures of
        `DecisionStatistics.summary`.
    """
    policy = loader.policy
    own = None if policy is None else policy.statistics.to_json()
    parts = [part for part in ctx.allgather_json(own) if part is not None]
    return {
        "name": config.policy.policy if policy is None else policy.name,
        "mode": config.policy.policy_mode,
        "ranks": len(parts),
        **DecisionStatistics.merged(parts).summary(),
    }


def policy_table(summary: Mapping[str, Any]) -> Table | None:
    """The same to be printed; None if no rank asked a policy."""
    if not summary["ranks"]:
        return None
    ranks = summary["ranks"]
    table = Table(
        title=f"policy {summary['name']} on {ranks} {'rank' if ranks == 1 else 'ranks'}",
        show_header=False,
        caption=None if summary["pass_at_1"] is None else _OWN_SITUATIONS,
    )
    table.add_column()
    table.add_column(justify="right", overflow="fold")
    table.add_row("Decisions", f"{summary['decisions']:,} of {summary['decision_points']:,} points")
    table.add_row("Replacements", f"{summary['replacements']:,}")
    for name, words in _SHARES:
        table.add_row(words, _percent(summary[name]))
    table.add_row("Busy or not ready when due", _percent(summary["busy_share"]))
    table.add_row("Latency, median", _milliseconds(summary["latency_median_s"]))
    table.add_row("Latency, 95th percentile", _milliseconds(summary["latency_p95_s"]))
    table.add_row("Pass@1", _percent(summary["pass_at_1"]))
    for name, words in RIVALS.items():
        table.add_row(f"  {words}", _percent(summary[name]))
    table.add_row("Expected hit rate came true", _percent(summary["hit_rate_agreement"]))
    table.add_row("Expected volume came true", _percent(summary["volume_agreement"]))
    for error, count in list(summary["errors"].items())[:_MAX_ERRORS]:
        table.add_row(f"{count:,} times", error)
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.1f} ms"
