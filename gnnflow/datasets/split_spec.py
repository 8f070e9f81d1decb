"""Splits that are made rather than read: by chance, by chance within each class, by a column."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.counter_hash import random_bits, stream_key, uniform
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.raw_graph_checks import chunks, missing_labels
from gnnflow.datasets.row_source import ArrayRows, RowSource
from gnnflow.datasets.split_file import SPLIT_ORDER, splits_of_column
from gnnflow.errors import DataError

Splits = dict[str, NDArray[np.int64]]


_KINDS = ("random", "stratified", "column")
_PURPOSE = "split of vertices"


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSpec:
    """How vertices are to be split."""

    kind: Literal["random", "stratified", "column"]
    """By a hash, by a hash within each class, or as a column says."""

    shares: tuple[float, ...] = ()
    """Shares of `train`, `val` and `test`; what is left of 1 is in no split."""

    column: str = ""
    """Name of the column or array."""


def parse_split(text: str | Path) -> SplitSpec | None:
    """Parses `random:0.6,0.2,0.2`, `stratified:0.6,0.2,0.2` or `column:NAME`; None for a file.

    Raises:
        DataError: The shares are not three numbers from 0 that make at most 1 together, or the
            name is missing.
    """
    kind, colon, rest = str(text).partition(":")
    if Path(text).is_file() or (not colon and kind not in _KINDS):
        return None
    if kind not in _KINDS or not rest:
        raise DataError(
            f"split '{text}' is neither a file nor random:0.6,0.2,0.2, stratified:0.6,0.2,0.2 or "
            "column:NAME"
        )
    if kind == "column":
        return SplitSpec(kind="column", column=rest)
    try:
        shares = tuple(float(share) for share in rest.split(","))
    except ValueError:
        shares = ()
    fits = len(shares) == 3 and all(0 <= share <= 1 for share in shares)
    if not fits or shares[0] == 0 or sum(shares) > 1 + 1e-9:
        raise DataError(
            f"split '{text}' must give the shares of train, val and test, as {kind}:0.6,0.2,0.2: "
            "three numbers from 0 that make at most 1 together, the first of them above 0"
        )
    return SplitSpec(kind="random" if kind == "random" else "stratified", shares=shares)


def with_split(graph: RawGraph, split: str, seed: int = 0) -> RawGraph:
    """Returns a graph with other splits; vertices without a label are in none.

    `random:0.6,0.2,0.2` decides for each vertex by a hash of the seed and its id, so that shares
    hold on average; a vertex stays where it is when others come or go. `stratified:0.6,0.2,0.2`
    orders the vertices of each class by such a hash and takes these shares of each, and at least
    one vertex for `train`. `column:NAME` takes the array `NAME` of the graph: 0, 1 and 2 are
    `train`, `val` and `test`, others in no split; the array leaves the graph.

    Args:
        graph: The graph; splits that it has are replaced.
        split: How, as above.
        seed: Seed of the hash.

    Raises:
        DataError: `split` is none of these, the graph has no such array or no classes, or no
            vertex would be left to train on.
    """
    spec = parse_split(split)
    if spec is None:
        raise DataError(
            f"split '{split}' must be random:0.6,0.2,0.2, stratified:0.6,0.2,0.2 or column:NAME"
        )
    arrays = dict(graph.arrays)
    if spec.kind == "column":
        if spec.column not in arrays or spec.column in ("x", "y"):
            known = ", ".join(name for name in arrays if name not in ("x", "y")) or "none"
            raise DataError(f"no column or array '{spec.column}' to split by; there are: {known}")
        column = _all_rows(arrays.pop(spec.column))
        splits = splits_of_column(column, spec.column, graph.name)
    else:
        splits = make_splits(spec, graph.num_vertices, graph.arrays, graph.num_classes, seed)
    return replace(graph, arrays=arrays, splits=splits)


def make_splits(
    spec: SplitSpec,
    num_vertices: int,
    arrays: Mapping[str, RowSource],
    num_classes: int,
    seed: int,
) -> Splits:
    """Makes splits by chance.

    Args:
        spec: `random` or `stratified`.
        num_vertices: Vertices are numbered from 0 to `num_vertices - 1`.
        arrays: Those of the graph; of them `y` counts.
        num_classes: Number of classes of `y`.
        seed: Seed of the hash.

    Raises:
        DataError: As `with_split`.
    """
    labels = None if "y" not in arrays else _all_rows(arrays["y"])
    if spec.kind == "stratified":
        if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu" or not num_classes:
            raise DataError(
                "a stratified split needs labels with one class for each vertex, which this graph "
                "has not; take random:" + ",".join(f"{share:g}" for share in spec.shares)
            )
        codes = _stratified(labels, spec.shares, stream_key(seed, _PURPOSE))
    else:
        codes = _random(num_vertices, spec.shares, stream_key(seed, _PURPOSE))
        if labels is not None:
            codes[missing_labels(labels, num_classes)] = len(SPLIT_ORDER)
    splits = {name: np.flatnonzero(codes == code) for code, name in enumerate(SPLIT_ORDER)}
    if not len(splits["train"]):
        num_labelled = (codes < len(SPLIT_ORDER)).sum() if labels is not None else num_vertices
        raise DataError(
            f"the split leaves no vertex to train on, of {num_vertices} with {num_labelled} in any "
            "split; give train a larger share, or more vertices labels"
        )
    return {name: ids for name, ids in splits.items() if len(ids)}


def _random(num_vertices: int, shares: tuple[float, ...], key: int) -> NDArray[np.int8]:
    bounds = np.cumsum(shares)
    codes = np.empty(num_vertices, dtype=np.int8)
    for start, stop in chunks(num_vertices, 32):
        draws = uniform(key, np.arange(start, stop))
        codes[start:stop] = np.searchsorted(bounds, draws, side="right")
    # The sum of shares that make 1 may be a little less.
    if bounds[-1] > 1 - 1e-9:
        codes[codes == len(shares)] = int(np.flatnonzero(shares)[-1])
    return codes


def _stratified(labels: NDArray[Any], shares: tuple[float, ...], key: int) -> NDArray[np.int8]:
    ids = np.flatnonzero(labels >= 0)
    classes = labels[ids]
    order = np.lexsort((random_bits(key, ids), classes))
    sizes = np.bincount(classes)
    rank = np.arange(len(ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    bounds = np.floor(np.cumsum(shares)[:, None] * sizes + 0.5).astype(np.int64)
    counts = np.diff(np.minimum(bounds, sizes), axis=0, prepend=0)
    # Every class has something to learn from: it is taken where there is most above the share.
    poor = np.flatnonzero((counts[0] == 0) & (sizes > 0))
    excess = np.where(counts > 0, counts - np.array(shares)[:, None] * sizes, -np.inf)[:, poor]
    counts[excess.argmax(axis=0), poor] -= 1
    counts[0, poor] += 1
    bounds = np.cumsum(counts, axis=0)
    codes = np.full(len(labels), len(shares), dtype=np.int8)
    codes[ids[order]] = sum(rank >= np.repeat(bound, sizes) for bound in bounds)
    return codes


def _all_rows(source: RowSource) -> NDArray[Any]:
    if isinstance(source, ArrayRows):
        return source.array
    return source.rows(np.arange(source.shape[0], dtype=np.int64))
