"""A folder that `dgl.distributed.partition_graph` wrote, read without DGL.

The folder holds a description in JSON and for every part the graph, the arrays of its vertices and
those of its edges. Vertices and edges have ids by part: part `p` owns consecutive ones of each
type. These become the ids of the raw graph; those from before DGL's partitioning are not in the
folder, unless the user kept them as an array of the vertices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets import structure
from gnnflow.datasets.array_kinds import LabelTask
from gnnflow.datasets.raw_graph import Progress, RawGraph
from gnnflow.datasets.readers.dgl_file import DglGraph, read_graph, read_tensors
from gnnflow.datasets.readers.edge_arrays import choose_edge_array
from gnnflow.datasets.readers.segments import Segment, vertex_arrays
from gnnflow.datasets.row_source import ArrayRows, RowSource
from gnnflow.errors import DataError
from gnnflow.files.array_sink import ArraySink
from gnnflow.files.json_text import parse_json
from gnnflow.files.regular_file import lies_inside, read_regular

_VERTEX_TYPE, _EDGE_TYPE = "_N", "_N:_E:_N"  # what DGL calls the only type
_ID = "_ID"


@dataclass(frozen=True, slots=True)
class _Range:
    """Consecutive ids of one type in one part."""

    start: int
    stop: int
    kind: str
    part: int

    @property
    def where(self) -> str:
        return f"part {self.part}, type '{self.kind}'"


def from_distdgl(
    part_config: str | Path,
    *,
    features: str | None = None,
    labels: str | None = None,
    task: LabelTask = "auto",
    workdir: str | Path | None = None,
    progress: Progress | None = None,
) -> RawGraph:
    """Reads a partition folder of DistDGL; `RawGraph.part` says who owned what.

    Edges keep the order of DGL's edge ids. The arrays `feat` (or `x`, ...) and `label` (or `y`,
    ...) become features and labels, `train_mask`, `val_mask` and `test_mask` the splits; others
    keep their names. Where there are several types, those of vertices become the array
    `node_type` and those of edges the last column of `edge_attr`, numbered as DGL numbers them;
    features must be equally wide.

    Args:
        part_config: The JSON file that describes the folder.
        features: Name of the array that holds features; or `degree` or `learned`, features made
            from the edges, which graphs without any get as well.
        labels: Name of the array that holds labels.
        task: What labels are.
        workdir: Folder for files of edges; without one they are held in memory.
        progress: Called after each part.

    Raises:
        DataError: A file is missing, damaged, or of a kind that is not read.
    """
    part_config = Path(part_config)
    config = _read_config(part_config)
    vertex_ranges = config.ranges("node_map", "ntypes", _VERTEX_TYPE, config.integer("num_nodes"))
    edge_ranges = config.ranges("edge_map", "etypes", _EDGE_TYPE, config.integer("num_edges"))
    segments = _segments(config, vertex_ranges, "node_feats", _VERTEX_TYPE)
    made = features if features in structure.FEATURES else None
    found = vertex_arrays(segments, features=None if made else features, labels=labels, task=task)
    arrays: dict[str, RowSource] = dict(found.arrays)
    sizes = [segment.num_rows for segment in segments]
    types = config.types("ntypes", _VERTEX_TYPE)
    if len(types) > 1:
        numbers = np.array([types[one.kind] for one in vertex_ranges], dtype=np.int32)
        arrays["node_type"] = ArrayRows(np.repeat(numbers, sizes))
    owners = np.array([one.part for one in vertex_ranges], dtype=np.int32)
    folder = None if workdir is None else Path(workdir)
    edges = _gather_edges(config, vertex_ranges, edge_ranges, folder, progress)
    graph = RawGraph(
        name=config.text("graph_name"),
        source=f"DistDGL partition {part_config.name}",
        num_vertices=sum(sizes),
        edges=edges,
        arrays=arrays,
        splits=found.splits,
        num_classes=found.num_classes,
        edge_attr=_edge_attr(config, edge_ranges, folder),
        part=np.repeat(owners, sizes),
    )
    if made or "x" not in graph.arrays:
        graph = structure.with_features(graph, made, seed=0)
    return graph


def _gather_edges(
    config: "_Config",
    vertex_ranges: Sequence[_Range],
    edge_ranges: Sequence[_Range],
    folder: Path | None,
    progress: Progress | None,
) -> NDArray[Any]:
    """Returns all edges in the order of their ids, reading one part at a time."""
    num_parts, num_edges = config.integer("num_parts"), edge_ranges[-1].stop
    small = vertex_ranges[-1].stop <= np.iinfo(np.int32).max
    file = None if folder is None else folder / "dgl-edges.npy"
    with ArraySink((2, num_edges), np.dtype(np.int32 if small else np.int64), file) as sink:
        for part in range(num_parts):
            path = config.file(part, "part_graph")
            ids, ends = _inner_edges(read_graph(path), path)
            mine = [one for one in edge_ranges if one.part == part]
            expected = np.concatenate([np.arange(one.start, one.stop) for one in mine])
            if not np.array_equal(ids, expected):
                raise DataError(
                    f"{path} holds {len(ids)} edges of its own, which are not the "
                    f"{len(expected)} that edge_map names; it belongs to another partition: "
                    "copy the folder again"
                )
            done = 0
            for one in mine:
                size = one.stop - one.start
                for row in range(2):
                    sink.write(row * num_edges + one.start, ends[row][done : done + size])
                done += size
            if progress is not None:
                progress("reading parts", part + 1, num_parts)
        return sink.array()


def _inner_edges(graph: DglGraph, path: Path) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Returns the ids of the part's own edges, ascending, and their ends in ids of the graph."""
    for arrays in (graph.vertex_arrays, graph.edge_arrays):
        if _ID not in arrays or arrays[_ID].ndim != 1 or arrays[_ID].dtype.kind != "i":
            raise DataError(f"{path} has no ids as '{_ID}'; it is no part of a partition")
    vertex_ids, edge_ids = graph.vertex_arrays[_ID], graph.edge_arrays[_ID]
    inner = graph.edge_arrays.get("inner_edge", np.ones(len(edge_ids), dtype=np.uint8)) == 1
    rows = np.arange(len(graph.sources)) if graph.edge_ids is None else graph.edge_ids
    sizes = {len(graph.sources), len(graph.destinations), len(rows), len(edge_ids), len(inner)}
    ends = (graph.sources, graph.destinations)
    in_range = all(
        not len(ids) or (0 <= ids.min() and ids.max() < limit)
        for ids, limit in ((rows, len(edge_ids)), *((end, len(vertex_ids)) for end in ends))
    )
    if len(sizes) > 1 or not in_range:
        raise DataError(f"{path} is damaged: its arrays do not fit together; copy it again")
    kept = inner[rows]
    ids = edge_ids[rows[kept]]
    order = np.argsort(ids, kind="stable")
    return ids[order], [vertex_ids[end[kept][order]] for end in ends]


def _edge_attr(
    config: "_Config", edge_ranges: Sequence[_Range], folder: Path | None
) -> NDArray[Any] | None:
    """Returns the attributes of the edges, or their types if there are several and no others."""
    segments = _segments(config, edge_ranges, "edge_feats", _EDGE_TYPE)
    types = config.types("etypes", _EDGE_TYPE)
    return choose_edge_array(
        segments, [types[one.kind] for one in edge_ranges], folder, num_types=len(types)
    )


def _segments(
    config: "_Config", ranges: Sequence[_Range], files: str, only_type: str
) -> list[Segment]:
    """Returns the arrays of vertices or edges, range by range, from a file of every part."""
    tables = [
        _by_type(read_tensors(config.file(part, files)), only_type)
        for part in range(config.integer("num_parts"))
    ]
    return [
        Segment(
            where=one.where,
            num_rows=one.stop - one.start,
            arrays=tables[one.part].get(one.kind, {}),
        )
        for one in ranges
    ]


def _by_type(
    tensors: Mapping[str, NDArray[Any]], only_type: str
) -> dict[str, dict[str, NDArray[Any]]]:
    """Sorts arrays named `TYPE/NAME` by their type; old files leave the type out."""
    tables: dict[str, dict[str, NDArray[Any]]] = {}
    for key, array in tensors.items():
        kind, slash, name = key.partition("/")
        table = tables.setdefault(kind if slash else only_type, {})
        table[name if slash else key] = array
    return tables


class _Config:
    """The description of a partition folder, checked where it is used."""

    def __init__(self, file: Path, values: Mapping[str, Any]) -> None:
        self._file, self._values = file, values

    def unfit(self, what: str) -> DataError:
        return DataError(
            f"{self._file} {what}; give the JSON file that dgl.distributed.partition_graph wrote"
        )

    def integer(self, name: str) -> int:
        value = self._values.get(name)
        if type(value) is not int or value < 0:
            raise self.unfit(f"must give '{name}' as a number from 0, got {value!r}")
        return value

    def text(self, name: str) -> str:
        return str(self._values.get(name, "dgl"))

    def file(self, part: int, name: str) -> Path:
        files = self._values.get(f"part-{part}")
        found = files.get(name) if isinstance(files, dict) else None
        if not isinstance(found, str):
            raise self.unfit(f"names no '{name}' of part {part}")
        path = self._file.parent / found
        if not lies_inside(self._file.parent, path):
            raise self.unfit(f"names {found!r:.80} as '{name}' of part {part}, out of its folder")
        return path

    def types(self, name: str, only_type: str) -> dict[str, int]:
        """Returns the number of each type of vertices or edges."""
        types = self._values.get(name, {only_type: 0})
        if not isinstance(types, dict) or not all(type(one) is int for one in types.values()):
            raise self.unfit(f"must give '{name}' as a number for each type, got {types!r:.80}")
        return types

    def ranges(self, map_name: str, types_name: str, only_type: str, total: int) -> list[_Range]:
        """Returns who owns which ids, ascending, all `total` of them."""
        types = self.types(types_name, only_type)
        found = self._values.get(map_name)
        maps = {only_type: found} if isinstance(found, list) else found
        if not isinstance(maps, dict) or set(maps) != set(types):
            raise self.unfit(
                f"must give '{map_name}' as ranges of ids for each of {', '.join(types)}, "
                f"got {found!r:.80}"
            )
        num_parts = self.integer("num_parts")
        ranges = []
        for kind, pairs in maps.items():
            pairs = _with_starts(pairs)
            if len(pairs) != num_parts:
                raise self.unfit(f"has {len(pairs)} ranges in '{map_name}' for {num_parts} parts")
            ranges += [_Range(*pair, kind, part) for part, pair in enumerate(pairs)]
        ranges.sort(key=lambda one: (one.start, one.stop))
        ends = [0, *(one.stop for one in ranges)]
        starts = [*(one.start for one in ranges), total]
        if starts != ends or not ranges:
            raise self.unfit(f"must divide all {total} ids in '{map_name}' without gaps")
        return ranges


def _with_starts(pairs: Any) -> list[tuple[int, int]]:
    """Returns ranges as pairs; old files give only where each ends."""
    if not isinstance(pairs, list):
        return []
    if pairs and all(type(end) is int for end in pairs):
        pairs = [list(pair) for pair in zip([0, *pairs[:-1]], pairs, strict=True)]
    fits = all(
        isinstance(pair, list) and len(pair) == 2 and all(type(end) is int for end in pair)
        for pair in pairs
    )
    return [(pair[0], pair[1]) for pair in pairs] if fits else []


def _read_config(file: Path) -> _Config:
    if file.is_dir():
        raise DataError(f"{file} is a folder; give the JSON file in it, {_json_files(file)}")
    try:
        values = parse_json(read_regular(file))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {file} as JSON: {error}; check the path") from error
    config = _Config(file, values if isinstance(values, dict) else {})
    if config.integer("num_parts") < 1:
        raise config.unfit("has no parts")
    return config


def _json_files(folder: Path) -> str:
    names = sorted(file.name for file in folder.glob("*.json"))
    return " or ".join(names) if names else "of which there is none"
