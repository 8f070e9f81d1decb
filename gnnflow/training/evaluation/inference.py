"""Predictions and embeddings of vertices, exact over all neighbours, into files by original id."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike, NDArray
from torch import Tensor, nn

import gnnflow
from gnnflow.array_types import Ids
from gnnflow.comm import Context
from gnnflow.config import CHUNK_BYTES, InferConfig
from gnnflow.errors import CheckpointError, ConfigError, DataError
from gnnflow.features import DistFeatureStore
from gnnflow.files.array_file import open_array
from gnnflow.files.json_text import to_json_text
from gnnflow.files.npy_file import npy_header
from gnnflow.files.regular_file import read_regular_text
from gnnflow.files.reserved_file import reserve
from gnnflow.files.whole_file import make_folder, write_whole
from gnnflow.graph import DistGraph
from gnnflow.loader import as_tensor
from gnnflow.loader.arguments import as_array
from gnnflow.terminal import SlowWork, say
from gnnflow.training.checkpoints.checkpoint_files import (
    FACTS_FILE,
    POINTER_BYTES,
    checkpoint_folders,
    read_facts,
)
from gnnflow.training.checkpoints.compatibility import check_graph
from gnnflow.training.checkpoints.folder import BEST
from gnnflow.training.checkpoints.saving import load_model_from_checkpoint
from gnnflow.training.data_parallel.wrapped_model import unwrap
from gnnflow.training.evaluation.layerwise import LayerwiseInference
from gnnflow.training.evaluation.minibatch_inference import (
    MinibatchInference,
    evaluating,
    inference_of,
)
from gnnflow.training.machine_use import set_up_process
from gnnflow.training.model_calls import AUTO
from gnnflow.training.tasks import MultiLabelTask, SingleLabelTask, Task, task_of


class RowFile:
    """Rows of an array on disk; every byte is written by one rank, without mapping the file.

    (Ranks on several machines may share a disk, but no pages of it.)
    """

    def __init__(
        self, path: Path, dtype: DTypeLike, shape: tuple[int, ...], start: int, ctx: Context
    ) -> None:
        """Makes the file on rank 0 and opens it on all; all ranks do so together.

        Args:
            path: the file.
            dtype: type of its numbers.
            shape: shape of the whole array.
            start: the first row that this rank writes.
            ctx: the job.
        """
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.shape = shape
        header = npy_header(self.dtype, shape)
        row_bytes = self.dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        size_bytes = len(header) + row_bytes * shape[0]
        if ctx.rank == 0:
            with path.open("xb") as file:
                file.write(header)
            reserve(path, size_bytes)  # a disk that is too small is found before the work
        ctx.barrier()
        self._file = path.open("r+b")
        self._file.seek(len(header) + start * row_bytes)

    def append(self, rows: NDArray[Any]) -> None:
        """Writes the next rows of this rank."""
        assert rows.shape[1:] == self.shape[1:], (rows.shape, self.shape)
        self._file.write(np.ascontiguousarray(rows, dtype=self.dtype).data)

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self._file.close()


SUMMARY_FILE = "inference.json"
"""Written last: a folder without it is not complete."""

_FILES = ("predictions.npy", "logits.npy", "embeddings.npy")


def run_inference(config: InferConfig, ctx: Context) -> None:
    """Computes what the options say; every rank calls this, rank 0 shows the summary.

    Raises:
        GnnflowError: if checkpoint, graph and options do not fit.
    """
    device = set_up_process(config.device, ctx)
    checkpoint = find_checkpoint(config.checkpoint)
    model = load_model_from_checkpoint(checkpoint).to(device)
    graph = DistGraph.open(config.parts, ctx, verify=config.verify)
    check_graph(checkpoint, read_facts(checkpoint), graph.manifest)
    vertices = None
    if config.vertices is not None:
        vertices = read_vertices(config.vertices, graph.num_vertices)
    with SlowWork("computing the outputs", show=ctx.rank == 0):
        infer(model, graph, config.out, vertices=vertices, chunk_bytes=config.chunk_bytes)
    if ctx.rank == 0:
        say(config.out / SUMMARY_FILE)


def infer(
    model: nn.Module,
    graph: DistGraph,
    out: Path | str,
    *,
    vertices: ArrayLike | None = None,
    num_hops: int | None = None,
    edge_argument: str | None = AUTO,
    chunk_bytes: int = CHUNK_BYTES,
) -> dict[str, Any]:
    """Writes predictions, logits and embeddings of vertices; every rank calls this.

    Everything is computed over all neighbours: layer by layer, each vertex once, if the model has
    `num_layers` and `layer` (see `LayerwiseModel`), else from minibatches. `predictions.npy` are
    classes (int64), 0 and 1 for each class where a vertex has several labels (uint8), or the
    model's output (float32); `logits.npy` is the model's output; `embeddings.npy`, not there for
    models without `layer`, is what its last layer takes, all float32. Row `i` is the vertex with id
    `i` in the input, or `vertices[i]`, which `vertices.npy` then holds.

    Args:
        model: any model, wrapped or not, on its device.
        graph: the graph of this rank.
        out: folder to write, on a disk that all ranks reach; new or empty.
        vertices: ids of the input, in any order, the same on all ranks; all vertices by default.
        num_hops: hops that a model without `layer` looks at, as for `evaluate`.
        edge_argument: the model's argument for the attributes of the edges, as for `evaluate`.
        chunk_bytes: about how much memory a chunk of vertices may take.

    Returns:
        What `inference.json` in the folder says; that file is written last.

    Raises:
        ConfigError: if the folder cannot be used, `num_hops` is needed and missing, or the model
            needs what is not there.
        DataError: if vertices are not of the graph.
    """
    folder, ctx = Path(out), graph.ctx
    if vertices is not None:
        vertices = as_array("vertices", vertices)
        _check_vertices(vertices, graph.num_vertices)
    task = task_of(graph.manifest)
    inner = unwrap(model)
    inference = inference_of(
        inner, graph, num_hops=num_hops, edge_argument=edge_argument, chunk_bytes=chunk_bytes
    )
    _make_folder(folder, ctx)
    graph.to_global(np.empty(0, dtype=np.int64))  # all ranks make the first call together
    with (
        evaluating(model, ctx),
        _served(inference, _own(graph, vertices)) as (embeddings, logits),
        _removed_on_failure(folder, ctx),
    ):
        writer = _Writer(graph, folder, task, embeddings, logits)
        writer.write(vertices, chunk_bytes)
    summary = {
        "format": "gnnflow-inference",
        "version": 1,
        "gnnflow": gnnflow.__version__,
        "graph": graph.manifest.name,
        "model": type(inner).__name__,
        "num_vertices": writer.num_rows,
        "num_ranks": ctx.num_ranks,
        "rows": "ids of the input" if vertices is None else "as vertices.npy",
        "files": writer.files,
    }
    _complete(folder, ctx, vertices, summary)
    return summary


@contextmanager
def _served(
    inference: LayerwiseInference | MinibatchInference, wanted: Ids
) -> Iterator[tuple[DistFeatureStore | None, DistFeatureStore]]:
    """The embeddings, if there are any, and the outputs."""
    if isinstance(inference, LayerwiseInference):
        with inference.served_layers("logits", wanted) as both:
            yield both
    else:
        with inference.served("logits", wanted) as logits:
            yield None, logits


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that a path means: itself, or the best, or else the newest, in it.

    Raises:
        CheckpointError: if there is none.
    """
    if (path / FACTS_FILE).exists():
        return path
    folders = checkpoint_folders(path)
    try:
        named = path / read_regular_text(path / BEST, POINTER_BYTES).strip()
    except (OSError, UnicodeDecodeError):
        named = None
    if named in folders:
        return named
    if not folders:
        raise CheckpointError(
            f"{path} is no checkpoint and holds none; train with --checkpoint-dir DIR and give DIR "
            "or a folder in it"
        )
    return folders[0]


def read_vertices(file: Path, num_vertices: int) -> Ids:
    """Reads ids of the input.

    Raises:
        DataError: if the file does not hold ids of the graph.
    """
    ids = open_array(file, "vertices", ("vertices", "ids"))
    if ids.ndim == 2 and ids.shape[1] == 1:
        ids = ids[:, 0]
    _check_vertices(ids, num_vertices, file)
    return ids.astype(np.int64)


def _check_vertices(ids: NDArray[Any], num_vertices: int, file: Path | str = "vertices") -> None:
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise DataError(
            f"{file} must hold one whole number per vertex, got {ids.dtype} of shape "
            f"{list(ids.shape)}"
        )
    if ids.size and (ids.min() < 0 or ids.max() >= num_vertices):
        raise DataError(
            f"{file} must hold ids of the input in [0, {num_vertices}), "
            f"got {ids.min()} to {ids.max()}"
        )


def _own(graph: DistGraph, vertices: NDArray[np.integer] | None) -> Ids:
    """Local ids of the inner vertices that are asked for, ascending."""
    original = graph.partition.original_id
    if vertices is None:
        return np.arange(len(original), dtype=np.int64)
    asked = np.unique(vertices)
    place = np.searchsorted(original, asked)
    inside = place < len(original)
    here = place[inside][original[place[inside]] == asked[inside]]
    return np.asarray(here, dtype=np.int64)


@contextmanager
def _removed_on_failure(folder: Path, ctx: Context) -> Iterator[None]:
    """Leaves no files of rows that are not complete."""
    try:
        yield
    except BaseException:
        if ctx.rank == 0:
            for name in _FILES:
                (folder / name).unlink(missing_ok=True)
        raise


def _complete(
    folder: Path, ctx: Context, vertices: NDArray[Any] | None, summary: dict[str, Any]
) -> None:
    """Writes what the rows are of, and the summary last, once every rank has written its rows."""
    ctx.barrier()
    if ctx.rank == 0:
        if vertices is not None:
            np.save(folder / "vertices.npy", np.asarray(vertices, dtype=np.int64))
        write_whole(folder / SUMMARY_FILE, to_json_text(summary, indent=1) + "\n")
    ctx.barrier()


def _make_folder(folder: Path, ctx: Context) -> None:
    if ctx.rank == 0:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} exists and is not empty; choose another --out")
        make_folder(folder)
    ctx.barrier()


class _Writer:
    """Writes a range of rows of each file, as many on every rank."""

    def __init__(
        self,
        graph: DistGraph,
        folder: Path,
        task: Task,
        embeddings: DistFeatureStore | None,
        logits: DistFeatureStore,
    ) -> None:
        self._graph = graph
        self._folder = folder
        self._task = task
        self._embeddings = embeddings
        self._logits = logits
        spec = None if embeddings is None else graph.manifest.arrays.get(embeddings.name)
        self._dtype = None if spec is None else spec.dtype
        self.num_rows = 0
        self.files: dict[str, dict[str, Any]] = {}

    def write(self, vertices: NDArray[np.integer] | None, chunk_bytes: int) -> None:
        graph, ctx = self._graph, self._graph.ctx
        num_rows = graph.num_vertices if vertices is None else len(vertices)
        self.num_rows = num_rows
        first = num_rows * ctx.rank // ctx.num_ranks
        last = num_rows * (ctx.rank + 1) // ctx.num_ranks
        stores = [store for store in (self._logits, self._embeddings) if store is not None]
        width = sum(int(np.prod(store.row_shape)) for store in stores)
        step = max(1, chunk_bytes // (3 * 4 * max(width, 1)))
        one = self._predict(torch.zeros((1, *self._logits.row_shape))).numpy()
        shapes = [("predictions", one.dtype, one.shape[1:])]
        shapes += [
            (name, np.dtype(np.float32), store.row_shape)
            for name, store in zip(("logits", "embeddings"), stores, strict=False)
        ]
        with ExitStack() as stack:
            files = [
                self._open(stack, name, dtype, (num_rows, *shape), first)
                for name, dtype, shape in shapes
            ]
            for start in range(first, last, step):
                stop = min(start + step, last)
                ids = np.arange(start, stop) if vertices is None else vertices[start:stop]
                global_ids = graph.to_global(ids.astype(np.int64))
                logits = torch.from_numpy(self._logits.fetch(global_ids))
                rows = [self._predict(logits), logits]
                if self._embeddings is not None:
                    fetched = as_tensor(self._embeddings.fetch(global_ids), self._dtype)
                    rows.append(fetched.float())
                for file, tensor in zip(files, rows, strict=True):
                    file.append(tensor.numpy())

    def _open(
        self, stack: ExitStack, name: str, dtype: Any, shape: tuple[int, ...], start: int
    ) -> RowFile:
        file = RowFile(self._folder / f"{name}.npy", dtype, shape, start, self._graph.ctx)
        self.files[f"{name}.npy"] = {"dtype": file.dtype.str, "shape": list(shape)}
        return stack.enter_context(file)

    def _predict(self, logits: Tensor) -> Tensor:
        if logits.shape[-1] != self._task.num_outputs:
            return logits  # labels look like classes, and the model learnt them as numbers
        if isinstance(self._task, SingleLabelTask):
            return logits.argmax(dim=-1)
        return (logits > 0).to(torch.uint8) if isinstance(self._task, MultiLabelTask) else logits
