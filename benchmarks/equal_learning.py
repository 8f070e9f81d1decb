"""Whether contenders whose times are compared have learnt as much, after the same epochs."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Learnt:
    """Accuracies of one contender, run by run, each run with a seed of its own."""

    by_split: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """`val` and `test`, those that are known."""

    def median(self, split: str) -> float | None:
        """Median over the runs, None where it is not known."""
        values = self.by_split.get(split)
        return statistics.median(values) if values else None

    def spread(self, split: str) -> float | None:
        """Difference between the best and the worst run; None of fewer than two."""
        values = self.by_split.get(split, ())
        return max(values) - min(values) if len(values) > 1 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """How far two contenders are apart in one split."""

    split: str
    gap: float
    """Ours less theirs."""
    spread: float | None
    """The wider one of both sides; None if neither ran twice."""

    @property
    def exceeds(self) -> bool:
        """Whether they differ by more than the spread, if that is known."""
        return self.spread is not None and abs(self.gap) > self.spread

    def __str__(self) -> str:
        """In a few words."""
        if self.spread is None:
            return f"{self.split} {self.gap:+.4f}, spread not known from one run each"
        verdict = "DIFFER BY MORE THAN" if self.exceeds else "within"
        return f"{self.split} {self.gap:+.4f}, {verdict} the spread of {self.spread:.4f}"


def gaps(ours: Learnt, theirs: Learnt) -> list[Gap]:
    """Compares the splits that both sides know."""
    found = []
    for split in ("val", "test"):
        our, their = ours.median(split), theirs.median(split)
        if our is None or their is None:
            continue
        spreads = [each for side in (ours, theirs) if (each := side.spread(split)) is not None]
        found.append(Gap(split=split, gap=our - their, spread=max(spreads, default=None)))
    return found
