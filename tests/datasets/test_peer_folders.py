"""Partition folders that DistDGL and PyG wrote, and PyG's objects of several types."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from peer_graph import (
    EDGES,
    LABELS,
    MASKS,
    NUM_AUTHORS,
    NUM_EDGES,
    NUM_VERTICES,
    VERTICES,
    WRITTEN,
    features,
    weights,
)
from torch_geometric.data import HeteroData

from gnnflow.config import PartitionConfig
from gnnflow.datasets import RawGraph, from_distdgl, from_pyg, from_pyg_partition
from gnnflow.datasets.readers.dgl_file import read_graph, read_tensors
from gnnflow.errors import ConfigError, DataError
from gnnflow.partition import open_partition, partition_graph

ARCHIVE = Path(__file__).with_name("peer_folders.tar.xz")


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peers")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def sorted_columns(edges: np.ndarray) -> np.ndarray:
    return edges[:, np.lexsort(edges)]


def check_dgl(graph: RawGraph) -> None:
    """Compares with the formula by the ids that the vertices had before DGL numbered them."""
    graph.validate()
    ids = np.arange(graph.num_vertices)
    old = graph.arrays["old_id"].rows(ids)
    assert sorted(old) == list(VERTICES)
    assert np.array_equal(graph.arrays["x"].rows(ids), features(old))
    assert np.array_equal(graph.arrays["y"].rows(ids), LABELS[old])
    assert list(graph.splits) == ["train", "val", "test"]
    for name, mask in MASKS.items():
        assert sorted(old[graph.splits[name]]) == list(np.flatnonzero(mask))
    assert graph.edge_attr is not None
    assert np.array_equal(graph.edge_attr, weights(old[graph.edges]))
    assert np.array_equal(sorted_columns(old[graph.edges]), sorted_columns(EDGES))


@pytest.mark.parametrize("formats", ["coo", "csr", "csc"])
def test_distdgl_folder(peers: Path, tmp_path: Path, formats: str) -> None:
    config = peers / f"dgl-{formats}" / "graph.json"
    graph = from_distdgl(config)
    check_dgl(graph)
    assert graph.num_classes == 3
    seen: list[tuple[str, int, int]] = []
    on_disk = from_distdgl(config, workdir=tmp_path, progress=lambda *call: seen.append(call))
    check_dgl(on_disk)
    assert isinstance(on_disk.edges, np.memmap)
    assert isinstance(on_disk.edge_attr, np.memmap)
    assert seen == [("reading parts", 1, 2), ("reading parts", 2, 2)]
    ranges = json.loads(config.read_text())["node_map"]["_N"]
    owned = np.concatenate([np.arange(*pair) for pair in ranges])
    assert np.array_equal(owned, np.arange(NUM_VERTICES))
    assert graph.part is not None
    assert list(np.bincount(graph.part)) == [stop - start for start, stop in ranges]


def test_parts_are_kept(peers: Path, tmp_path: Path) -> None:
    graph = from_distdgl(peers / "dgl-coo" / "graph.json")
    assert graph.part is not None
    report = partition_graph(graph, tmp_path / "kept", PartitionConfig())
    assert (report.method, report.num_parts) == ("keep", 2)
    for part in range(2):
        partition = open_partition(tmp_path / "kept", part, verify=True)
        assert np.array_equal(partition.original_id, np.flatnonzero(graph.part == part))
        assert np.array_equal(
            partition.original_id, partition.first_id + np.arange(len(graph.part) // 2)
        )
        assert set(partition.arrays) == {"x", "y", "old_id"}
    cut_anew = partition_graph(graph, tmp_path / "new", PartitionConfig(num_parts=3))
    assert (cut_anew.method, cut_anew.num_parts) == ("metis", 3)
    by_hand = PartitionConfig(method="random", num_parts=2)
    assert partition_graph(graph, tmp_path / "random", by_hand).method == "random"


def test_parts_that_cannot_be_kept(peers: Path, tmp_path: Path) -> None:
    graph = from_distdgl(peers / "dgl-coo" / "graph.json")
    assert graph.part is not None
    with pytest.raises(ConfigError, match="comes in 2 parts, but num_parts is 3; leave out"):
        partition_graph(graph, tmp_path / "out", PartitionConfig(method="keep", num_parts=3))
    with pytest.raises(ConfigError, match="the graph comes whole"):
        PartitionConfig(method="keep").settled(None)
    assert PartitionConfig().settled(None) == PartitionConfig(method="metis", num_parts=4)
    gap = np.where(graph.part == 1, np.int32(2), np.int32(0))
    for part, message in (
        (gap, "part 1 of the graph owns no vertex"),
        (graph.part - np.int32(1), "is in part -1"),
        (graph.part[1:], "one for each vertex"),
    ):
        changed = RawGraph(
            name="changed",
            source="test",
            num_vertices=NUM_VERTICES,
            edges=graph.edges,
            arrays=graph.arrays,
            splits=graph.splits,
            num_classes=3,
            part=part,
        )
        with pytest.raises(DataError, match=message):
            partition_graph(changed, tmp_path / "out", PartitionConfig())
        assert not (tmp_path / "out").exists()


def test_distdgl_folder_of_several_types(peers: Path) -> None:
    graph = from_distdgl(peers / "dgl-typed" / "graph.json")
    graph.validate()
    ids = np.arange(NUM_VERTICES + NUM_AUTHORS)
    kind = graph.arrays["node_type"].rows(ids)
    paper = kind == kind[graph.arrays["y"].rows(ids) >= 0][0]
    old = graph.arrays["old_id"].rows(ids)
    assert sorted(old[paper]) == list(VERTICES)
    assert sorted(old[~paper]) == list(range(NUM_AUTHORS))
    x = graph.arrays["x"].rows(ids)
    assert np.array_equal(x, features(np.where(paper, old, old + 1000)))
    assert (graph.arrays["y"].rows(ids)[~paper] == -1).all()
    assert np.array_equal(graph.arrays["y"].rows(ids)[paper], LABELS[old[paper]])
    assert sorted(old[graph.splits["test"]]) == list(np.flatnonzero(MASKS["test"]))
    assert graph.edge_attr is not None
    weight, edge_type = graph.edge_attr.T
    assert np.array_equal(weight, weights(old[graph.edges]))
    cites = edge_type == edge_type[paper[graph.edges[0]]][0]
    assert np.array_equal(sorted_columns(old[graph.edges[:, cites]]), sorted_columns(EDGES))
    assert np.array_equal(sorted_columns(old[graph.edges[:, ~cites]]), sorted_columns(WRITTEN))


def test_names_of_arrays(peers: Path) -> None:
    config = peers / "dgl-csc" / "graph.json"
    graph = from_distdgl(config, labels="old-id")
    assert graph.num_classes == NUM_VERTICES
    assert np.array_equal(np.sort(graph.arrays["y"].rows(VERTICES)), VERTICES)
    with pytest.raises(DataError, match="no array is named 'fat'; did you mean 'feat'"):
        from_distdgl(config, features="fat")


def test_old_description_and_wrong_ones(peers: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(peers / "dgl-coo", tmp_path / "old")
    config = folder / "graph.json"
    written = json.loads(config.read_text())
    old = {key: value for key, value in written.items() if key not in ("ntypes", "etypes")}
    for name in ("node_map", "edge_map"):
        (ranges,) = written[name].values()
        old[name] = [stop for _, stop in ranges]
    config.write_text(json.dumps(old))
    check_dgl(from_distdgl(config))
    wrong = [
        ("num_parts", 0, "has no parts"),
        ("num_parts", "two", "must give 'num_parts' as a number"),
        ("num_parts", 3, "has 2 ranges in 'node_map' for 3 parts"),
        ("num_nodes", 25, "must divide all 25 ids in 'node_map' without gaps"),
        ("edge_map", "edge_map.npy", "must give 'edge_map' as ranges"),
        ("part-1", {}, "names no 'node_feats' of part 1"),
        ("ntypes", {"_N": "0"}, "must give 'ntypes' as a number for each type"),
        ("node_map", {"_N": [[0, 12], [12]]}, "has 0 ranges in 'node_map' for 2 parts"),
        ("node_map", {"_N": []}, "has 0 ranges in 'node_map' for 2 parts"),
    ]
    for name, value, message in wrong:
        config.write_text(json.dumps(written | {name: value}))
        with pytest.raises(DataError, match=message):
            from_distdgl(config)
    swapped = {"part-0": written["part-1"], "part-1": written["part-0"]}
    config.write_text(json.dumps(written | swapped))
    with pytest.raises(DataError, match="copy the folder again"):
        from_distdgl(config)
    with pytest.raises(DataError, match=r"is a folder; give the JSON file in it, graph\.json"):
        from_distdgl(folder)
    config.write_text("{")
    with pytest.raises(DataError, match="as JSON"):
        from_distdgl(config)


def test_damaged_dgl_files_are_told_and_never_followed(peers: Path, tmp_path: Path) -> None:
    """Cuts a file anywhere and changes any byte of it: an array or an error, nothing else."""
    draw = np.random.default_rng(0)
    for name, read in (("graph.dgl", read_graph), ("node_feat.dgl", read_tensors)):
        whole = (peers / "dgl-csc" / "part0" / name).read_bytes()
        file = tmp_path / name
        for length in (0, 7, 31, *range(100, len(whole) - 100, 97)):
            file.write_bytes(whole[:length])
            with pytest.raises(DataError, match=str(file)):
                read(file)
        for _ in range(150):
            changed = bytearray(whole)
            place = int(draw.integers(len(whole)))
            changed[place] ^= 1 << int(draw.integers(8))
            file.write_bytes(changed)
            try:
                read(file)
            except DataError as error:
                assert str(file) in str(error)
    folder = shutil.copytree(peers / "dgl-csc", tmp_path / "folder")
    for name in ("graph.dgl", "node_feat.dgl", "edge_feat.dgl"):
        file = folder / "part1" / name
        whole = file.read_bytes()
        for _ in range(60):
            changed = bytearray(whole)
            changed[int(draw.integers(min(4096, len(whole) // 2), len(whole)))] ^= 0x81
            file.write_bytes(changed)
            try:
                from_distdgl(folder / "graph.json").validate()
            except DataError:
                continue
        file.write_bytes(whole)
    with pytest.raises(DataError, match="is not a file of DGL tensors"):
        read_tensors(peers / "dgl-csc" / "part0" / "graph.dgl")
    with pytest.raises(DataError, match="check the path"):
        read_graph(tmp_path / "missing.dgl")


@pytest.mark.parametrize("kind", ["plain", "weighted"])
def test_pyg_folder(peers: Path, tmp_path: Path, kind: str) -> None:
    np.savez(tmp_path / "split.npz", **MASKS)
    torch.save(torch.from_numpy(LABELS), tmp_path / "label.pt")
    np.save(tmp_path / "label.npy", LABELS)
    for labels, workdir in (("label.pt", tmp_path / "work"), ("label.npy", None)):
        graph = from_pyg_partition(
            peers / f"pyg-{kind}",
            labels=tmp_path / labels,
            split=tmp_path / "split.npz",
            workdir=workdir,
        )
        graph.validate()
        assert np.array_equal(graph.edges, EDGES)
        assert np.array_equal(graph.arrays["x"].rows(VERTICES), features(VERTICES))
        assert np.array_equal(graph.arrays["y"].rows(VERTICES), LABELS)
        assert np.array_equal(graph.splits["val"], np.flatnonzero(MASKS["val"]))
        assert graph.part is not None
        assert np.array_equal(graph.part, VERTICES * 7 % 5 % 2)
        if kind == "weighted":
            assert graph.edge_attr is not None
            assert np.array_equal(graph.edge_attr[:, 0], weights(EDGES))
        else:
            assert graph.edge_attr is None
    report = partition_graph(graph, tmp_path / "parts", PartitionConfig())
    assert (report.method, report.num_parts) == ("keep", 2)


class RunsCode:
    """A pickle of this calls a function when it is loaded."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self._file,)


def test_pyg_folders_that_cannot_be_read(peers: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(peers / "pyg-plain", tmp_path / "parts")
    trap = tmp_path / "trap"
    file = folder / "part_0" / "node_feats.pt"
    kept = file.read_bytes()
    for content, message in (
        ({"global_id": RunsCode(trap)}, "cannot read .*node_feats.pt: .*other pickles run code"),
        ({"feats": {}}, "has no tensor 'global_id'"),
        ({"global_id": torch.tensor([99])}, "part 0 names id 99, but ids are 0 to 23"),
        ({"global_id": torch.tensor([0])}, "own 10 vertices, node_map.pt names 24"),
    ):
        torch.save(content, file)
        with pytest.raises(DataError, match=message):
            from_pyg_partition(folder)
    assert not trap.exists()
    file.write_bytes(kept)
    graph = torch.load(folder / "part_1" / "graph.pt", weights_only=True)
    torch.save(graph | {"row": graph["row"][1:]}, folder / "part_1" / "graph.pt")
    with pytest.raises(DataError, match="'row' and 'edge_id' differ in length"):
        from_pyg_partition(folder)
    torch.save(
        graph | {name: graph[name][1:] for name in graph if name != "size"},
        folder / "part_1" / "graph.pt",
    )
    with pytest.raises(DataError, match=f"own {NUM_EDGES - 1} edges"):
        from_pyg_partition(folder)
    for meta, message in (
        ({"num_parts": 2, "is_hetero": True}, "several types.*partition the HeteroData"),
        ({"num_parts": None}, "'num_parts' as a number from 1, got None"),
    ):
        (folder / "META.json").write_text(json.dumps(meta))
        with pytest.raises(DataError, match=message):
            from_pyg_partition(folder)
    with pytest.raises(DataError, match="give the folder that"):
        from_pyg_partition(tmp_path)


def hetero() -> HeteroData:
    data = HeteroData()
    data["paper"].x = torch.from_numpy(features(VERTICES))
    data["paper"].y = torch.from_numpy(LABELS)
    for name, mask in MASKS.items():
        data["paper"][f"{name}_mask"] = torch.from_numpy(mask)
    data["author"].x = torch.from_numpy(features(np.arange(NUM_AUTHORS) + 1000))
    data["paper", "cites", "paper"].edge_index = torch.from_numpy(EDGES)
    data["author", "writes", "paper"].edge_index = torch.from_numpy(WRITTEN)
    return data


def test_hetero_data(tmp_path: Path) -> None:
    data = hetero()
    graph = from_pyg(data, "library")
    graph.validate()
    whole = data.to_homogeneous()
    ids = np.arange(graph.num_vertices)
    assert np.array_equal(graph.edges, whole.edge_index.numpy())
    assert np.array_equal(graph.arrays["x"].rows(ids), whole.x.numpy())
    assert np.array_equal(graph.arrays["node_type"].rows(ids), whole.node_type.numpy())
    assert graph.edge_attr is not None
    assert np.array_equal(graph.edge_attr, whole.edge_type.numpy())
    assert np.array_equal(graph.arrays["y"].rows(ids)[:NUM_VERTICES], LABELS)
    assert (graph.arrays["y"].rows(ids)[NUM_VERTICES:] == -1).all()
    assert np.array_equal(graph.splits["train"], np.flatnonzero(MASKS["train"]))
    partition_graph(graph, tmp_path / "parts", PartitionConfig(num_parts=2))
    partition = open_partition(tmp_path / "parts", 1, verify=True)
    assert {"x", "y", "node_type"} == set(partition.arrays)
    assert partition.edge_attr is not None

    data["cites"].edge_attr = torch.from_numpy(weights(EDGES))
    data["writes"].edge_attr = torch.from_numpy(weights(WRITTEN))
    both = from_pyg(data).edge_attr
    assert both is not None
    assert np.array_equal(both[:, 0], np.concatenate([weights(EDGES), weights(WRITTEN)]))
    assert np.array_equal(both[:, 1], whole.edge_type.numpy())


def test_hetero_data_of_one_type() -> None:
    data = HeteroData()
    data["v"].x = torch.from_numpy(features(VERTICES))
    data["v", "to", "v"].edge_index = torch.from_numpy(EDGES)
    graph = from_pyg(data)
    graph.validate()
    assert (list(graph.arrays), graph.edge_attr) == (["x"], None)
    assert np.array_equal(graph.edges, EDGES)


def test_hetero_data_that_does_not_fit(caplog: pytest.LogCaptureFixture) -> None:
    wide = hetero()
    wide["author"].x = torch.zeros(NUM_AUTHORS, 5)
    with pytest.raises(DataError, match=r"widths: \[3\] in type 'paper', \[5\] in type 'author'"):
        from_pyg(wide)
    bare = hetero()
    del bare["author"].x
    bare["author"].num_nodes = NUM_AUTHORS
    with pytest.raises(DataError, match="type 'author' has no features 'x', others have"):
        from_pyg(bare)
    lone = HeteroData()
    lone["v"].x = torch.zeros(3, 2)
    with pytest.raises(DataError, match="the HeteroData object has no edge_index"):
        from_pyg(lone)
    extra = hetero()
    extra["paper"].year = torch.arange(NUM_VERTICES)
    assert "year" not in from_pyg(extra).arrays
    assert "leaving out the array 'year'" in caplog.text
