"""When to stop: once the validation score has not risen for a while."""

from typing import Any


class EarlyStopping:
    """Counts evaluations since the best validation score."""

    def __init__(self, patience: int) -> None:
        """Starts without a score.

        Args:
            patience: evaluations without a better score after which to stop; 0 never stops.
        """
        self._patience = patience
        self.best: float | None = None
        """Best score so far, larger is better."""
        self.num_without = 0
        """Evaluations since then."""

    @property
    def stops(self) -> bool:
        """Whether it is time to stop."""
        return 0 < self._patience <= self.num_without

    def after_evaluation(self, score: float | None) -> None:
        """Notes a validation score; None (nothing was evaluated) counts as no evaluation."""
        if score is None:
            return
        if self.best is None or score > self.best:
            self.best, self.num_without = score, 0
        else:
            self.num_without += 1

    def state_dict(self) -> dict[str, Any]:
        """Best score and evaluations since."""
        return {"best": self.best, "num_without": self.num_without}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting."""
        self.best, self.num_without = state_dict["best"], state_dict["num_without"]
