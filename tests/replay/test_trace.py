import json
from dataclasses import replace

import numpy as np
import pytest
from trace_maker import make_trace

from gnnflow.errors import DataError
from gnnflow.replay import TraceFacts, TraceRecorder, read_trace, read_traces, write_trace
from gnnflow.replay.trace import COLUMNS, trace_file


def rewrite(path, **changes):
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def test_traces_survive_the_disk(tmp_path):
    traces = [make_trace(rank, rank=rank, num_ranks=2) for rank in range(2)]
    for trace in traces:
        write_trace(tmp_path, trace)
    assert not list(tmp_path.glob("*.part*"))
    for written, read in zip(traces, read_traces(tmp_path), strict=True):
        assert read.facts == written.facts
        assert read.num_minibatches == written.num_minibatches == 80
        for number in range(80):
            assert read.ids(number).tolist() == written.ids(number).tolist()
            assert read.ids(number).dtype == np.int64
        for name, dtype in COLUMNS.items():
            assert read.columns[name].dtype == dtype
            assert (read.columns[name] == written.columns[name]).all()
        assert (read.halo == written.halo).all()
        assert (read.halo_degree == written.halo_degree).all()
        assert (read.vip.ids == written.vip.ids).all()
        assert (read.vip.values == written.vip.values).all()


def test_large_ids_and_no_minibatches(tmp_path):
    facts = TraceFacts(graph="huge", rank=0, num_ranks=1)
    halo = np.array([5], dtype=np.int64)
    recorder = TraceRecorder(facts, halo, halo)
    assert read_trace(recorder.save(tmp_path)).num_minibatches == 0
    recorder.add(np.array([2**40, 3], dtype=np.int64))
    recorder.add(np.array([], dtype=np.int64))
    trace = read_trace(recorder.save(tmp_path))
    assert [ids.tolist() for ids in trace.minibatches()] == [[2**40, 3], []]
    assert trace.vip is None
    with pytest.raises(TypeError, match="no column speed"):
        recorder.add(halo, speed=1.0)


def test_head_is_a_trace_of_the_first_minibatches():
    trace = make_trace()
    head = trace.head(7)
    assert head.num_minibatches == 7
    assert head.rows_asked == sum(len(trace.ids(number)) for number in range(7))
    assert trace.head(1000).num_minibatches == 80


def test_missing_traces_are_named(tmp_path):
    with pytest.raises(DataError, match="holds no traces .*record some with --trace"):
        read_traces(tmp_path)
    with pytest.raises(DataError, match="there is no trace"):
        read_trace(tmp_path / "trace-rank00000.npz")
    write_trace(tmp_path, make_trace(rank=1, num_ranks=2))
    with pytest.raises(DataError, match=r"ranks 0 to 1, got \[1\]"):
        read_traces(tmp_path)
    write_trace(tmp_path, make_trace(rank=0, num_ranks=2, graph="other"))
    with pytest.raises(DataError, match="different runs"):
        read_traces(tmp_path)


def test_damage_is_told(tmp_path):
    path = write_trace(tmp_path, make_trace())
    assert path == trace_file(tmp_path, 0)
    rewrite(path, offsets=np.array([1, 2]))
    with pytest.raises(DataError, match="offsets do not fit"):
        read_trace(path)
    write_trace(tmp_path, make_trace())
    rewrite(path, wait_s=None)
    with pytest.raises(DataError, match="lacks wait_s"):
        read_trace(path)
    write_trace(tmp_path, make_trace())
    rewrite(path, epoch=np.zeros(3, np.int64))
    with pytest.raises(DataError, match="epoch must have 80 entries"):
        read_trace(path)
    rewrite(path, facts=np.frombuffer(json.dumps({"version": 9}).encode(), dtype=np.uint8))
    with pytest.raises(DataError, match="not a trace of version 1"):
        read_trace(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="not a trace or damaged"):
        read_trace(path)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_trace(tmp_path / "file", make_trace())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"remote_ids": np.zeros(3)}, "remote_ids holds float64"),
        ({"wait_s": np.zeros(80, "M8[s]")}, "wait_s holds datetime64"),
        ({"epoch": np.zeros(80, complex)}, "epoch holds complex128"),
        ({"halo": np.int64(3)}, r"halo holds int64 of shape \[\]"),
        ({"halo": np.array([3, 2]), "halo_degree": np.array([1, 1])}, "do not ascend"),
        ({"halo_degree": np.array([1])}, "lack a degree"),
        ({"vip_values": np.array(["x"])}, "vip_values holds"),
        ({"vip_values": np.zeros(3, np.float32)}, "need one value per id"),
        ({"remote_ids": np.array([5, 5]), "offsets": np.repeat([0, 2], [1, 80])}, "a row twice"),
        ({"remote_ids": np.array([-1]), "offsets": np.repeat([0, 1], [1, 80])}, "not of the graph"),
        (
            {"vip_ids": np.array([-1]), "vip_values": np.ones(1, np.float32)},
            "vip_ids holds ids that are not of the graph",
        ),
    ],
)
def test_columns_of_another_kind_are_refused(tmp_path, changes, message):
    path = write_trace(tmp_path, make_trace())
    rewrite(path, **changes)
    with pytest.raises(DataError, match=message):
        read_trace(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("graph", 3), ("rank", -1), ("num_ranks", 2**80), ("fanout", [[1]]), ("settings", None)],
)
def test_facts_of_another_kind_are_refused(tmp_path, name, value):
    path = write_trace(tmp_path, make_trace())
    with np.load(path, allow_pickle=False) as file:
        facts = json.loads(file["facts"].tobytes())
    text = json.dumps(facts | {name: value}).encode()
    rewrite(path, facts=np.frombuffer(text, np.uint8))
    with pytest.raises(DataError, match=f"its fact '{name}' is"):
        read_traces(tmp_path)


def test_a_trace_says_which_draw_it_is_of(tmp_path):
    facts = TraceFacts(graph="g", rank=0, num_ranks=2)
    assert facts.draw == "independent"
    shared = replace(facts, settings={"draw": "shared", "draw_every": 16})
    assert shared.draw == "shared"
    dependent = replace(facts, rank=1, settings={"draw": "dependent", "draw_every": 16})
    assert dependent.draw == "dependent, 16 steps"
    weighted = replace(shared, settings={**shared.settings, "weight_attr": "weight"})
    assert weighted.draw == "shared, by weight"
    assert replace(facts, settings={"weight_attr": "w"}).draw == "independent, by w"
    for each in (shared, dependent):
        recorder = TraceRecorder(each, np.zeros(0, np.int64), np.zeros(0, np.int64))
        write_trace(tmp_path, recorder.trace())
    with pytest.raises(DataError, match="mixes traces of different runs"):
        read_traces(tmp_path)
    for each in (shared, replace(weighted, rank=1)):
        recorder = TraceRecorder(each, np.zeros(0, np.int64), np.zeros(0, np.int64))
        write_trace(tmp_path, recorder.trace())
    with pytest.raises(DataError, match="mixes traces of different runs"):
        read_traces(tmp_path)
