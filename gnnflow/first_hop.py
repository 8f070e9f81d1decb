"""The first hop stored: what all in-neighbours of each vertex give the first layer of a network.

A layer that takes a mean or a sum of its input rows before any weight takes a constant of the graph
where these rows are features. It is computed once for a partition and kept beside it, in the folder
of each part: `first_hop_KIND.npy`, and `first_hop_KIND.json` with what it was made from.
"""

import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.array_types import Ids, Rows
from gnnflow.config import CHUNK_BYTES
from gnnflow.errors import ConfigError, DataError, GnnflowError, PartitionFormatError, ResourceError
from gnnflow.features import DistFeatureStore, FetchUnderWay
from gnnflow.files.json_record import Count, read_record
from gnnflow.files.json_text import parse_json, to_json_text
from gnnflow.files.npy_file import map_npy, npy_header
from gnnflow.files.regular_file import read_regular_text
from gnnflow.files.whole_file import replaced_file, write_whole
from gnnflow.graph import DistGraph
from gnnflow.in_degrees import IN_DEGREE, ensure_in_degree, in_degree_without_loops
from gnnflow.partition import GraphPartition
from gnnflow.partition.reader import fingerprint
from gnnflow.partition.stored_rows import STORED_TYPES, from_stored, to_stored
from gnnflow.sampling import LocalNeighborSampler
from gnnflow.terminal import SlowWork

_LOGGER = logging.getLogger(__name__)

FirstHop = Literal["mean", "sum", "gcn"]
"""What the first layer takes of the in-neighbours' rows, parallel edges and self loops as PyG's
layers count them: their mean (SAGE), their sum (GIN), or the sum by degrees with the vertex's own
row (GCN), which needs no other row of the vertex."""
FIRST_HOPS: tuple[FirstHop, ...] = get_args(FirstHop)

_FORMAT = "gnnflow-first-hop"
_VERSION = 1
_FACTS_BYTES = 1 << 16
_MADE_FROM = ("indptr.npy", "indices.npy", "x.npy")
_LEFTOVER_S = 3600
_BYTES_AN_EDGE = 48
"""Memory of finding the distinct sources of edges, for each of them."""

RowsT = TypeVar("RowsT", bound=Any)


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstHopFacts:
    """What `first_hop_KIND.json` says."""

    format: str
    """Always the same."""
    version: Count
    """Version of the format."""
    made_from: str
    """Hash of the edges and features of all parts, and of the kind."""
    size_bytes: Count
    """Size of the file with the rows."""
    fingerprint: str
    """Hash of its first and last bytes."""


def open_first_hop(
    graph: DistGraph, kind: FirstHop, *, memory_bytes: int = CHUNK_BYTES
) -> DistFeatureStore:
    """Opens the stored first hop, computing it if it is not there; all ranks call this.

    Args:
        graph: the graph.
        kind: one of `FIRST_HOPS`.
        memory_bytes: about how much memory of a rank computing may take.

    Returns:
        A row for each vertex by global id, of the type of the features: its features and beside
        them the aggregate, or for `gcn` the aggregate alone; `split_rows` takes them apart.

    Raises:
        ConfigError: if there is no such kind.
        DataError: if the features are no rows of floats.
        ResourceError: if the file cannot be written, or an aggregate is beyond their type.
    """
    if kind not in FIRST_HOPS:
        raise ConfigError(f"first_hop must be one of {', '.join(FIRST_HOPS)}, got {kind!r}")
    name = joint_name(kind)
    try:
        return graph.store(name)
    except DataError:
        pass
    _check_features(graph)
    ctx = graph.ctx
    ctx.step = f"the stored first hop of {graph.path}"
    files = _Files(graph, kind)
    is_missing = not files.is_there()
    if ctx.allreduce_sum(np.array([is_missing], dtype=np.int64))[0]:
        if kind == "gcn":
            ensure_in_degree(graph)
        problem = ""
        with SlowWork("computing the stored first hop", show=ctx.rank == 0) as work:
            if is_missing:
                _LOGGER.info("computing %s", files.rows)
                try:
                    files.write(_FirstHopSums(graph, kind, memory_bytes), work)
                except GnnflowError as error:
                    problem = str(error)
            # Whoever cannot write goes on answering the others, and all leave together.
            problems = ctx.allgather_json(problem)
        for problem in filter(None, problems):
            raise ResourceError(problem)
    return graph.serve_files(name, partial(_mapped, kind), wire_pieces=vectors_a_row(kind))


def joint_name(kind: FirstHop) -> str:
    """What the rows are served as."""
    return f"x_first_{kind}"


def vectors_a_row(kind: FirstHop | None) -> int:
    """Vectors as wide as the features that a row joins."""
    return 1 if kind in (None, "gcn") else 2


def split_rows(rows: RowsT, kind: FirstHop) -> tuple[RowsT | None, RowsT]:
    """Takes rows of `open_first_hop` apart, without a copy.

    Args:
        rows: `[num_rows, row_width]`, an array or a tensor.
        kind: as they were opened.

    Returns:
        The features, None for `gcn`, and the aggregates.
    """
    if kind == "gcn":
        return None, rows
    half = rows.shape[1] // 2
    return rows[:, :half], rows[:, half:]


def _check_features(graph: DistGraph) -> None:
    spec = graph.manifest.arrays.get("x")
    if spec is None:
        raise DataError(f"the stored first hop is made of features, and {graph.path} has none")
    if len(spec.row_shape) != 1 or spec.dtype not in STORED_TYPES or not graph.num_features:
        raise DataError(
            f"the stored first hop needs features that are rows of floats, got {spec.dtype} "
            f"{list(spec.row_shape)}; leave it out, or partition the graph with other features"
        )


def _mapped(kind: FirstHop, part: GraphPartition) -> Rows:
    path = part.folder / f"first_hop_{kind}.npy"
    x = part.arrays["x"]
    shape = (len(x), x.shape[1] * vectors_a_row(kind))
    try:
        rows = np.asarray(map_npy(path))
    except (OSError, ValueError) as error:
        raise PartitionFormatError(f"{path} cannot be read: {error}") from error
    if rows.dtype != x.dtype or rows.shape != shape or not rows.flags.c_contiguous:
        raise PartitionFormatError(
            f"{path} holds {rows.dtype} {list(rows.shape)}, expected {x.dtype} {list(shape)}; "
            "remove it to have it computed anew"
        )
    return rows


class _Files:
    """The files of this rank's part."""

    def __init__(self, graph: DistGraph, kind: FirstHop) -> None:
        folder = graph.partition.folder
        self._x = graph.partition.arrays["x"]
        self._type = graph.manifest.arrays["x"].dtype
        self._kind = kind
        self._made_from = _hash_of_sources(graph, kind)
        self.rows = folder / f"first_hop_{kind}.npy"
        self._facts = folder / f"first_hop_{kind}.json"

    def is_there(self) -> bool:
        """Whether the rows are there, whole, and of this very partition."""
        if not self._facts.exists() or self.rows.is_symlink():
            return False  # a link may lead anywhere; it is replaced
        try:
            text = read_regular_text(self._facts, _FACTS_BYTES)
            facts = read_record(FirstHopFacts, parse_json(text))
            expected = FirstHopFacts(
                format=_FORMAT,
                version=_VERSION,
                made_from=self._made_from,
                size_bytes=self.rows.stat().st_size,
                fingerprint=fingerprint(self.rows),
            )
        except (OSError, ValueError, DataError) as error:
            _LOGGER.warning("%s is of no use (%s): computed anew", self._facts, error)
            return False
        if facts != expected:
            _LOGGER.info("%s is of other edges or features: computed anew", self.rows)
        return facts == expected

    def write(self, aggregation: "_FirstHopSums", work: SlowWork) -> None:
        """Computes and writes the rows, and what they were made from last."""
        x, done = self._x, 0
        shape = (len(x), x.shape[1] * vectors_a_row(self._kind))
        try:
            self._clear_leftovers()
            with replaced_file(self.rows, shared=True) as partial_file:
                with partial_file.open("wb") as file:
                    file.write(npy_header(x.dtype, shape))
                    for floats in aggregation.rows():
                        rows = self._joined(x[done : done + len(floats)], floats)
                        file.write(np.ascontiguousarray(rows).data)
                        done += len(floats)
                        work.tell(done / max(len(x), 1))
            facts = FirstHopFacts(
                format=_FORMAT,
                version=_VERSION,
                made_from=self._made_from,
                size_bytes=self.rows.stat().st_size,
                fingerprint=fingerprint(self.rows),
            )
            write_whole(self._facts, to_json_text(asdict(facts), indent=1) + "\n")
        except OSError as error:
            raise ResourceError(
                f"cannot write the stored first hop {self.rows}: {error.strerror or error}; it is "
                "kept beside the partition: make room there, or copy the partition to where it can "
                "be written"
            ) from None

    def _clear_leftovers(self) -> None:
        """Removes what killed jobs left; what other jobs write at this moment is younger."""
        for left in self.rows.parent.glob(f"{self.rows.name}.*.part"):
            if time.time() - left.stat().st_mtime > _LEFTOVER_S:
                left.unlink(missing_ok=True)

    def _joined(self, x: Rows, floats: npt.NDArray[np.float32]) -> Rows:
        stored = to_stored(floats, self._type)
        if np.isinf(stored).any() and not np.isinf(floats).any():
            raise DataError(
                f"sums over the first hop reach {np.abs(floats).max():g}, beyond {self._type}; "
                "partition the graph with --feature-dtype bfloat16, or sample the first hop"
            )
        return stored if self._kind == "gcn" else np.concatenate([x, stored], axis=1)


class _Span(NamedTuple):
    """Some edges of consecutive inner vertices."""

    first: int
    last: int
    first_edge: int
    last_edge: int


class _Sources(NamedTuple):
    """The distinct sources of a span's edges, whose rows are on their way."""

    position: Ids
    """int64 `[num_edges]`: which of them an edge comes from."""
    rows: FetchUnderWay
    in_degree: FetchUnderWay | None


class _FirstHopSums:
    """Aggregates the rows of all in-neighbours of each inner vertex, in bounded memory."""

    def __init__(self, graph: DistGraph, kind: FirstHop, memory_bytes: int) -> None:
        self._graph = graph
        self._kind = kind
        self._store = graph.exact_store("x")
        self._type = graph.manifest.arrays["x"].dtype
        self._width = graph.num_features
        self._rooms = [np.empty((0, *self._store.row_shape), self._store.dtype)] * 2
        self._sampler = LocalNeighborSampler(graph.topology, num_threads=graph.ctx.threads)
        # Rows as they come and as floats, twice: those of the next edges are on their way.
        edge_bytes = 2 * (self._store.row_bytes + 4 * self._width + _BYTES_AN_EDGE)
        self._edges_at_once = max(1, memory_bytes // edge_bytes)
        if kind == "gcn":
            self._in_degrees = in_degree_without_loops(graph.partition)

    def rows(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yields `[num_vertices, width]` for consecutive vertices; others are asked meanwhile."""
        spans = list(self._spans())
        if not spans:
            return
        sums = np.zeros((0, self._width), dtype=np.float32)
        pending = self._ask(spans[0])
        for number, span in enumerate(spans):
            sources, is_last = pending, number + 1 == len(spans)
            if not is_last:
                pending = self._ask(spans[number + 1])
            part = self._sums_of(span, sources)
            goes_on = number > 0 and spans[number - 1].first == span.first
            sums = np.add(sums, part, out=sums) if goes_on else part
            if is_last or spans[number + 1].first != span.first:
                yield self._finished(span, sums)

    def _spans(self) -> Iterator[_Span]:
        """Cuts the edges; only vertices with very many are cut themselves."""
        indptr, limit = self._graph.partition.indptr, self._edges_at_once
        num_vertices = self._graph.partition.num_vertices
        ends = indptr[1:] + np.arange(1, num_vertices + 1)  # a vertex counts as an edge
        cuts = np.flatnonzero(np.diff((ends - 1) // limit)) + 1
        bounds = [0, *cuts.tolist(), num_vertices] if num_vertices else []
        for first, last in zip(bounds[:-1], bounds[1:], strict=True):
            start, stop = int(indptr[first]), int(indptr[last])
            for edge in range(start, max(stop, start + 1), limit):
                yield _Span(first, last, edge, min(edge + limit, stop))

    def _ask(self, span: _Span) -> _Sources:
        partition = self._graph.partition
        starts = (partition.indptr[span.first], partition.indptr[span.last])
        if starts == (span.first_edge, span.last_edge):
            # The vertices' own rows come along, which are here.
            vertices = np.arange(span.first, span.last, dtype=np.int64) + partition.first_id
            subgraph = self._sampler.sample(vertices, [-1], epoch=0, minibatch=0)
            ids, position = subgraph.vertices, subgraph.src
        else:
            indices = partition.indices[span.first_edge : span.last_edge]
            sources, position = np.unique(indices, return_inverse=True)
            ids, position = sources.astype(np.int64), position.reshape(-1).astype(np.int64)
        in_degree = None
        if self._kind == "gcn":
            in_degree = self._graph.store(IN_DEGREE).fetch_async(ids)
        rows = self._store.fetch_async(ids, self._room(len(ids)))
        return _Sources(position, rows, in_degree)

    def _room(self, num_rows: int) -> Rows:
        """Memory for rows that come while those before are still looked at, used in turns."""
        self._rooms.reverse()
        if len(self._rooms[0]) < num_rows:
            self._rooms[0] = np.empty((num_rows, *self._store.row_shape), self._store.dtype)
        return self._rooms[0][:num_rows]

    def _sums_of(self, span: _Span, sources: _Sources) -> npt.NDArray[np.float32]:
        rows = from_stored(sources.rows.result(), self._type)
        if sources.in_degree is not None:
            rows = rows * _weights(sources.in_degree.result())[:, np.newaxis]
        indptr = self._graph.partition.indptr[span.first : span.last + 1]
        sums = np.empty((span.last - span.first, self._width), dtype=np.float32)
        _kernels.spmm(
            sums,
            np.clip(indptr, span.first_edge, span.last_edge) - span.first_edge,
            sources.position,
            rows,
            num_threads=self._graph.ctx.threads,
        )
        return sums

    def _finished(self, span: _Span, sums: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        partition = self._graph.partition
        degrees = np.diff(partition.indptr[span.first : span.last + 1]).astype(np.float32)
        if self._kind == "sum":
            return sums
        if self._kind == "mean":
            sums /= np.maximum(degrees, 1)[:, np.newaxis]
            return sums
        # As the layer has it: the self loop that every vertex has takes the place of the graph's.
        degree = self._in_degrees[span.first : span.last]
        weights = _weights(degree)
        own = from_stored(partition.arrays["x"][span.first : span.last], self._type)
        sums -= own * ((degrees - degree) * weights)[:, np.newaxis]
        sums *= weights[:, np.newaxis]
        sums += own * np.square(weights)[:, np.newaxis]
        return sums


def _weights(in_degree: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What rows of vertices count with by degree, the loop of each vertex included."""
    weights: npt.NDArray[np.float32] = 1 / np.sqrt(in_degree + np.float32(1))
    return weights


def _hash_of_sources(graph: DistGraph, kind: FirstHop) -> str:
    """Hash of what the rows are made from, by what the manifest says of the files."""
    files = [[part.files[name].sha256 for name in _MADE_FROM] for part in graph.manifest.parts]
    about = to_json_text([_FORMAT, _VERSION, kind, graph.manifest.arrays["x"].dtype, files])
    return hashlib.sha256(about.encode()).hexdigest()
