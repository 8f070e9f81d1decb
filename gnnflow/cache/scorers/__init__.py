"""Scorers: one file each, and the dictionary that names them."""

from collections.abc import Callable
from dataclasses import dataclass

from gnnflow.cache.scorers.base import (
    FrequencyScorer,
    LookaheadScorer,
    LruScorer,
    ReplacementScorer,
    RowOrder,
    Scorer,
    VipScorer,
)
from gnnflow.cache.scorers.decay import DecayScorer
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.errors import ConfigError, did_you_mean

__all__ = [
    "SCORERS",
    "DecayScorer",
    "FrequencyScorer",
    "LookaheadScorer",
    "LruScorer",
    "ReplacementScorer",
    "RowOrder",
    "Scorer",
    "ScorerOptions",
    "VipScorer",
    "make_scorer",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScorerOptions:
    """What the scorers can be told; each takes what it needs."""

    alpha: float = 0.05
    """`decay`: share of its score that an unused row loses per minibatch."""
    period: int = 10
    """`decay`: unused minibatches after which a row of score 1 is stale."""
    aging: float = 0.995
    """`frequency`: what a use counts one minibatch later."""
    vip: VertexValues | None = None
    """Vertex inclusion probabilities of remote vertices: the order of `vip`, what `frequency`
    starts from, the order of `lookahead` beyond its window (aged frequency without them)."""


def _make_vip(options: ScorerOptions) -> Scorer:
    if options.vip is None:
        raise ConfigError(
            "the vip scorer needs vertex inclusion probabilities, which are not there; "
            "use scorer frequency instead"
        )
    return VipScorer(options.vip)


def _make_lookahead(options: ScorerOptions) -> Scorer:
    if options.vip is not None:
        return LookaheadScorer(VipScorer(options.vip))
    return LookaheadScorer(FrequencyScorer(factor=options.aging))


SCORERS: dict[str, Callable[[ScorerOptions], Scorer]] = {
    "decay": lambda options: DecayScorer(alpha=options.alpha, period=options.period),
    "frequency": lambda options: FrequencyScorer(factor=options.aging, prior=options.vip),
    "lookahead": _make_lookahead,
    "lru": lambda options: LruScorer(),
    "vip": _make_vip,
}


def make_scorer(name: str, options: ScorerOptions | None = None) -> Scorer:
    """Makes the scorer of a name.

    Raises:
        ConfigError: If the name is not known, or the options lack what the scorer needs.
    """
    if name not in SCORERS:
        hint = did_you_mean(name, SCORERS)
        raise ConfigError(f"unknown scorer '{name}'{hint} (known: {', '.join(sorted(SCORERS))})")
    return SCORERS[name](options or ScorerOptions())
