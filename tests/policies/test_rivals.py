"""What every Pass@1 stands beside: one answer always, and a threshold on one number."""

import numpy as np
import pytest
from made_up import make_observation

from gnnflow.policies.observation_features import FEATURE_NAMES, features
from gnnflow.policies.rivals import LEARNT, RIVALS, Threshold, fit_threshold, rival_scores


def best_by_hand(table, labels):
    """Every number, every limit between two of its values, both directions."""
    most = 0.0
    for column in table.T:
        values = np.unique(column)
        for limit in [values[0] - 1, *(values[1:] + values[:-1]) / 2, values[-1]]:
            for above in (True, False):
                most = max(most, float((((column > limit) == above) == labels).mean()))
    return most


@pytest.mark.parametrize("seed", range(8))
def test_the_threshold_is_the_best_there_is(seed):
    draw = np.random.default_rng(seed)
    table = draw.integers(0, 6, (40, len(FEATURE_NAMES))).astype(float)
    labels = draw.random(40) < 0.2 + 0.1 * table[:, seed % 5]
    found = fit_threshold(table, labels)
    assert rival_scores(found, table, labels)["pass_at_1_threshold"] == best_by_hand(table, labels)


@pytest.mark.parametrize("above", [True, False])
def test_it_finds_number_limit_and_direction(above):
    draw = np.random.default_rng(1)
    table = draw.random((200, len(FEATURE_NAMES)))
    uses = table[:, FEATURE_NAMES.index("incoming_uses")]
    found = fit_threshold(table, (uses > 0.4) == above)
    assert (found.feature, found.above) == ("incoming_uses", above)
    assert found.limit == pytest.approx(0.4, abs=0.03)


def test_one_answer_is_enough_where_one_is_always_right():
    table = np.zeros((5, len(FEATURE_NAMES)))
    for labels in (np.ones(5, dtype=bool), np.zeros(5, dtype=bool)):
        found = fit_threshold(table, labels)
        assert found.choices(table).tolist() == labels.tolist()


def test_scores_are_shares_of_the_situations():
    threshold = Threshold(feature="incoming_uses", limit=0.3)
    uses = (0.1, 0.2, 0.5, 0.6)
    table = np.stack([features(make_observation(incoming_uses=value)) for value in uses])
    labels = np.array([False, False, False, True])
    assert rival_scores(threshold, table, labels) == {
        "pass_at_1_always_no": 0.75,
        "pass_at_1_always_yes": 0.25,
        "pass_at_1_threshold": 0.75,
    }
    assert list(rival_scores(threshold, table, labels)) == list(RIVALS)
    asked = [threshold.replaces(make_observation(incoming_uses=value)) for value in uses]
    assert asked == threshold.choices(table).tolist() == [False, False, True, True]


def test_the_learnt_one_tells_situations_apart():
    assert LEARNT.feature in FEATURE_NAMES
    answers = {
        LEARNT.replaces(make_observation(hit_rows=hits, incoming_uses=uses, incoming_rows=rows))
        for hits in (0, 8_000, 16_000)
        for uses in (0.0, 0.5, 1.0)
        for rows in (10, 200, 1_000)
    }
    assert answers == {True, False}
