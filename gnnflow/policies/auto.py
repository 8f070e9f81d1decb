"""A rule that predicts what a replacement will save, and corrects itself by what it did save."""

from typing import Any

from gnnflow.config import PolicyConfig
from gnnflow.policies.decision import FREE, Decision, Outcome, RankInfo
from gnnflow.policies.observation import Observation
from gnnflow.policies.observation_features import GAIN_HORIZON, expected_saving
from gnnflow.policies.transfer_choice import TransferRule, with_transfer

_FIRST_YIELD = 0.6
_FADING = 0.8
_YIELD_LIMITS = (0.05, 1.5)


class AutoPolicy:
    """Replaces when the rows that it saves should come to more than the rows that it costs.

    What a row was used for in the past overstates its future: rows are picked because they were
    used often. The share of the predicted uses that came true, the yield, is learnt from outcomes.

    Fewer rows make a shorter epoch on any link: in the model of `gnnflow.replay.epoch_model`
    seconds only rise with bytes. So rows are compared, which are exact, and not seconds.
    """

    name = "auto"

    def __init__(self, horizon: int = GAIN_HORIZON) -> None:
        """Sets the minibatches within which a replacement has to pay for itself."""
        self._horizon = horizon
        self._yield = _FIRST_YIELD
        self._transfer = TransferRule()

    def decide(self, observation: Observation) -> Decision:
        """Predicts the saving and replaces if there is one; moves rows thriftily if need be."""
        return with_transfer(self._replacement(observation), self._transfer.choose(observation))

    def _replacement(self, observation: Observation) -> Decision:
        if observation.facts.free_admission:
            return Decision(replace=True, explanation=FREE)
        minibatches = min(self._horizon, observation.remaining_minibatches)
        cost = observation.state.incoming_rows
        gross = expected_saving(observation, minibatches) + cost
        saving = self._yield * gross - cost
        moved = observation.window.moved_rows_per_minibatch * max(minibatches, 1)
        replace = cost > 0 and saving > 0
        change = -min(saving / max(moved, 1.0), 1.0) if replace else 0.0
        return Decision(
            replace=replace,
            expected_volume_change=change,
            explanation=f"replacing {cost} rows should save {saving:.0f} rows "
            f"within {minibatches} minibatches",
        )

    def feedback(self, observation: Observation, decision: Decision, outcome: Outcome) -> None:
        """Compares the uses that were predicted with those that came."""
        cost = observation.state.incoming_rows
        predicted = expected_saving(observation, outcome.minibatches) + cost
        if outcome.saved_rows is None or cost == 0 or predicted <= 0:
            return
        came_true = (outcome.saved_rows + cost) / predicted
        mixed = _FADING * self._yield + (1 - _FADING) * came_true
        self._yield = min(max(mixed, _YIELD_LIMITS[0]), _YIELD_LIMITS[1])

    def state(self) -> dict[str, Any]:
        """The yield learnt so far."""
        return {"yield": self._yield, "thrift": self._transfer.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on with the yield of a checkpoint."""
        self._yield = float(state["yield"])
        self._transfer.load_state(state["thrift"])


def make_auto(config: PolicyConfig, rank_info: RankInfo) -> AutoPolicy:
    """Builds the policy `auto`."""
    return AutoPolicy()
