"""What a rank asked for, minibatch by minibatch, on disk: the ground that replays stand on.

A trace is a folder with one `trace-rankNNNNN.npz` per rank (plain arrays, nothing pickled):

- `facts`: the JSON text of `TraceFacts`, as bytes;
- `remote_ids`, `offsets`: the remote vertices that each minibatch asked for, in the order asked;
- one array per column of `COLUMNS`, one number per minibatch;
- `halo`, `halo_degree`: the halo vertices and their in-degrees;
- `vip_ids`, `vip_values`: vertex inclusion probabilities, if they were computed.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import Ids
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.errors import DataError, one_line
from gnnflow.files.json_record import Count, FieldError, read_record
from gnnflow.files.json_text import parse_json, to_json_text
from gnnflow.files.npy_file import read_archive
from gnnflow.files.whole_file import replaced_file

FORMAT_VERSION = 1

COLUMNS: dict[str, str] = {
    "epoch": "int64",
    "num_seeds": "int64",
    "num_vertices": "int64",
    "num_edges": "int64",
    "subgraph_bytes": "int64",
    "num_hits": "int64",
    "num_fill": "int64",
    "moved_bytes": "int64",
    "num_requests": "int64",
    "sample_s": "float64",
    "fetch_s": "float64",
    "wait_s": "float64",
    "train_s": "float64",
    "all_reduce_s": "float64",
    "known_stall_s": "float64",
    "known_elapsed_s": "float64",
}
"""What is known of each minibatch: its epoch; seeds, vertices and edges of the subgraph and the
memory it took; what the cache found and what was fetched only to fill it; bytes and messages that
came from other ranks; seconds of sampling, of fetching rows, of waiting for the minibatch in the
training loop, of forward and backward, and of the all-reduce besides. The last two are what a
policy is told: seconds of waiting and of everything in the training loop that became known between
the plan of the minibatch before and its own."""

_LATER_COLUMNS = {"known_stall_s", "known_elapsed_s"}
"""Columns that older traces lack; zeros then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceFacts:
    """What stays the same during a run, as one rank sees it. 0 stands for unknown."""

    graph: str
    """Name of the graph."""
    rank: Count
    """Whose trace this is."""
    num_ranks: Count
    """Ranks of the job, which is the number of parts."""
    graph_vertices: Count = 0
    """Vertices of the whole graph."""
    graph_edges: Count = 0
    """Edges of the whole graph."""
    part_vertices: Count = 0
    """Inner vertices of the part."""
    row_bytes: Count = 0
    """Size of one row."""
    vectors_a_row: Count = 1
    """Vectors as wide as the features that a row joins: two with what a stored first hop has."""
    batch_size: Count = 0
    """Seeds of one rank in one minibatch."""
    fanout: tuple[Count, ...] = ()
    """Neighbours kept per hop."""
    num_train_seeds: Count = 0
    """Train seeds of all ranks."""
    gradient_bytes: Count = 0
    """Size of the gradients that are all-reduced per minibatch."""
    num_threads: Count = 0
    """Threads of the rank."""
    transport: str = ""
    """How rows moved."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Options of the draw, the cache and the pipeline, by name, as the run used them."""

    @property
    def draw(self) -> str:
        """Which neighbours were kept: `dependent, 16 steps`; `independent` for older traces.

        With weights their name follows: `shared, by weight`.
        """
        draw = str(self.settings.get("draw", "independent"))
        every = self.settings.get("draw_every", "unknown")
        weights = self.settings.get("weight_attr")
        steps = f", {every} steps" if draw == "dependent" else ""
        return draw + steps + (f", by {weights}" if weights is not None else "")

    @property
    def first_hop(self) -> str:
        """What stood for the last hop: `mean`, `sum` or `gcn` if it was stored, or `sampled`."""
        return str(self.settings.get("first_hop", "sampled"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """One rank's trace in memory."""

    facts: TraceFacts
    """What stays the same."""
    remote_ids: Ids
    """int64: ids of all minibatches one after the other."""
    offsets: Ids
    """int64 `[num_minibatches + 1]`: where each minibatch starts."""
    columns: dict[str, npt.NDArray[Any]]
    """`COLUMNS` by name, `[num_minibatches]` each; zeros where a run did not measure."""
    halo: Ids
    """int64 `[num_halo]`: halo vertices, ascending."""
    halo_degree: Ids
    """int64 `[num_halo]`: their in-degrees."""
    vip: VertexValues | None = None
    """Vertex inclusion probabilities of remote vertices."""

    @property
    def num_minibatches(self) -> int:
        """Number of minibatches."""
        return len(self.offsets) - 1

    @property
    def rows_asked(self) -> int:
        """Remote rows asked for: the communication volume without a cache."""
        return len(self.remote_ids)

    @property
    def num_halo(self) -> int:
        """Number of halo vertices."""
        return len(self.halo)

    @property
    def num_budget_rows(self) -> int:
        """Rows that budgets are fractions of: in bytes, the features of all halo vertices."""
        return len(self.halo) // max(self.facts.vectors_a_row, 1)

    def ids(self, minibatch: int) -> Ids:
        """Returns the remote vertices of a minibatch, int64 `[n]`."""
        return self.remote_ids[self.offsets[minibatch] : self.offsets[minibatch + 1]]

    def minibatches(self) -> list[Ids]:
        """Returns the remote vertices of all minibatches."""
        return [self.ids(number) for number in range(self.num_minibatches)]

    def head(self, num_minibatches: int) -> "Trace":
        """Returns the first minibatches as a trace."""
        num = min(num_minibatches, self.num_minibatches)
        return Trace(
            facts=self.facts,
            remote_ids=self.remote_ids[: self.offsets[num]],
            offsets=self.offsets[: num + 1],
            columns={name: values[:num] for name, values in self.columns.items()},
            halo=self.halo,
            halo_degree=self.halo_degree,
            vip=self.vip,
        )


def trace_file(folder: Path, rank: int) -> Path:
    """Returns the file of a rank's trace."""
    return folder / f"trace-rank{rank:05d}.npz"


class TraceRecorder:
    """Collects a rank's trace and writes it in one go."""

    def __init__(
        self, facts: TraceFacts, halo: Ids, halo_degree: Ids, vip: VertexValues | None = None
    ) -> None:
        """Starts an empty trace; the halo is needed to replay budgets and fills."""
        self._facts = facts
        self._halo = halo
        self._halo_degree = halo_degree
        self._vip = vip
        self._ids: list[Ids] = []
        self._columns: dict[str, list[float]] = {name: [] for name in COLUMNS}

    def add(self, remote_ids: Ids, **columns: float) -> None:
        """Appends a minibatch.

        Args:
            remote_ids: int64 `[n]`, what it asks other ranks for, cached or not. Kept, not copied.
            columns: Some of `COLUMNS`; the others are 0.

        Raises:
            TypeError: If a column does not exist.
        """
        unknown = columns.keys() - COLUMNS.keys()
        if unknown:
            raise TypeError(f"a trace has no column {', '.join(sorted(unknown))}")
        self._ids.append(remote_ids)
        for name, values in self._columns.items():
            values.append(columns.get(name, 0))

    def trace(self) -> Trace:
        """Returns what was collected so far."""
        empty = np.zeros(0, dtype=np.int64)
        lengths = [len(ids) for ids in self._ids]
        return Trace(
            facts=self._facts,
            remote_ids=np.concatenate([empty, *self._ids]),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            columns={
                name: np.array(self._columns[name], dtype=dtype) for name, dtype in COLUMNS.items()
            },
            halo=self._halo,
            halo_degree=self._halo_degree,
            vip=self._vip,
        )

    def save(self, folder: Path) -> Path:
        """Writes what was collected and returns the file."""
        return write_trace(folder, self.trace())


def write_trace(folder: Path, trace: Trace) -> Path:
    """Writes a rank's trace; a file that is there is complete, whatever happens meanwhile.

    Raises:
        DataError: If the folder cannot be written.
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        "facts": np.frombuffer(
            to_json_text({"version": FORMAT_VERSION} | asdict(trace.facts)).encode(), dtype=np.uint8
        ),
        "remote_ids": _narrow(trace.remote_ids),
        "offsets": trace.offsets,
        "halo": trace.halo,
        "halo_degree": trace.halo_degree,
        **trace.columns,
    }
    if trace.vip is not None:
        arrays |= {"vip_ids": trace.vip.ids, "vip_values": trace.vip.values}
    path = trace_file(folder, trace.facts.rank)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replaced_file(path) as partial, open(partial, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    except OSError as error:
        raise DataError(f"the trace cannot be written to {path}: {error}") from None
    return path


def read_trace(path: Path) -> Trace:
    """Reads and checks the trace of one rank.

    Raises:
        DataError: If the file is missing, damaged, or of another version.
    """
    try:
        arrays = read_archive(path)
        facts = parse_json(arrays.pop("facts").tobytes())
    except FileNotFoundError:
        raise DataError(f"there is no trace {path}; record one with --trace") from None
    except (OSError, ValueError, KeyError, MemoryError) as error:
        raise DataError(
            f"{path} is not a trace or damaged ({one_line(error)}); record it again"
        ) from None
    return _checked(path, facts, arrays)


def read_traces(folder: Path) -> list[Trace]:
    """Reads the traces of all ranks of a run.

    Raises:
        DataError: If there is none, a rank's is missing, or they are of different runs.
    """
    paths = sorted(folder.glob("trace-rank*.npz"))
    if not paths:
        raise DataError(f"{folder} holds no traces (trace-rank*.npz); record some with --trace")
    traces = [read_trace(path) for path in paths]
    ranks = [trace.facts.rank for trace in traces]
    num_ranks = traces[0].facts.num_ranks
    if len(ranks) != num_ranks or ranks != list(range(num_ranks)):
        raise DataError(
            f"{folder} must hold the traces of ranks 0 to {num_ranks - 1}, got {ranks}; "
            "record the run again into an empty folder"
        )
    facts = [trace.facts for trace in traces]
    runs = {(each.graph, each.num_ranks, each.fanout, each.draw, each.first_hop) for each in facts}
    if len(runs) > 1:
        raise DataError(f"{folder} mixes traces of different runs; record into an empty folder")
    return traces


def _narrow(ids: Ids) -> npt.NDArray[np.integer[Any]]:
    """Stores ids in half the space where they fit."""
    fits = len(ids) == 0 or int(ids.max()) <= np.iinfo(np.int32).max
    return ids.astype(np.int32) if fits else ids


def _checked(path: Path, raw: object, arrays: dict[str, npt.NDArray[Any]]) -> Trace:
    def damaged(what: str) -> DataError:
        return DataError(f"{path} is damaged: {what}; record it again")

    if not isinstance(raw, dict) or raw.get("version") != FORMAT_VERSION:
        raise DataError(f"{path} is not a trace of version {FORMAT_VERSION}; record it again")
    missing = (
        {"remote_ids", "offsets", "halo", "halo_degree", *COLUMNS} - arrays.keys() - _LATER_COLUMNS
    )
    if missing:
        raise damaged(f"it lacks {', '.join(sorted(missing))}")
    about = {name: value for name, value in raw.items() if name != "version"}
    try:
        facts = read_record(TraceFacts, about, complete=True)
    except FieldError as error:
        wrong = f"its fact '{error.field}' is {error.found} and must {error.wanted}"
        raise damaged(wrong) from None
    except DataError as error:
        raise damaged(str(error)) from None
    kinds = dict.fromkeys(("remote_ids", "offsets", "halo", "halo_degree", "vip_ids"), "iu")
    kinds |= {name: np.dtype(dtype).kind for name, dtype in COLUMNS.items()} | {"vip_values": "f"}
    for name, array in arrays.items():
        wanted = kinds.get(name, "iu")
        if array.ndim != 1 or array.dtype.kind not in ("iu" if wanted == "i" else wanted):
            raise damaged(f"{name} holds {array.dtype} of shape {list(array.shape)}")
    offsets = arrays["offsets"].astype(np.int64)
    remote_ids = arrays["remote_ids"].astype(np.int64)
    halo = arrays["halo"].astype(np.int64)
    halo_degree = arrays["halo_degree"].astype(np.int64)
    limit = facts.graph_vertices or 2**62
    vip_ids = arrays.get("vip_ids", np.zeros(0, dtype=np.int64)).astype(np.int64)
    for name, ids in (("remote_ids", remote_ids), ("halo", halo), ("vip_ids", vip_ids)):
        if len(ids) and not (ids.min() >= 0 and ids.max() < limit):
            raise damaged(f"{name} holds ids that are not of the graph")
    if halo.shape != halo_degree.shape or (np.diff(halo) <= 0).any() or (halo_degree < 0).any():
        raise damaged("its halo vertices do not ascend, or lack a degree")
    num = len(offsets) - 1
    if num < 0 or offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != len(remote_ids):
        raise damaged("its offsets do not fit the ids")
    minibatch = np.repeat(np.arange(num), np.diff(offsets))
    order = np.lexsort((remote_ids, minibatch))
    repeats = (np.diff(remote_ids[order]) == 0) & (np.diff(minibatch[order]) == 0)
    if repeats.any():
        raise damaged("a minibatch asks for a row twice")
    for name in _LATER_COLUMNS - arrays.keys():
        arrays[name] = np.zeros(num, dtype=COLUMNS[name])
    for name in COLUMNS:
        if arrays[name].shape != (num,):
            raise damaged(f"{name} must have {num} entries, got {arrays[name].shape}")
    vip = None
    if "vip_ids" in arrays and "vip_values" in arrays:
        try:
            vip = VertexValues(vip_ids, arrays["vip_values"].astype(np.float32))
        except DataError as error:
            raise damaged(str(error)) from None
    return Trace(
        facts=facts,
        remote_ids=remote_ids,
        offsets=offsets,
        columns={name: arrays[name].astype(dtype) for name, dtype in COLUMNS.items()},
        halo=halo,
        halo_degree=halo_degree,
        vip=vip,
    )
