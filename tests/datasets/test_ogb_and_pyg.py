import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from gnnflow.datasets import RawGraph, load
from gnnflow.datasets.readers.ogb import from_ogb_arrays
from gnnflow.errors import DataError, MissingExtraError
from gnnflow.files.npy_file import map_member, map_or_unpack_member

EDGES = np.array([[0, 1, 2, 3], [1, 2, 0, 3]])
X = np.arange(8, dtype=np.float32).reshape(4, 2)
Y = np.array([1, 0, 2, 1])


def check(graph: RawGraph, edges: np.ndarray = EDGES, labels: np.ndarray = Y) -> None:
    graph.validate()
    ids = np.arange(4)
    assert np.array_equal(graph.edges, edges)
    assert np.array_equal(graph.arrays["x"].rows(ids), X)
    assert np.array_equal(graph.arrays["y"].rows(ids), labels)
    assert {name: ids.tolist() for name, ids in graph.splits.items()} == {
        "train": [0, 2],
        "val": [1],
        "test": [3],
    }


def write_csv(file: Path, rows: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(file, "wt") as out:
        out.writelines(",".join(map(str, row)) + "\n" for row in rows.reshape(len(rows), -1))


def write_split(folder: Path) -> None:
    for name, ids in {"train": [2, 0], "valid": [1], "test": [3]}.items():
        write_csv(folder / f"{name}.csv.gz", np.array(ids))


def write_ogb(folder: Path, split: str) -> None:
    for name, rows in {"edge": EDGES.T, "node-feat": X, "node-label": Y}.items():
        write_csv(folder / "raw" / f"{name}.csv.gz", rows)
    write_split(folder / "split" / split)


def refuse(*arguments: object) -> None:
    raise OSError("no network")


def test_ogb_csv(tmp_path: Path):
    write_ogb(tmp_path / "ogbn_arxiv", "time")
    graph = load("ogbn-arxiv", tmp_path)
    check(graph)
    assert graph.num_classes == 40


def test_ogb_adds_the_reverse_where_edges_are_stored_once(tmp_path: Path):
    write_ogb(tmp_path / "ogbn_products", "sales_ranking")
    graph = load("ogbn-products", tmp_path)
    check(graph, np.concatenate([EDGES, EDGES[::-1]], axis=1))
    assert graph.num_classes == 47


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_ogb_binary(tmp_path: Path, save):
    folder = tmp_path / "ogbn_papers100M"
    write_split(folder / "split" / "time")
    (folder / "raw").mkdir()
    save(folder / "raw" / "data.npz", edge_index=EDGES, node_feat=X, num_nodes_list=[4])
    labels = np.array([[1.0], [0], [2], [1]])
    save(folder / "raw" / "node-label.npz", node_label=labels)
    for _ in range(2):  # the second time from what the first one unpacked
        graph = load("ogbn-papers100M", tmp_path)
        check(graph)
        assert isinstance(graph.edges, np.memmap)


def test_ogb_labels_may_be_missing():
    graph = from_ogb_arrays(
        "ogbn-test",
        edge_index=EDGES,
        node_feat=X,
        labels=np.array([[1.0], [0], [2], [np.nan]]),
        split={"train": np.array([0]), "valid": np.array([1])},
        num_classes=3,
    )
    graph.validate()
    assert graph.arrays["y"].rows(np.arange(4)).tolist() == [1, 0, 2, -1]
    assert sorted(graph.splits) == ["train", "val"]


def test_ogb_damaged_files_are_named(tmp_path: Path):
    write_ogb(tmp_path / "ogbn_arxiv", "time")
    (tmp_path / "ogbn_arxiv" / "split" / "time" / "valid.csv.gz").unlink()
    with pytest.raises(DataError, match="cannot read ogbn-arxiv from .*valid.csv.gz"):
        load("ogbn-arxiv", tmp_path)


def test_ogb_without_the_files_and_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ogb", None)
    monkeypatch.setitem(sys.modules, "ogb.utils.url", None)
    with pytest.raises(
        MissingExtraError, match=r"no .*raw/edge.csv.gz; fetch arxiv.zip.*gnnflow\[ogb\]"
    ):
        load("ogbn-arxiv", tmp_path)


def test_ogb_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    url = pytest.importorskip("ogb.utils.url")
    monkeypatch.setattr(url, "download_url", refuse)
    with pytest.raises(DataError, match=r"is not in .*download failed: no network"):
        load("ogbn-arxiv", tmp_path)

    def download(address: str, root: str) -> str:
        assert address.endswith("arxiv.zip")
        archive = Path(root) / "arxiv.zip"
        archive.write_bytes(b"an archive")
        return str(archive)

    monkeypatch.setattr(url, "download_url", download)
    monkeypatch.setattr(
        url, "extract_zip", lambda archive, root: write_ogb(Path(root) / "arxiv", "time")
    )
    check(load("ogbn-arxiv", tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["ogbn_arxiv"]


def test_members_of_archives(tmp_path: Path):
    file = tmp_path / "all.npz"
    columns = np.asfortranarray(X)
    np.savez(file, x=X, columns=columns, none=np.zeros((0, 3)), objects=np.array([{}]))
    assert np.array_equal(map_or_unpack_member(file, "x"), X)
    assert np.array_equal(map_or_unpack_member(file, "columns"), X)
    assert map_or_unpack_member(file, "none").shape == (0, 3)
    with pytest.raises(ValueError, match="array 'y' cannot be read: .*no item named 'y.npy'"):
        map_member(file, "y")
    with pytest.raises(ValueError, match="pickle"):
        map_member(file, "objects")
    np.savez_compressed(file, x=X)
    assert map_member(file, "x") is None


def test_reddit(tmp_path: Path):
    from scipy import sparse

    raw = tmp_path / "reddit" / "raw"
    raw.mkdir(parents=True)
    np.savez(raw / "reddit_data.npz", feature=X, label=Y, node_types=[1, 2, 1, 3])
    matrix = sparse.coo_matrix((np.ones(4), tuple(EDGES)), shape=(4, 4))
    sparse.save_npz(raw / "reddit_graph.npz", matrix)
    check(load("reddit", tmp_path))


def test_yelp(tmp_path: Path):
    from scipy import sparse

    raw = tmp_path / "yelp" / "raw"
    raw.mkdir(parents=True)
    np.save(raw / "feats.npy", X)
    matrix = sparse.csr_matrix((np.ones(4), tuple(EDGES)), shape=(4, 4))
    np.savez(
        raw / "adj_full.npz",
        data=matrix.data,
        indices=matrix.indices,
        indptr=matrix.indptr,
        shape=matrix.shape,
    )
    labels = np.eye(4, 3)
    (raw / "class_map.json").write_text(json.dumps(dict(enumerate(labels.astype(int).tolist()))))
    (raw / "role.json").write_text(json.dumps({"tr": [0, 2], "va": [1], "te": [3]}))
    graph = load("yelp", tmp_path)
    check(graph, labels=labels)
    assert graph.num_classes == 3


def test_pyg_without_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    datasets = pytest.importorskip("torch_geometric.datasets")
    monkeypatch.setattr(datasets.Reddit, "download", refuse)
    with pytest.raises(DataError, match=r"download it \(no network\); put .*reddit_data.npz, "):
        load("reddit", tmp_path / "data")
    assert not list(tmp_path.iterdir()), "no empty folders are left"
