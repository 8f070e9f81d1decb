import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks._traces import traces_of_parts
from benchmarks.fixed_schedules import FixedSchedule, schedules
from benchmarks.matrix import bounds as matrix_bounds
from benchmarks.matrix.__main__ import MatrixPlan, RunsFile, run_matrix, unfinished
from benchmarks.matrix.bounds import FILLS, replay_bounds
from benchmarks.matrix.cells import BLOCKS, CONTENDERS, GRAPHS, PEERS, QUICK, Block, Cell
from benchmarks.matrix.load import OtherLoad
from benchmarks.matrix.runs import Bench, CellUnavailableError, check, words_of
from gnnflow.config import PartitionConfig
from gnnflow.datasets import generate
from gnnflow.partition import partition_graph

BLOCK = Block(
    graphs=("sbm",), parts=2, rate="1gbit", budgets=(25, 50), policies=("none", "static", "llm")
)


def bench(work: Path) -> Bench:
    return Bench(graphs=GRAPHS, work=work, pythons=dict.fromkeys(PEERS))


def plan(
    work: Path, *, only: dict[str, tuple[str, ...]] | None = None, repeats: int = 2
) -> MatrixPlan:
    return MatrixPlan(
        bench=bench(work), blocks=(BLOCK,), only=only or {}, repeats=repeats, minutes=1
    )


def line(cell: Cell) -> dict[str, object]:
    return {"kind": "run", **asdict(cell), "epoch_time_s": [1.0]}


def names(plan: MatrixPlan, runs: RunsFile) -> list[tuple[str, int, str]]:
    return [(cell.policy, cell.budget, cell.mode) for cell in unfinished(plan, runs)]


def test_blocks_name_what_there_is():
    for block in (*BLOCKS, *QUICK):
        assert set(block.graphs) <= GRAPHS.keys()
        assert set(block.policies) <= CONTENDERS.keys()
    # The matrix that is asked for: graphs, parts, budgets, and every kind of policy.
    cells = [cell for block in BLOCKS for cell in block.cells()]
    assert {cell.parts for cell in cells} == {2, 4}
    assert {cell.budget for cell in cells} == {0, 5, 25, 50}
    assert {cell.policy for cell in cells} == CONTENDERS.keys()
    assert {cell.graph for cell in cells} == GRAPHS.keys()


def test_a_cell_without_a_cache_runs_once_for_all_budgets():
    assert [(cell.policy, cell.budget, cell.mode) for cell in BLOCK.cells()] == [
        ("none", 0, ""),
        ("static", 25, ""),
        ("llm", 25, "async"),
        ("llm", 25, "sync"),
        ("static", 50, ""),
        ("llm", 50, "async"),
        ("llm", 50, "sync"),
    ]


def test_a_stopped_matrix_goes_on_where_it_was(tmp_path):
    path = tmp_path / "runs.jsonl"
    everything = list(unfinished(plan(tmp_path, repeats=1), RunsFile(path)))
    RunsFile(path).add(line(everything[0]))
    RunsFile(path).add(line(everything[2]))
    again = RunsFile(path)
    assert again.count(everything[0]) == 1
    remaining = list(unfinished(plan(tmp_path, repeats=1), again))
    assert remaining == [cell for cell in everything if cell not in (everything[0], everything[2])]
    # A second run of each follows when all have had their first.
    twice = list(unfinished(plan(tmp_path, repeats=2), again))
    assert twice == remaining + everything


def test_a_disturbed_run_does_not_count(tmp_path):
    path = tmp_path / "runs.jsonl"
    first = next(unfinished(plan(tmp_path), RunsFile(path)))
    RunsFile(path).add(line(first) | {"others_cores": 0.5})
    assert RunsFile(path).count(first) == 0
    RunsFile(path).add(line(first) | {"others_cores": 0.05})
    assert RunsFile(path).count(first) == 1


def test_what_others_take_of_the_cores_is_seen():
    load = OtherLoad()
    burned = sum(range(3_000_000))  # by this process, which does not count itself
    assert burned
    assert 0 <= load.cores <= os.cpu_count()


def test_only_some_cells_are_wanted(tmp_path):
    runs = RunsFile(tmp_path / "runs.jsonl")
    only = {"policy": ("static", "none"), "budget": ("0", "50")}
    assert names(plan(tmp_path, only=only, repeats=1), runs) == [
        ("none", 0, ""),
        ("static", 50, ""),
    ]


def test_what_cannot_run_is_left_out_with_a_word(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GNNFLOW_CACHE", str(tmp_path))
    tuned = Cell(graph="sbm", parts=2, rate="1gbit", budget=25, policy="llm-tuned", mode="sync")
    with pytest.raises(CellUnavailableError, match="get-model"):
        check(bench(tmp_path), tuned)
    distdgl = Block(
        graphs=("sbm",), parts=2, rate="1gbit", budgets=(25,), policies=("distdgl", "llm-tuned")
    )
    runs = RunsFile(tmp_path / "runs.jsonl")
    without = MatrixPlan(bench=bench(tmp_path), blocks=(distdgl,), only={}, repeats=1, minutes=1)
    run_matrix(without, runs)
    said = capsys.readouterr().out
    assert said.count("left out: DistDGL") == 1
    assert said.count("left out: language models") == 1
    assert not runs.lines


def test_words_of_a_cell():
    def words(policy: str, mode: str = "", classifier: str | None = "mlp") -> list[str]:
        cell = Cell(graph="sbm", parts=2, rate="1gbit", budget=25, policy=policy, mode=mode)  # type: ignore[arg-type]
        bounds = {"period": 10, "fill": "degree", "alpha": 0.2, "classifier": classifier}
        return list(words_of(cell, bounds))

    assert words("none") == ["--policy", "none"]
    assert words("lookahead") == ["--cache-fraction", "0.25"]
    schedule = FixedSchedule(fill="degree", period=10, alpha=0.2)
    assert words("static") == ["--cache-fraction", "0.25", *schedule.words()]
    assert words("classifier", "sync")[-4:] == ["--policy-mode", "sync", "--classifier", "mlp"]
    with pytest.raises(CellUnavailableError, match="no classifier"):
        words("classifier", "sync", classifier=None)


def test_replays_find_the_best_schedule_and_what_is_possible(tmp_path, monkeypatch):
    graph = generate("sbm:vertices=2000,edges=16000,classes=8,train=0.4", seed=0, workdir=tmp_path)
    partition_graph(graph, tmp_path / "parts", PartitionConfig(num_parts=2, undirected=True))
    traces = traces_of_parts(tmp_path / "parts", fanout=(5, 5), batch_size=20, num_epochs=2)
    assert [trace.facts.rank for trace in traces] == [0, 1]
    assert traces[0].num_minibatches == traces[1].num_minibatches == 2 * 21
    found = replay_bounds(traces, 25)
    tried = found["volume_by_schedule"]
    assert list(tried) == [str(each) for each in schedules(FILLS)]
    best = FixedSchedule(fill=found["fill"], period=found["period"], alpha=found["alpha"])
    assert tried[str(best)] == min(tried.values())
    classifiers = found["volume_by_classifier"]
    assert classifiers[found["classifier"]] == min(classifiers.values())
    assert 0 < found["belady_volume"] <= found["lookahead_volume"] < min(tried.values()) < 1
    # A rank's trace does not depend on which others are wanted.
    (alone,) = traces_of_parts(
        tmp_path / "parts", fanout=(5, 5), batch_size=20, num_epochs=2, ranks=[1], with_vip=False
    )
    assert alone.remote_ids.tolist() == traces[1].remote_ids.tolist()
    json.dumps(found)
    # Nothing can be said of classifiers whose package is missing.
    with monkeypatch.context() as patch:
        patch.setattr(matrix_bounds, "shipped_classifiers", lambda: ["none-such"])
        patch.setattr(matrix_bounds, "schedules", lambda fills: [best])
        without = replay_bounds(traces, 25)
    assert (without["classifier"], without["volume_by_classifier"]) == (None, {})
