"""One rank of `benchmarks.feature_store`, started by it with mpiexec.

    python -m benchmarks._feature_store_side FOLDER ROUNDS FETCHED_BYTES THREADS

FOLDER holds `part0.npy` and `part1.npy`, float32 tables of the same size. Rank 0 prints a line of
JSON: rates in GB/s by row size and side.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

import gnnflow
from benchmarks._harness import take_turns, time_of
from gnnflow import _kernels
from gnnflow.comm import Context
from gnnflow.comm.collectives import Steps
from gnnflow.comm.mpi_library import MPI, library_name
from gnnflow.features import DistFeatureStore
from gnnflow.features.row_exchange import RowAnswers
from gnnflow.features.row_transports import MessageRows, WindowRows
from gnnflow.features.wire import Wire, rows_per_part
from gnnflow.files.json_text import to_json_text

ROW_BYTES = (128, 512, 1024, 4096)
INT32 = np.dtype(np.int32)


class Sides:
    """What is measured for one row size, as seen from one of two ranks."""

    def __init__(
        self, ctx: Context, tables: list[npt.NDArray[np.float32]], row_bytes: int, num_bytes: int
    ) -> None:
        """Cuts the tables into rows and draws the rows that this rank fetches from the other."""
        service = ctx.service
        assert service is not None and ctx.num_ranks == 2
        self.ctx, self.service = ctx, service
        self.row_bytes, self.num_bytes = row_bytes, num_bytes
        self.peer = 1 - ctx.rank
        self.tables = [table.reshape(-1, row_bytes // 4) for table in tables]
        self.own = self.tables[ctx.rank]
        num_rows, num_fetched = len(self.own), num_bytes // row_bytes
        self.offsets = np.array([0, num_rows, 2 * num_rows])
        self.rows = np.random.default_rng(ctx.rank).integers(0, num_rows, num_fetched)
        self.ids = self.rows + self.peer * num_rows
        self.out = np.zeros((num_fetched, row_bytes // 4), dtype=np.float32)
        self.part = np.zeros((rows_per_part(row_bytes), row_bytes // 4), dtype=np.float32)
        self.send = np.zeros(num_bytes, dtype=np.uint8)
        self.received = np.zeros(num_bytes, dtype=np.uint8)

    def stores(self) -> dict[str, DistFeatureStore]:
        """Opens a store for each transport and wire type."""
        stored = Wire(0)
        name = f"rows{self.row_bytes}"
        answers = RowAnswers(lambda: self.own, self.service.pool, self.ctx.threads)
        self.service.serve_parts(name, answers)
        ways = {
            "alltoall": MessageRows(self.service, name, stored, INT32),
            "bfloat16": MessageRows(self.service, name, Wire(1), INT32),
            "int8": MessageRows(self.service, name, Wire(2), INT32),
            "rma": WindowRows(self.service, name, self.own, stored),
        }
        rank = self.ctx.rank
        mapped = [(rank, self.own), (self.peer, self.tables[self.peer])]
        sources = {way: [(rank, self.own)] for way in ways} | {"shared": mapped}
        return {
            way: DistFeatureStore(
                name,
                offsets=self.offsets,
                sources=at_hand,
                num_threads=self.ctx.threads,
                remote=ways.get(way),
            )
            for way, at_hand in sources.items()
        }

    def measures(self) -> dict[str, Callable[[], float]]:
        """Returns what measures each side once: GB/s of rows delivered to one rank."""
        both, one_way = (0, 1), (0,)
        fetches = {
            way: lambda store=store: store.fetch(self.ids, self.out)
            for way, store in self.stores().items()
        }
        return {
            "alltoall": self.rate(fetches["alltoall"], both),
            "plain": self.rate(lambda: self.exchange(self.send, self.received, both), range(2)),
            "alltoall one way": self.rate(fetches["alltoall"], one_way),
            "plain one way": self.rate(
                lambda: self.exchange(self.send, self.received, one_way), range(2)
            ),
            "in phases": self.rate(self.fetch_in_phases, range(2)),
            "bfloat16": self.rate(fetches["bfloat16"], both),
            "int8": self.rate(fetches["int8"], both),
            "rma": self.rate(fetches["rma"], both),
            "gather": self.rate(self.gather_locally, both),
            "parts": self.rate(self.gather_parts, both),
            "parts one way": self.rate(self.gather_parts, one_way),
            "shared": self.rate(fetches["shared"], one_way),
            "local": self.rate(self.gather_locally, one_way),
        }

    def rate(
        self, action: Callable[[], object], acting: range | tuple[int, ...]
    ) -> Callable[[], float]:
        """Returns what measures an action of some ranks, until the last of them is done."""

        def measure() -> float:
            self.ctx.barrier()
            seconds = time_of(action) if self.ctx.rank in acting else 0.0
            slowest = float(np.max(self.ctx.allgather_array(seconds)))
            return self.num_bytes / slowest / 1e9

        return measure

    def gather_locally(self) -> None:
        """Copies as many random rows of this rank's own part, with no other rank involved."""
        _kernels.gather(self.out, self.own, self.rows, self.ctx.threads)

    def gather_parts(self) -> None:
        """Gathers as an owner does: part by part, into memory that stays in the cache."""
        step = rows_per_part(self.row_bytes)
        for start in range(0, len(self.rows), step):
            rows = self.rows[start : start + step]
            _kernels.gather(self.part[: len(rows)], self.own, rows, self.ctx.threads)

    def exchange(
        self,
        send: npt.NDArray[np.uint8],
        received: npt.NDArray[np.uint8],
        receivers: range | tuple[int, ...],
    ) -> None:
        """A plain all-to-all-v between the two ranks."""

        def counts(taker: int, num_bytes: int) -> list[int]:
            in_use = num_bytes if taker in receivers else 0
            return [in_use if rank == self.peer else 0 for rank in range(2)]

        def steps(comm: MPI.Intracomm) -> Steps:
            outgoing = [send, counts(self.peer, send.size), [0, 0], MPI.BYTE]
            incoming = [received, counts(self.ctx.rank, received.size), [0, 0], MPI.BYTE]
            yield comm.Ialltoallv(outgoing, incoming)

        self.service.collective("a plain all-to-all-v", steps).result()

    def fetch_in_phases(self) -> None:
        """What a store without a pipeline does: exchange ids, gather, exchange rows, place."""
        wanted = np.empty(len(self.rows), dtype=np.int64)
        self.exchange(self.rows.view(np.uint8), wanted.view(np.uint8), range(2))
        rows = self.send.view(np.float32).reshape(self.out.shape)
        _kernels.gather(rows, self.own, wanted, self.ctx.threads)
        self.exchange(self.send, self.out.reshape(-1).view(np.uint8), range(2))


def main(folder: Path, rounds: int, num_bytes: int, threads: int) -> None:
    tables = [
        np.load(folder / f"part{part}.npy", mmap_mode="r", allow_pickle=False) for part in range(2)
    ]
    with gnnflow.init(transport="alltoall", threads=threads) as ctx:
        rates = {}
        for row_bytes in ROW_BYTES:
            sides = Sides(ctx, tables, row_bytes, num_bytes)
            rates[row_bytes] = take_turns(sides.measures(), rounds=rounds, limit_s=float("inf"))
        library = library_name()
        if ctx.rank == 0:
            print(to_json_text({"rates": rates, "mpi": library}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
