"""How long work tells how far it is."""

from typing import Protocol


class Progress(Protocol):
    """Called by a stage of the partitioner as it goes on."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Tells how far a stage is.

        Args:
            stage: What is being done, a short phrase; a new phrase begins a new stage.
            done: Units done so far.
            total: Units in all; 0 if that is not known beforehand.
        """
        ...


def silent(stage: str, done: int, total: int) -> None:
    """Shows nothing."""
