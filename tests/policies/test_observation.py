import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import make_observation

from gnnflow.errors import DataError
from gnnflow.files.json_record import read_record
from gnnflow.policies import FEATURE_NAMES, Observation, features
from gnnflow.policies.observation import CacheState, RunFacts, Window, to_json
from gnnflow.policies.observation_features import expected_saving, feature_values

COUNT = st.integers(0, 2**40)


def windows() -> st.SearchStrategy[Window]:
    return st.builds(
        lambda minibatches, remote, share, filled, stall: Window(
            minibatches=minibatches,
            remote_rows=remote,
            hit_rows=int(remote * share),
            filled_rows=filled,
            stall_s=stall,
            elapsed_s=stall * 2,
        ),
        st.integers(0, 100),
        COUNT,
        st.floats(0, 1),
        COUNT,
        st.floats(0, 1e6),
    )


OBSERVATIONS = st.builds(
    Observation,
    rank=st.integers(0, 1000),
    minibatch=st.integers(0, 10**6),
    minibatches_since_replacement=st.integers(0, 10**6),
    facts=st.builds(
        RunFacts,
        scorer=st.sampled_from(["decay", "lookahead"]),
        num_parts=st.integers(1, 64),
        graph_vertices=COUNT,
        graph_edges=COUNT,
        part_vertices=COUNT,
        halo_vertices=COUNT,
        cache_rows=COUNT,
        row_bytes=st.integers(1, 4096),
        num_minibatches=st.integers(0, 10**6),
        max_lookahead=st.just(0),
        max_exchange_every=st.just(1),
        wire_dtypes=st.just(("float32",)),
    ),
    window=windows(),
    before=windows(),
    state=st.builds(
        CacheState,
        occupied_rows=COUNT,
        stale_rows=COUNT,
        candidate_rows=COUNT,
        incoming_rows=COUNT,
        outgoing_rows=COUNT,
        incoming_uses=st.floats(0, 1e6),
        outgoing_uses=st.floats(0, 1e6),
    ),
    history=st.just(()),
)


@settings(max_examples=60)
@given(OBSERVATIONS)
def test_an_observation_survives_json(observation):
    text = json.dumps(to_json(observation), allow_nan=False)
    assert read_record(Observation, json.loads(text)) == observation


@settings(max_examples=60)
@given(OBSERVATIONS)
def test_features_are_finite_and_bounded_whatever_the_run(observation):
    values = features(observation)
    assert values.shape == (len(FEATURE_NAMES),)
    assert np.isfinite(values).all()
    assert np.abs(values).max() < 15  # log1p(1e6) is below 14


def test_features_do_not_see_the_size_of_the_graph():
    small = make_observation()
    large = make_observation(
        remote_rows=16_000_000,
        hit_rows=8_000_000,
        cache_rows=1_000_000,
        halo_vertices=8_000_000,
        part_vertices=15_000_000,
        occupied_rows=1_000_000,
        stale_rows=200_000,
        candidate_rows=3_000_000,
        incoming_rows=200_000,
        outgoing_rows=200_000,
        graph_vertices=60_000_000,
    )
    np.testing.assert_allclose(features(small), features(large), rtol=1e-9)


def test_rates_come_from_the_latest_window():
    observation = make_observation()
    values = feature_values(observation)
    assert values["hit_rate"] == pytest.approx(0.5)
    assert values["hit_rate_change"] == pytest.approx(-0.05)
    assert values["stall_share"] == pytest.approx(0.25)
    # 200 rows cost 200 and save 200 * (0.5 - 0.05) in each of 8 minibatches.
    assert expected_saving(observation, 8) == pytest.approx(520)
    assert values["expected_gain"] == pytest.approx((200 * 0.45 * 16 - 200) / 16_000)


def test_a_window_without_remote_rows_has_hit_rate_one():
    assert Window().hit_rate == 1.0
    assert Window().moved_rows_per_minibatch == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": "1"}, "Observation.rank must be a finite int"),
        ({"rank": True}, "Observation.rank must be a finite int"),
        ({"rank": None}, "Observation.rank must be a finite int"),
        ({"extra": 1}, "no field 'extra'"),
        ({"history": 3}, "Observation.history must be a list"),
        ({"window": []}, "Window must be a JSON object, got a list"),
    ],
)
def test_records_are_read_strictly(change, message):
    with pytest.raises(DataError, match=message):
        read_record(Observation, to_json(make_observation()) | change)


def test_infinite_and_missing_numbers_are_refused():
    values = to_json(make_observation())
    values["state"]["incoming_uses"] = math.inf
    with pytest.raises(DataError, match="incoming_uses must be a finite float, got inf"):
        read_record(Observation, values)
    del values["state"]["incoming_uses"]
    with pytest.raises(DataError, match="lacks the field 'incoming_uses'"):
        read_record(Observation, values)
