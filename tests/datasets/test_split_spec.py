"""Splits that are made: by chance, within classes, by a column."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gnnflow.datasets import ArrayRows, RawGraph, from_files, generate, with_split
from gnnflow.datasets.split_spec import parse_split
from gnnflow.errors import DataError


def graph(num_vertices: int, num_classes: int = 0, **arrays: object) -> RawGraph:
    return RawGraph(
        name="small",
        source="by hand",
        num_vertices=num_vertices,
        edges=np.zeros((2, 1), np.int64),
        arrays={name: ArrayRows(np.asarray(values)) for name, values in arrays.items()},
        splits={},
        num_classes=num_classes,
    )


def codes(made: RawGraph) -> np.ndarray:
    """The split of each vertex by its first letter, `-` for none."""
    found = np.full(made.num_vertices, "-")
    for name, ids in made.splits.items():
        found[ids] = name[1]  # r, a, e
    made.validate()
    return found


def test_random_is_a_function_of_seed_and_id():
    few, many = graph(50), graph(20_000)
    found = codes(with_split(many, "random:0.6,0.2,0.1", seed=3))
    assert (found[:50] == codes(with_split(few, "random:0.6,0.2,0.1", seed=3))).all()
    assert (found != codes(with_split(many, "random:0.6,0.2,0.1", seed=4))).any()
    for letter, share in {"r": 0.6, "a": 0.2, "e": 0.1, "-": 0.1}.items():
        assert (found == letter).mean() == pytest.approx(share, abs=0.02)
    made = with_split(many, "random:0.6,0.2,0.2").splits
    first = {name: ids[:3].tolist() for name, ids in made.items()}
    # A split that was made once can be made again.
    assert first == {"train": [1, 3, 4], "val": [7, 14, 15], "test": [0, 2, 5]}


def test_vertices_without_a_label_stay_outside():
    labels = np.where(np.arange(3000) % 3, 1, -1)
    for kind in ("random", "stratified"):
        found = codes(with_split(graph(3000, 2, y=labels), f"{kind}:0.6,0.2,0.2"))
        assert (found[::3] == "-").all()
        assert (found[labels >= 0] != "-").all()
    numbers = np.where(np.arange(3000) % 3, -1.0, np.nan)
    found = codes(with_split(graph(3000, 0, y=numbers), "random:0.6,0.2,0.2"))
    assert (found[::3] == "-").all()
    assert (found[1::3] != "-").all()


@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(any),
    shares=st.lists(st.integers(1, 8), min_size=3, max_size=3),
    seed=st.integers(0, 2**40),
)
@example(sizes=[2], shares=[1, 4, 2], seed=0)
@settings(max_examples=60, deadline=None)
def test_stratified_takes_its_share_of_each_class(sizes, shares, seed):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    parts = [share / sum(shares) for share in shares]
    made = with_split(
        graph(len(labels), len(sizes), y=labels), f"stratified:{','.join(map(repr, parts))}", seed
    )
    found = codes(made)
    assert (found != "-").all()
    for label, size in enumerate(sizes):
        of_class = found[labels == label]
        for letter, part in zip("rae", parts, strict=True):
            assert abs((of_class == letter).sum() - part * size) <= 1
        assert not size or (of_class == "r").any(), "every class can be learnt"


def test_shares_of_nothing_leave_a_split_out():
    made = with_split(graph(100, 2, y=np.arange(100) % 2), "stratified:0.5,0,0.5")
    assert list(made.splits) == ["train", "test"]
    assert [len(ids) for ids in made.splits.values()] == [50, 50]
    made = with_split(graph(100), "random:1,0,0")
    assert made.splits["train"].tolist() == list(range(100))


def test_labels_that_are_computed():
    made = with_split(generate("sbm:vertices=500,edges=100,classes=4"), "stratified:0.4,0.3,0.3")
    labels = made.arrays["y"].rows(np.arange(500))
    sizes = np.bincount(labels)
    in_train = np.bincount(labels[made.splits["train"]])
    assert (np.abs(in_train - 0.4 * sizes) <= 1).all()


def test_a_column_of_the_graph(caplog: pytest.LogCaptureFixture):
    raw = graph(5, 2, y=[0, 1, 0, 1, 1], fold=[0, 2, -1, 1, 0], x=np.ones((5, 1)))
    with caplog.at_level(logging.WARNING):
        made = with_split(raw, "column:fold")
    assert codes(made).tolist() == ["r", "e", "-", "a", "r"]
    assert "0, 1, 2 of column 'fold' of small are taken for train, val and test" in caplog.text
    assert list(made.arrays) == ["y", "x"]
    for name in ("year", "y"):
        with pytest.raises(DataError, match=f"no column or array '{name}' .*there are: fold"):
            with_split(raw, f"column:{name}")


@pytest.mark.parametrize("of_labels", [False, True])
@pytest.mark.parametrize(
    "words", [["train", "", "val", "test"], ["Train", "none", "valid", "TEST"], [0, -1, 1, 2]]
)
def test_a_column_of_a_file(tmp_path: Path, of_labels: bool, words: list[object]):
    (tmp_path / "e.csv").write_text("s,t\n0,1\n1,2\n2,3\n")
    lines = ["a,fold,b", *(f"{row % 2},{word},{row}.5" for row, word in enumerate(words))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    x = np.arange(4.0).reshape(4, 1)
    np.save(tmp_path / "x.npy", x)
    made = from_files(
        tmp_path / "e.csv",
        features=tmp_path / ("x.npy" if of_labels else "t.csv"),
        labels=tmp_path / "t.csv" if of_labels else None,
        split="column:fold",
    )
    assert codes(made).tolist() == ["r", "-", "a", "e"]
    rows = made.arrays["y" if of_labels else "x"].rows(np.arange(4))
    assert rows.tolist() == [[0, 0.5], [1, 1.5], [0, 2.5], [1, 3.5]]


def test_a_column_that_is_not_there(tmp_path: Path):
    (tmp_path / "e.csv").write_text("s,t\n0,1\n")
    (tmp_path / "x.csv").write_text("a,b\n3,4\n5,6\n")
    for column, message in (
        ("fold", "no column 'fold' .* they have: a, b"),
        ("a", r"column 'a' of .*x.csv holds 3 in row 0; known: train"),
    ):
        with pytest.raises(DataError, match=message):
            from_files(tmp_path / "e.csv", features=tmp_path / "x.csv", split=f"column:{column}")


@pytest.mark.parametrize(
    "text",
    [
        *("random:60,20,20", "random:0.6,0.2", "random:0.6,0.3,0.2", "random:0,0.5,0.5"),
        *("random:a,b,c", "random:nan,0,0", "stratified:-0.1,0.5,0.5"),
        *("random", "random:", "column:", "column", "randm:0.6,0.2,0.2"),
    ],
)
def test_bad_specs_are_named(text: str):
    with pytest.raises(DataError, match="random:0.6,0.2,0.2|stratified:0.6,0.2,0.2") as error:
        parse_split(text)
    assert f"'{text}'" in str(error.value)


def test_files_are_no_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("random:1,0,0").touch()
    assert parse_split("random:1,0,0") is None
    assert parse_split("split.npz") is None
    with pytest.raises(DataError, match="must be random:0.6"):
        with_split(graph(3), "split.npz")


def test_splits_that_cannot_be_made():
    with pytest.raises(DataError, match="leaves no vertex to train on, of 3 with 0 in any split"):
        with_split(graph(3, 2, y=[-1, -1, -1]), "random:0.6,0.2,0.2")
    numbers = graph(3, 0, y=[0.5, 1.5, 2.5])
    several = replace(graph(3, 2, y=np.eye(3, 2)), num_classes=2)
    for raw in (graph(3), numbers, several):
        with pytest.raises(DataError, match="needs labels with one class .*random:0.6,0.2,0.2"):
            with_split(raw, "stratified:0.6,0.2,0.2")
