"""`gnnflow-replay`: what other caches would have fetched in a run that was recorded."""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from gnnflow.cache.scorers import SCORERS
from gnnflow.cli import options
from gnnflow.config import IntList, PolicyConfig, require, require_at_least
from gnnflow.config.cache import period_of
from gnnflow.errors import ConfigError, DataError, did_you_mean
from gnnflow.files.json_text import to_json_text
from gnnflow.files.whole_file import write_whole
from gnnflow.partition.plot import check_output
from gnnflow.replay.budget_table import BudgetRow, budget_table, plot_budgets
from gnnflow.replay.epoch_model import EpochModel
from gnnflow.replay.replay import ReplayResult, ReplaySettings, replay_trace
from gnnflow.replay.trace import Trace, read_traces
from gnnflow.terminal import PlainConsole, Table

PROG = "gnnflow-replay"

_ALL_SCORERS = ("lookahead", "vip", "frequency", "lru", "decay")
_BITS = {"bit": 1.0, "kbit": 1e3, "Mbit": 1e6, "Gbit": 1e9, "Tbit": 1e12}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayConfig:
    """Replays the traces of a run: what other caches would have fetched, without MPI."""

    traces: tyro.conf.Positional[Path]
    """Folder of traces, as written by gnnflow-train --trace."""

    budgets: IntList = (5, 10, 25, 50)
    """Sizes of the cache, in percent of the halo vertices of each rank."""

    scorers: str | None = None
    """Scorers to compare, with commas between; by default all that the traces allow."""

    cache_fill: Literal["empty", "degree", "random", "vip"] = "empty"
    """Rows in the cache before the first minibatch; fetching them counts."""

    period: int | None = None
    """Minibatches between two replacements, 0 for none after the fill; by default 1, and 25 for
    scorer decay."""

    alpha: float = 0.05
    """Scorer decay: share of its score that a row loses per minibatch without a use, in (0, 1)."""

    lookahead: int | Literal["auto"] = "auto"
    """Scorer lookahead: minibatches known beyond the next one, or as many as it takes (auto)."""

    policy: str | None = None
    """Name of a policy that decides when to replace, instead of the period."""

    minibatches: int | None = None
    """Replay only this many minibatches of each rank."""

    predict: str | None = None
    """Also estimate epoch times, as ranks=64,bandwidth=10Gbit,latency=50us,depth=2; what is left
    out is as in the trace."""

    json: Path | None = None
    """File for the numbers."""

    plot: Path | None = None
    """Picture (.png, .svg, .pdf) of hit rate and volume against budget."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        for budget in self.budgets:
            require(0 <= budget <= 100, f"budgets must be in [0, 100] percent, got {budget}")
        require(0 < self.alpha < 1, f"alpha must be in (0, 1), got {self.alpha}")
        require_at_least(self, 0, "period")
        require_at_least(self, 1, "minibatches")


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    options.run(lambda: _replay(args))


def _replay(args: Sequence[str] | None) -> None:
    config = options.parse(ReplayConfig, prog=PROG, args=args)
    scorers = None if config.scorers is None else _scorer_names(config.scorers)
    conditions = None if config.predict is None else parse_conditions(config.predict)
    if config.plot is not None:
        check_output(config.plot)
    traces = _traces(config)
    # Fitted first: traces without times are refused before the work.
    model = None if conditions is None else EpochModel.fit(traces)
    rows = _budget_rows(config, traces, scorers)
    console = PlainConsole()
    console.print(_table(traces, rows))
    _say_never_filled(console, config, traces[0], rows)
    result: dict[str, Any] = {"rows": [row.to_json() for row in rows]}
    shown = [row for row in rows if not row.never_filled]
    if model is not None and conditions is not None:
        result["predictions"] = _predictions(model, conditions, traces, shown)
        console.print(_prediction_table(model, result["predictions"]))
    if config.json is not None:
        write_whole(config.json, to_json_text(result, indent=2) + "\n", "the numbers")
    if config.plot is not None:
        facts = traces[0].facts
        plot_budgets(shown, config.plot, title=f"{facts.graph}, {facts.num_ranks} ranks")


def _traces(config: ReplayConfig) -> Sequence[Trace]:
    traces = read_traces(config.traces)
    if config.minibatches is None:
        return traces
    return [trace.head(config.minibatches) for trace in traces]


def _budget_rows(
    config: ReplayConfig, traces: Sequence[Trace], scorers: Sequence[str] | None
) -> Sequence[BudgetRow]:
    """Replays the traces with every scorer, by default all that they allow, and every budget."""
    if scorers is None:
        has_vip = all(trace.vip is not None for trace in traces)
        scorers = [name for name in _ALL_SCORERS if name != "vip" or has_vip]
    rows = budget_table(traces, config.budgets, scorers, _runner(config))
    if config.policy is not None:  # which decides when, whatever the period
        rows = [dataclasses.replace(row, never_filled=False) for row in rows]
    return rows


def _say_never_filled(
    console: PlainConsole, config: ReplayConfig, trace: Trace, rows: Sequence[BudgetRow]
) -> None:
    """Says why scorers into whose cache nothing came have no figures."""
    for name in dict.fromkeys(row.scorer for row in rows if row.never_filled):
        period = period_of(name, config.period)
        when = f"comes after {period:,} minibatches" if period else "never comes (period 0)"
        console.print(
            f"{name}: no figures, for nothing came into the cache: its first replacement {when}, "
            f"and a rank has {trace.num_minibatches:,}; give another --period or record more",
            soft_wrap=True,
        )


def parse_conditions(text: str) -> dict[str, Any]:
    """Reads what `--predict` asks for, as `ranks=64,bandwidth=10Gbit,latency=50us,depth=2`.

    Returns:
        Arguments of `EpochModel.predict`.

    Raises:
        ConfigError: If a part is not of this form.
    """
    readers: dict[str, tuple[str, Callable[[str], float]]] = {
        "ranks": ("num_ranks", lambda value: _whole("ranks", value, 1)),
        "depth": ("depth", lambda value: _whole("depth", value, 0)),
        "bandwidth": ("bytes_per_s", lambda value: _quantity("bandwidth", value, _BITS) / 8),
        "latency": ("latency_s", lambda value: _quantity("latency", value, _SECONDS)),
    }
    conditions: dict[str, Any] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, _, value = part.partition("=")
        if name not in readers or not value:
            raise ConfigError(
                f"predict takes {', '.join(readers)} with '=' and a value, got '{part}'"
                f"{did_you_mean(name, readers)}"
            )
        key, read = readers[name]
        conditions[key] = read(value)
    return conditions


def _whole(name: str, value: str, least: int) -> int:
    if not value.isdecimal() or int(value) < least:
        raise ConfigError(f"{name} of predict must be a whole number from {least} on, got {value}")
    return int(value)


def _quantity(name: str, value: str, units: dict[str, float]) -> float:
    match = re.fullmatch(r"([0-9.]+(?:e[+-]?[0-9]+)?)([A-Za-z]+)", value)
    try:
        if match is None or match[2] not in units or not 0 < float(match[1]) < math.inf:
            raise ValueError
        return float(match[1]) * units[match[2]]
    except ValueError:
        raise ConfigError(
            f"{name} of predict must be a positive number and one of {', '.join(units)}, "
            f"got {value}"
        ) from None


def _scorer_names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in SCORERS:
            raise ConfigError(
                f"unknown scorer '{name}'{did_you_mean(name, SCORERS)} "
                f"(known: {', '.join(sorted(SCORERS))})"
            )
    return names


def _runner(config: ReplayConfig) -> Callable[[Trace, str, int], ReplayResult]:
    """What replays one trace as the options say."""

    def run(trace: Trace, scorer: str, capacity: int) -> ReplayResult:
        period = period_of(scorer, config.period)
        settings = ReplaySettings(
            scorer=scorer,
            capacity=0 if config.policy == "none" else capacity,
            fill=config.cache_fill,
            period=period,
            alpha=config.alpha,
            lookahead=config.lookahead,
        )
        if config.policy in (None, "none"):
            return replay_trace(trace, settings)
        from gnnflow.policies import RankInfo
        from gnnflow.policies.registry import make_policy
        from gnnflow.replay.policy_replay import replay_with_policy

        policy = make_policy(PolicyConfig(policy=config.policy), RankInfo(period=period))
        return replay_with_policy(trace, settings, policy).result

    return run


def _table(traces: Sequence[Trace], rows: Sequence[BudgetRow]) -> Table:
    facts = traces[0].facts
    # As it has always been for the draw of older traces.
    drawn = "" if facts.draw == "independent" else f"drawn {facts.draw}, "
    if facts.first_hop != "sampled":
        drawn += "first hop stored, "
    table = Table(
        title=f"{facts.graph}: {facts.num_ranks} ranks, {traces[0].num_minibatches} minibatches "
        f"each, {drawn}{rows[0].rows_asked if rows else 0:,} remote rows without a cache",
        title_justify="left",
    )
    for column in ("budget", "scorer", "hit rate", "volume", "rows moved", "MB", "over belady"):
        table.add_column(column, justify="left" if column == "scorer" else "right")
    budget = None
    for row in rows:
        figures = [
            f"{row.hit_rate:.3f}",
            f"{row.relative_volume:.3f}",
            f"{row.volume_rows:,}",
            f"{row.volume_bytes / 1e6:,.1f}",
            f"{row.over_belady:.3f}",
        ]
        table.add_row(
            f"{row.budget_percent} %" if row.budget_percent != budget else "",
            row.scorer,
            *(["-"] * len(figures) if row.never_filled else figures),
        )
        budget = row.budget_percent
    return table


def _predictions(
    model: EpochModel,
    conditions: dict[str, Any],
    traces: Sequence[Trace],
    rows: Sequence[BudgetRow],
) -> list[dict[str, Any]]:
    """Epoch times without a cache and with every cache of the table."""
    row_bytes = traces[0].facts.row_bytes
    recorded = sum(int(trace.columns["moved_bytes"].sum()) for trace in traces)
    if recorded == 0:
        raise DataError(
            "no rows crossed between ranks in this run, so nothing is known of the links; record "
            "it with --transport alltoall"
        )
    requested = sum(trace.rows_asked for trace in traces) * row_bytes
    # Other arrays, such as labels, are not cached and cross in any case.
    others = max(recorded - _cached_traffic(traces), 0)
    volumes: list[tuple[str, int, float]] = [("none", 0, requested)]
    volumes += [(row.scorer, row.budget_percent, row.volume_bytes) for row in rows]
    predictions = []
    for scorer, budget, num_bytes in volumes:
        relative = (num_bytes + others) / recorded
        made = model.predict(**conditions, relative_volume=relative)
        predictions.append(
            {
                "scorer": scorer,
                "budget_percent": budget,
                "epoch_s": made.epoch_s,
                "sample_s": made.sample_s,
                "fetch_s": made.fetch_s,
                "train_s": made.train_s,
                "num_steps": made.num_steps,
                "moved_bytes": made.bytes_fetched,
            }
        )
    return predictions


def _cached_traffic(traces: Sequence[Trace]) -> int:
    """Bytes of cached rows that crossed in the recorded run."""
    return sum(
        int(trace.rows_asked - trace.columns["num_hits"].sum() + trace.columns["num_fill"].sum())
        * trace.facts.row_bytes
        for trace in traces
    )


def _prediction_table(model: EpochModel, predictions: Sequence[dict[str, Any]]) -> Table:
    rate = model.link.bytes_per_s
    fitted = "no limit" if math.isinf(rate) else f"{8 * rate / 1e9:.2f} Gbit/s"
    table = Table(
        title=f"estimated epoch ({predictions[0]['num_steps']} steps); recorded: "
        f"{model.measured_s:.2f} s on {model.num_ranks} ranks, rows at {fitted}, "
        f"{1e3 * model.link.latency_s:.2f} ms a fetch, {100 * model.overlap:.0f} % overlap",
        title_justify="left",
    )
    for column in ("budget", "scorer", "epoch", "sample", "fetch", "train"):
        table.add_column(column, justify="left" if column == "scorer" else "right")
    for each in predictions:
        table.add_row(
            f"{each['budget_percent']} %",
            each["scorer"],
            *(f"{each[name]:.2f} s" for name in ("epoch_s", "sample_s", "fetch_s", "train_s")),
        )
    return table


if __name__ == "__main__":
    main()
