import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnflow.datasets import from_files
from gnnflow.datasets.array_kinds import labels_of
from gnnflow.datasets.readers.user_files import read_edges
from gnnflow.datasets.split_file import read_splits
from gnnflow.datasets.structure import NUM_DEGREE_BUCKETS
from gnnflow.errors import DataError, MissingExtraError

EDGES = np.array([[0, 1, 2, 3, 3], [1, 2, 0, 3, 4]])
X = np.arange(10, dtype=np.float32).reshape(5, 2)
Y = np.array([0, 1, 1, 0, -1])
SPLITS = {"train": [0, 1], "val": [2], "test": [3]}


def write(file: Path, array: np.ndarray, names: list[str] | None = None) -> Path:
    """Writes the array in the format of the extension, as a table without a header by default."""
    if file.suffix == ".npy":
        np.save(file, array)
    elif file.suffix == ".npz":
        np.savez(file, array)
    elif file.suffix == ".csv":
        lines = ([",".join(names)] if names else []) + [",".join(map(str, row)) for row in array]
        file.write_text("\n".join(lines) + "\n")
    else:
        pyarrow = pytest.importorskip("pyarrow")
        columns = {str(number): column for number, column in enumerate(array.T)}
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(columns), file)
    return file


def text(tmp_path: Path, content: str, name: str = "table.csv") -> Path:
    file = tmp_path / name
    file.write_text(content)
    return file


@pytest.fixture
def edges(tmp_path: Path) -> Path:
    return write(tmp_path / "edges.npy", EDGES)


@pytest.mark.parametrize("extension", [".npy", ".npz", ".csv", ".parquet"])
def test_all_formats_give_the_same_graph(tmp_path: Path, extension: str):
    split = tmp_path / f"split{'.npz' if extension in ('.npy', '.npz') else extension}"
    masks = np.array([np.isin(np.arange(5), ids) for ids in SPLITS.values()])
    if split.suffix == ".npz":
        np.savez(split, **dict(zip(SPLITS, masks, strict=True)))
    elif split.suffix == ".csv":
        write(split, masks.T, list(SPLITS))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(dict(zip(SPLITS, masks, strict=True))), split)
    graph = from_files(
        write(tmp_path / f"edges{extension}", EDGES.T),
        features=write(tmp_path / f"x{extension}", X),
        labels=write(tmp_path / f"y{extension}", Y[:, None]),
        split=split,
    )
    assert np.array_equal(graph.edges, EDGES)
    assert graph.num_vertices == 5
    ids = np.arange(5)
    assert np.array_equal(graph.arrays["x"].rows(ids), X)
    assert graph.arrays["x"].rows(ids).dtype == graph.arrays["x"].dtype == np.float32
    assert np.array_equal(graph.arrays["y"].rows(ids), Y)
    assert graph.arrays["y"].dtype == np.int64
    assert graph.num_classes == 2
    assert {name: ids.tolist() for name, ids in graph.splits.items()} == SPLITS
    assert graph.source == f"files edges{extension}, x{extension}, y{extension}, {split.name}"


def test_an_npy_file_stays_on_disk(edges: Path):
    assert isinstance(read_edges(edges).base, np.memmap) or isinstance(read_edges(edges), np.memmap)


def test_two_by_two_is_source_row_and_destination_row(tmp_path: Path):
    square = np.array([[0, 1], [2, 3]])
    assert read_edges(write(tmp_path / "e.npy", square)).tolist() == square.tolist()
    assert read_edges(write(tmp_path / "e.csv", square)).tolist() == square.T.tolist()


@given(
    edges=st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), max_size=8),
    transposed=st.booleans(),
    dtype=st.sampled_from([np.int64, np.uint64, np.float64]),
)
@settings(max_examples=30, deadline=None)
def test_edges_survive(tmp_path_factory: pytest.TempPathFactory, edges, transposed, dtype):
    array = np.array(edges, dtype=dtype).reshape(-1, 2)
    file = tmp_path_factory.mktemp("edges") / "edges.npy"
    # [2, 2] is always a row of sources and a row of destinations.
    np.save(file, array if transposed and len(edges) != 2 else array.T)
    assert read_edges(file).tolist() == array.T.astype(np.int64).tolist()


@pytest.mark.parametrize(
    "content",
    [
        "0,1\n1,2\n",
        "source,destination\n0,1\n1,2\n",
        "0\t1\n1\t2\n",
        "a;b\n0;1\n1;2",
        "# a comment\n# another\n0 1\n1 2\n",
        '"from","to"\n"0","1"\n1,2\n',
        "\ufeffsource,destination\r\n0,1\r\n1,2\r\n",
    ],
)
def test_dialects_of_csv(tmp_path: Path, content: str):
    assert read_edges(text(tmp_path, content)).tolist() == [[0, 1], [1, 2]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("0,1\n1\n", "cannot read .* as CSV"),
        ("0,1,2\n", "has 3 columns"),
        ("from,to\n0,1,2,3\n", "has 2 names of columns and 4 columns of values"),
        ("0,1\n1,a\n", "hold 'a'"),
        ("0,1\n1,1.5\n", "hold '1.5'"),
        ("0,1\n1,\n", "hold 'nan'"),
    ],
)
def test_bad_csv_edges_are_named(tmp_path: Path, content: str, message: str):
    with pytest.raises(DataError, match=message):
        read_edges(text(tmp_path, content))


def test_a_header_alone_is_no_edges(tmp_path: Path):
    assert read_edges(text(tmp_path, "source,destination\n")).shape == (2, 0)


@pytest.mark.parametrize(
    "content",
    [
        "train,val,test\n1,0,0\n1,0,0\n0,1,0\n0,0,1\n0,0,0\n",
        "train,valid,test\ntrue,false,false\nTrue,False,False\nfalse,true,false\n"
        "false,false,true\nfalse,false,false\n",
        "split\ntrain\ntrain\nval\ntest\nnone\n",
    ],
)
def test_splits_from_csv(tmp_path: Path, content: str):
    splits = read_splits(text(tmp_path, content), 5)
    assert {name: ids.tolist() for name, ids in splits.items()} == SPLITS


@pytest.mark.parametrize("as_mask", [bool, np.int8, None])
def test_splits_from_npz(tmp_path: Path, as_mask):
    arrays = {name: np.array(ids[::-1]) for name, ids in SPLITS.items()}
    if as_mask:
        arrays = {name: np.isin(np.arange(5), ids).astype(as_mask) for name, ids in arrays.items()}
    np.savez(tmp_path / "split.npz", **arrays)
    splits = read_splits(tmp_path / "split.npz", 5)
    assert {name: ids.tolist() for name, ids in splits.items()} == SPLITS


def test_splits_from_dictionary_and_missing_names(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names = pyarrow.array(["train", "train", "val", "test", None])
    for column in (names, names.dictionary_encode()):
        parquet.write_table(pyarrow.table({"split": column}), tmp_path / "s.parquet")
        splits = read_splits(tmp_path / "s.parquet", 5)
        assert {name: ids.tolist() for name, ids in splits.items()} == SPLITS


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train": np.ones(4, bool)}, "mask 'train' .* has 4 values, .* 5 vertices"),
        ({"train": np.ones((5, 1), bool)}, r"shape \[5, 1\]"),
        ({"train": np.ones(2)}, "float64"),
        ({"val": np.ones(5, bool)}, "has no train split"),
        ({"training": np.ones(5, bool)}, "holds 'training'; splits are named"),
    ],
)
def test_bad_splits_are_named(tmp_path: Path, arrays: dict[str, np.ndarray], message: str):
    np.savez(tmp_path / "split.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_splits(tmp_path / "split.npz", 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("split\ntrain\nval\n", "has 2 rows, .* 5 vertices"),
        ("split\ntrain\ntrain\nvalue\ntest\ntest\n", "holds 'value' in row 2; known: train"),
        ("train\n1\n2\n0\n0\n0\n", "must hold 0 and 1"),
        ("part\ntrain\ntrain\nval\ntest\ntest\n", "must be called 'split'"),
    ],
)
def test_bad_split_tables_are_named(tmp_path: Path, content: str, message: str):
    with pytest.raises(DataError, match=message):
        read_splits(text(tmp_path, content), 5)


def test_an_npy_file_cannot_hold_splits(tmp_path: Path):
    with pytest.raises(DataError, match="one array without a name"):
        read_splits(write(tmp_path / "split.npy", Y), 5)


@pytest.mark.parametrize(
    ("labels", "classes", "num_classes"),
    [
        (np.array([1.0, np.nan, 0]), [1, -1, 0], 2),
        (np.array([True, False, True]), [1, 0, 1], 2),
        (np.array([[2], [0], [1]], np.int8), [2, 0, 1], 3),
        (np.array([0.5, 1, 2]), [0.5, 1, 2], 0),
        (np.eye(3), np.eye(3).tolist(), 3),
    ],
)
def test_labels_take_the_form_of_a_raw_graph(labels, classes, num_classes):
    array, found = labels_of(labels, "y.npy")
    assert (array.tolist(), found) == (classes, num_classes)


def test_absurd_labels_are_named():
    with pytest.raises(DataError, match="vertex 1 has label 90 in y.npy; .*--task regression"):
        labels_of(np.array([0, 90, 1]), "y.npy")
    with pytest.raises(DataError, match="vertex 2 has label -2 in y.npy; .*--task regression"):
        labels_of(np.array([0, 1, -2]), "y.npy")


def test_features_are_read_as_floats(tmp_path: Path, edges: Path):
    file = write(tmp_path / "x.npy", X.astype(np.float64))
    rows = from_files(edges, features=file).arrays["x"]
    assert rows.dtype == rows.rows(np.arange(2)).dtype == np.float32
    half = from_files(edges, features=write(tmp_path / "h.npy", X.astype(np.float16))).arrays["x"]
    assert half.dtype == np.float16


def test_features_from_lists_in_parquet(tmp_path: Path, edges: Path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"x": X.tolist()}), tmp_path / "x.parquet")
    graph = from_files(edges, features=tmp_path / "x.parquet")
    assert np.array_equal(graph.arrays["x"].rows(np.arange(5)), X)
    parquet.write_table(pyarrow.table({"x": [[1.0], [1.0, 2.0]]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="lists of 1 to 2 values"):
        from_files(edges, features=tmp_path / "x.parquet")


def test_named_arrays_of_an_npz_file(tmp_path: Path, edges: Path):
    np.savez(tmp_path / "all.npz", x=X, y=Y, edge_index=EDGES)
    every = tmp_path / "all.npz"
    graph = from_files(every, features=every, labels=every)
    assert np.array_equal(graph.edges, EDGES)
    assert np.array_equal(graph.arrays["x"].rows(np.arange(5)), X)
    np.savez(tmp_path / "other.npz", a=X, b=Y)
    with pytest.raises(DataError, match="arrays a, b; name the features one of x, features"):
        from_files(edges, features=tmp_path / "other.npz")


def test_degree_features_come_with_a_word(edges: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        graph = from_files(edges, num_vertices=6)
    assert "no features given: using degree" in caplog.text
    x = graph.arrays["x"].rows(np.array([3, 5, 0]))
    assert x.shape == (3, graph.num_features)
    width = NUM_DEGREE_BUCKETS + 1
    # Out-degrees are 2, 0, 1: in buckets of 2, 0 and 1 binary digits.
    assert x[:, :NUM_DEGREE_BUCKETS].argmax(axis=1).tolist() == [2, 0, 1]
    assert x[:, width - 1] == pytest.approx(np.log1p([2, 0, 1]))
    assert x[:, width:-1].argmax(axis=1).tolist() == [1, 0, 1]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        from_files(edges, features="degree")
    assert not caplog.records


def test_learned_features_tell_communities_apart(tmp_path: Path):
    generator = np.random.default_rng(0)
    community = np.repeat([0, 1, 2], 60)
    probability = np.where(community[:, None] == community, 0.2, 0.01)
    pairs = np.argwhere(generator.random((180, 180)) < probability).T
    graph = from_files(write(tmp_path / "e.npy", pairs), features="learned", num_vertices=181)
    x = graph.arrays["x"].rows(np.arange(180))
    likeness = x @ x.T
    same = community[:, None] == community
    assert likeness[same].mean() > likeness[~same].mean() + 0.2
    assert not graph.arrays["x"].rows(np.array([180])).any(), "a vertex without neighbours"
    again = from_files(tmp_path / "e.npy", features="learned", num_vertices=181)
    assert np.array_equal(x, again.arrays["x"].rows(np.arange(180)))


def columns_of(file: Path, **columns: list[object]) -> Path:
    """Writes a table of parquet; an underscore at the end of a name is left out."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    arrays = [pyarrow.array(values) for values in columns.values()]
    # Bytes that only claim to be text.
    arrays = [
        array.view("string") if file.name.startswith("not-text") else array for array in arrays
    ]
    names = [name.rstrip("_") for name in columns]
    parquet.write_table(pyarrow.Table.from_arrays(arrays, names), file)
    return file


def bad_cases(folder: Path) -> dict[str, tuple[dict[str, object], str]]:
    """Bad input by name: the arguments of `from_files` and what the message must say."""
    edges = write(folder / "edges.npy", EDGES)
    (folder / "edges.txt").write_text("0 1\n")
    (folder / "garbage.npy").write_bytes(b"garbage")
    (folder / "garbage.npz").write_bytes(b"garbage")
    (folder / "garbage.parquet").write_bytes(b"garbage")
    objects = write(folder / "objects.npy", np.array([{}, {}], dtype=object))
    np.savez(folder / "objects.npz", np.array([{}, {}], dtype=object))
    whole = write(folder / "cut.npy", np.zeros((1000, 2)))
    whole.write_bytes(whole.read_bytes()[:500])
    bad_x = X.copy()
    bad_x[3, 1] = np.nan
    np.savez(folder / "overlap.npz", train=[0, 1], val=[1], test=[3])
    np.savez(folder / "outside.npz", train=[0, 5])
    np.savez(folder / "empty.npz", train=np.array([], np.int64), val=[1])
    y = write(folder / "y.npy", Y)

    def of(name: str, array: object) -> Path:
        return write(folder / name, np.asarray(array))

    return {
        "missing": ({"edges": folder / "none.npy"}, "no edges file at .*none.npy"),
        "extension": ({"edges": folder / "edges.txt"}, r"'.txt'; convert it to one of .npy, .npz"),
        "garbage npy": ({"edges": folder / "garbage.npy"}, "no numpy file"),
        "garbage npz": ({"edges": folder / "garbage.npz"}, "no numpy file"),
        "garbage parquet": ({"edges": folder / "garbage.parquet"}, "cannot read .* as parquet"),
        "objects npy": ({"edges": edges, "features": objects}, "Python objects"),
        "objects npz": ({"edges": edges, "labels": folder / "objects.npz"}, "Python objects"),
        "cut short": ({"edges": edges, "features": whole}, "cannot read features"),
        "edge shape": ({"edges": of("e3.npy", np.zeros((3, 3), int))}, r"\[3, 3\]"),
        "edge type": ({"edges": of("ef.npy", [[0.5], [1]])}, "hold '0.5'"),
        "edge text": ({"edges": of("et.npy", [["a"], ["b"]])}, "hold 'a'"),
        "edge vertex": (
            {"edges": edges, "labels": of("y4.npy", Y[:4])},
            r"edge 4 \(3 -> 4\) names vertex 4, but the graph has 4",
        ),
        "negative": ({"edges": of("en.npy", [[0], [-1]])}, "names vertex -1"),
        "edge list of lists": (
            {"edges": columns_of(folder / "el.parquet", source=[[1], [2]], target=[[1], [2]])},
            "has columns of lists",
        ),
        "edge text empty": ({"edges": of("ee.npy", [["1", ""], ["0", "2"]])}, "hold ''"),
        "edge past int64": ({"edges": of("eb.npy", [[1e300], [0]])}, r"hold '1e\+300'"),
        "gaps": ({"edges": of("eg.npy", [[2**40], [0]])}, "only 1 of them; number the vertices"),
        "nothing": ({"edges": of("e0.npy", np.zeros((2, 0), int))}, "give num_vertices"),
        "flat features": ({"edges": edges, "features": of("x1.npy", X[:, 0])}, r"\[5\]"),
        "nan features": ({"edges": edges, "features": of("xn.npy", bad_x)}, "row 3, column 1"),
        "large features": (
            {"edges": edges, "features": of("xl.npy", np.full((5, 2), 1e300))},
            "holds 1e.300 in row 0, column 0, and must be finite as float32",
        ),
        "few weights": (
            {"edges": edges, "edge_weights": of("w2.npy", np.ones(2))},
            r"number for each of the 5 edges, got float64 of shape \[2\]",
        ),
        "negative weights": (
            {"edges": edges, "edge_weights": of("wn.npy", [1, 0, -3, 1, 1])},
            "edge 2 has weight -3, and weights must be finite and not negative",
        ),
        "text weights": (
            {"edges": edges, "edge_weights": of("wt.npy", ["a"] * 5)},
            "must be one number for each edge, got <U1",
        ),
        "large edge features": (
            {"edges": edges, "edge_features": of("wl.npy", np.full(5, 1e300))},
            "'edge_attr' holds inf in row 0",
        ),
        "complex features": (
            {"edges": edges, "features": of("xc.npy", np.zeros((5, 2), complex))},
            "must be numbers, got complex128",
        ),
        "no labels": ({"edges": edges, "labels": of("y0.npy", 3)}, "one row per vertex"),
        "record labels": (
            {"edges": edges, "labels": of("yr.npy", np.zeros((5, 2), "i4,f4"))},
            "must be numbers",
        ),
        "binary splits": (
            {"edges": edges, "split": columns_of(folder / "sb.parquet", split=[b"\xff"] * 5)},
            "must hold the names of splits",
        ),
        "text that is none": (
            {
                "edges": edges,
                "split": columns_of(folder / "not-text.parquet", split=[b"\xd0x"] * 5),
            },
            "cannot read .* as parquet",
        ),
        "two columns of one name": (
            {"edges": edges, "features": columns_of(folder / "sx.parquet", x=[1] * 5, x_=[2] * 5)},
            "cannot read .* as parquet",
        ),
        "text features": (
            {"edges": edges, "features": text(folder, "a,b\n1,2\n1,dog\n", "x.csv")},
            "column 'b' .* holds 'dog'",
        ),
        "rows differ": (
            {"edges": edges, "features": of("x5.npy", X), "labels": of("y6.npy", [0] * 6)},
            r"5 vertices, 'y' has shape \[6\]",
        ),
        "label range": ({"edges": edges, "labels": of("yn.npy", [0, -2, 1, 1, 1])}, "label -2"),
        "few classes": ({"edges": edges, "labels": y, "num_classes": 1}, r"\[0, 1\)"),
        "text labels": ({"edges": edges, "labels": of("ys.npy", ["a"] * 5)}, "must be numbers"),
        "3-D labels": ({"edges": edges, "labels": of("y3.npy", np.zeros((5, 1, 1)))}, "1, 1"),
        "overlap": ({"edges": edges, "split": folder / "overlap.npz"}, "'train' and 'val'"),
        "outside": ({"edges": edges, "split": folder / "outside.npz"}, "names vertex 5"),
        "empty": ({"edges": edges, "split": folder / "empty.npz"}, "train split is empty"),
    }


def test_bad_files_are_named_on_one_line(tmp_path: Path):
    for name, (arguments, message) in bad_cases(tmp_path).items():
        with pytest.raises(DataError, match=message) as error:
            from_files(**arguments)  # type: ignore[arg-type]
        assert "\n" not in str(error.value), name


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "edges.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r'pip install "gnnflow\[parquet\]"'):
        from_files(tmp_path / "edges.parquet")
