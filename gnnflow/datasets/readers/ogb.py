"""Node property graphs of the Open Graph Benchmark.

Their raw files are read as they are. The package `ogb` is used to download them, no more: it keeps
what it has read as a pickle and holds all of it in memory.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.array_kinds import labels_of
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.row_source import ArrayRows, float_rows
from gnnflow.errors import DataError, MissingExtraError
from gnnflow.files.npy_file import map_or_unpack_member
from gnnflow.files.whole_file import made_folders

SPLIT_FILES = {"train": "train", "val": "valid", "test": "test"}
"""Name of the file of each split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OgbGraph:
    """What is known of a graph beforehand."""

    archive: str
    """Name of the downloaded archive and of the folder in it."""

    split: str
    """Name of the official split."""

    num_classes: int
    """Number of classes."""

    is_binary: bool = False
    """Raw files are `data.npz` and `node-label.npz` instead of compressed CSV."""

    one_direction: bool = False
    """Each undirected edge is stored once."""


GRAPHS = {
    "ogbn-arxiv": OgbGraph(archive="arxiv", split="time", num_classes=40),
    "ogbn-products": OgbGraph(
        archive="products", split="sales_ranking", num_classes=47, one_direction=True
    ),
    "ogbn-papers100M": OgbGraph(
        archive="papers100M-bin", split="time", num_classes=172, is_binary=True
    ),
}
"""Graphs that are read."""


def load_ogb(name: str, root: Path) -> RawGraph:
    """Reads a graph from `root/ogbn_...`, after downloading it if it is not there.

    Raises:
        DataError: The files are not there and cannot be downloaded, or are damaged.
        MissingExtraError: They are not there and the package `ogb` is not installed.
    """
    graph = GRAPHS[name]
    folder = root / name.replace("-", "_")
    wanted = folder / "raw" / ("data.npz" if graph.is_binary else "edge.csv.gz")
    if not wanted.is_file():
        _download(name, graph, root, folder, wanted)
    try:
        arrays = _read_binary(folder / "raw") if graph.is_binary else _read_csv(folder / "raw")
        split = {
            ours: np.loadtxt(folder / "split" / graph.split / f"{theirs}.csv.gz", np.int64, ndmin=1)
            for ours, theirs in SPLIT_FILES.items()
        }
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(
            f"cannot read {name} from {folder}: {error}; unpack its archive there again"
        ) from error
    return from_ogb_arrays(
        name,
        **arrays,
        split=split,
        num_classes=graph.num_classes,
        one_direction=graph.one_direction,
    )


def from_ogb_arrays(
    name: str,
    *,
    edge_index: NDArray[Any],
    node_feat: NDArray[Any],
    labels: NDArray[Any],
    split: Mapping[str, NDArray[Any]],
    num_classes: int,
    one_direction: bool = False,
) -> RawGraph:
    """Makes a raw graph of the arrays that OGB's library-agnostic loader gives.

    Args:
        name: Name of the graph.
        edge_index: `[2, num_edges]`.
        node_feat: `[num_vertices, num_features]`.
        labels: `[num_vertices, 1]`, NaN where there is none.
        split: Vertex ids of `train`, `val` (or `valid`) and `test`.
        num_classes: Number of classes.
        one_direction: Whether the reverse of every edge is to be added.
    """
    y, _ = labels_of(labels, name)
    if one_direction:
        edge_index = np.concatenate([edge_index, edge_index[::-1]], axis=1)
    return RawGraph(
        name=name,
        source=f"Open Graph Benchmark {name}",
        num_vertices=len(node_feat),
        edges=edge_index,
        arrays={"x": float_rows(node_feat), "y": ArrayRows(y)},
        splits={
            "val" if part == "valid" else part: np.sort(ids).astype(np.int64)
            for part, ids in split.items()
        },
        num_classes=num_classes,
    )


def _read_csv(raw: Path) -> dict[str, NDArray[Any]]:
    def read(file: str, dtype: type[Any]) -> NDArray[Any]:
        return np.loadtxt(raw / f"{file}.csv.gz", dtype, delimiter=",", ndmin=2)

    return {
        "edge_index": np.ascontiguousarray(read("edge", np.int64).T),
        "node_feat": read("node-feat", np.float32),
        "labels": read("node-label", np.float64),
    }


def _read_binary(raw: Path) -> dict[str, NDArray[Any]]:
    return {
        "edge_index": map_or_unpack_member(raw / "data.npz", "edge_index"),
        "node_feat": map_or_unpack_member(raw / "data.npz", "node_feat"),
        "labels": np.asarray(map_or_unpack_member(raw / "node-label.npz", "node_label")),
    }


def _download(name: str, graph: OgbGraph, root: Path, folder: Path, wanted: Path) -> None:
    """Downloads and unpacks a graph with the address and the functions of the package `ogb`."""
    by_hand = (
        f"{name} is not in {root}: there is no {wanted}; fetch {graph.archive}.zip elsewhere, "
        f"unpack it and name the folder {folder}"
    )
    try:
        from importlib.resources import files

        from ogb.utils.url import download_url, extract_zip
    except ImportError as error:
        purpose = f"{by_hand}; downloading it"
        raise MissingExtraError("ogb", "ogb", purpose) from error
    table = (files("ogb.nodeproppred") / "master.csv").read_text().splitlines()
    names = table[0].split(",")
    address = next(row for row in table if row.startswith("url,")).split(",")[names.index(name)]
    try:
        with made_folders(root):
            archive = download_url(address, str(root))
            extract_zip(archive, str(root))
            Path(archive).unlink()
            shutil.move(root / graph.archive, folder)
    except Exception as error:  # whatever a network, a disk or an archive may do
        raise DataError(f"{by_hand} (the download failed: {error})") from error
