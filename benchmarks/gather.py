"""Gathered bytes per second: rows of one array, and of three in one pass, against torch.

    python -m benchmarks.gather [--quick] [--json FILE] [--threads 2]

One source: `torch.index_select(..., out=)` into the same buffer. Three sources (inner, cached and
received rows, as a minibatch has them): an index_select for each, `cat`, and an index_select that
puts the rows in the order of the vertices.

The machine's limit for random rows is taken as the slower of two things that a gather does at the
same time: reading the same rows at random (summing them, so that nothing is written) and writing as
many bytes in order (copies of one row, so that nothing is read).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._harness import Options, Report, Row, run_benchmark, take_turns, time_of
from gnnflow import _kernels

ROW_BYTES = (128, 512, 1024, 4096)
SOURCE_BYTES = 1 << 30
GATHERED_BYTES = 96 << 20
# Of a minibatch: rows of this rank, rows in the halo cache, rows that just arrived.
SHARES = (0.5, 0.3, 0.2)
CACHE_BYTES = 128 << 20


@dataclass(frozen=True, slots=True)
class RowsToGather:
    """Rows to gather."""

    source: NDArray[np.float32]
    rows: NDArray[np.int64]
    out: NDArray[np.float32]


def make_minibatch(row_bytes: int, seed: int = 0) -> RowsToGather:
    """Makes a source far larger than the caches, and distinct rows of it."""
    rng = np.random.default_rng(seed)
    width = row_bytes // 4
    num_rows, num_gathered = SOURCE_BYTES // row_bytes, GATHERED_BYTES // row_bytes
    source = np.empty((num_rows, width), dtype=np.float32)
    source[:] = np.arange(num_rows, dtype=np.float32)[:, None]
    rows = rng.permutation(num_rows)[:num_gathered]
    return RowsToGather(source, rows, np.zeros((num_gathered, width), dtype=np.float32))


def rate(num_bytes: int, action: Callable[[], object]) -> Callable[[], float]:
    """Returns what measures an action once, in GB/s."""
    return lambda: num_bytes / time_of(action) / 1e9


def random_row_limits(batch: RowsToGather, threads: int) -> dict[str, Callable[[], float]]:
    """Returns what measures the reading and the writing of random rows, each in GB/s."""
    num_sums = max(1, len(batch.rows) // 64)
    indptr = np.linspace(0, len(batch.rows), num_sums + 1).astype(np.int64)
    sums = np.empty((num_sums, batch.source.shape[1]), dtype=np.float32)
    one_row = np.zeros_like(batch.rows)

    def read() -> None:
        _kernels.spmm(sums, indptr, batch.rows, batch.source, False, threads)

    def write() -> None:
        _kernels.gather(batch.out, batch.source[:1], one_row, threads)

    num_bytes = batch.out.nbytes
    return {"reading": rate(num_bytes, read), "writing": rate(num_bytes, write)}


def one_source(batch: RowsToGather, options: Options, report: Report) -> None:
    """Adds the row for rows of one array."""
    source, rows = torch.from_numpy(batch.source), torch.from_numpy(batch.rows)
    theirs = torch.zeros(batch.out.shape)

    def ours() -> None:
        _kernels.gather(batch.out, batch.source, batch.rows, options.threads)

    def select() -> None:
        torch.index_select(source, 0, rows, out=theirs)

    num_bytes = batch.out.nbytes
    against = "torch.index_select(out=)"
    rates = take_turns(
        {
            "gnnflow": rate(num_bytes, ours),
            against: rate(num_bytes, select),
            **random_row_limits(batch, options.threads),
        },
        rounds=5 if options.quick else 25,
        limit_s=3 if options.quick else 20,
    )
    limit = min(rates["reading"], rates["writing"])
    ours()
    assert np.array_equal(batch.out, theirs.numpy())
    report.add(
        Row(
            name=f"gather/{batch.source.shape[1] * 4} bytes",
            ours=rates["gnnflow"],
            theirs=rates[against],
            unit="GB/s",
            against=against,
            facts={
                "limit_gb_per_s": limit,
                "our_share_of_limit": rates["gnnflow"] / limit,
                "their_share_of_limit": rates[against] / limit,
            },
        )
    )


def three_sources(batch: RowsToGather, options: Options, report: Report) -> None:
    """Adds the row for inner, cached and received rows in one pass."""
    rng = np.random.default_rng(1)
    num_rows, width = batch.out.shape
    source_of = rng.choice(np.arange(3, dtype=np.uint8), num_rows, p=SHARES)
    received = batch.source[: np.count_nonzero(source_of == 2)] + 0.5
    cached = batch.source[-(CACHE_BYTES // (4 * width)) :] + 0.25
    row_of = batch.rows.copy()
    # What the other way is given: rows of each source, and where each row of the result is.
    places = [np.nonzero(source_of == number)[0] for number in range(3)]
    row_of[places[1]] = rng.integers(0, len(cached), len(places[1]))
    row_of[places[2]] = np.arange(len(places[2]))
    order = torch.from_numpy(np.concatenate(places).argsort())
    sources = [torch.from_numpy(array) for array in (batch.source, cached, received)]
    rows = [torch.from_numpy(row_of[place]) for place in places]
    theirs = torch.zeros(batch.out.shape)

    def ours() -> None:
        _kernels.gather_rows(
            batch.out, [batch.source, cached, received], source_of, row_of, options.threads
        )

    def select_and_cat() -> None:
        found = [source.index_select(0, row) for source, row in zip(sources, rows, strict=True)]
        torch.index_select(torch.cat(found), 0, order, out=theirs)

    num_bytes = batch.out.nbytes
    against = "index_select each, cat, reorder"
    rates = take_turns(
        {"gnnflow": rate(num_bytes, ours), against: rate(num_bytes, select_and_cat)},
        rounds=5 if options.quick else 25,
        limit_s=3 if options.quick else 20,
    )
    ours()
    assert np.array_equal(batch.out, theirs.numpy())
    report.add(
        Row(
            name=f"gather three sources/{4 * width} bytes",
            ours=rates["gnnflow"],
            theirs=rates[against],
            unit="GB/s",
            against=against,
        )
    )


def compare(options: Options, report: Report) -> None:
    """Adds the rows of all sizes of rows."""
    torch.set_num_threads(options.threads)
    for row_bytes in (512,) if options.quick else ROW_BYTES:
        batch = make_minibatch(row_bytes)
        one_source(batch, options, report)
        three_sources(batch, options, report)


if __name__ == "__main__":
    run_benchmark("benchmarks.gather", __doc__, "Gathering 96 MB of random rows of 1 GB", compare)
