"""Graphs from outside: tables, numpy files, folders of DGL's and PyG's partitions."""

import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from choices import Choices, changed_bytes, changed_json, changed_npy, npy_bytes
from pyarrow import parquet
from target import Target

from gnnflow.config import PartitionConfig
from gnnflow.datasets import RawGraph, from_distdgl, from_files, from_pyg_partition
from gnnflow.partition import partition_graph

PEERS = Path(__file__).parents[1] / "datasets" / "peer_folders.tar.xz"
ROLES = ("edges", "features", "labels", "split", "edge_features")


def use(graph: RawGraph, out: Path) -> None:
    """Does with a graph what `gnnflow-partition` does."""
    graph.validate()
    try:
        partition_graph(graph, out, PartitionConfig(num_parts=2, method="random"))
    finally:
        shutil.rmtree(out, ignore_errors=True)


class _FilesTarget(Target):
    """One file of a graph in files is damaged, the others are as they should be."""

    ending = ""
    modules = ("gnnflow.datasets.readers.user_files", "gnnflow.files.array_file",
               "gnnflow.files.table_file", "gnnflow.datasets.split_file",
               "gnnflow.datasets.raw_graph_checks")  # fmt: skip

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        draw = np.random.default_rng(1)
        mask = draw.integers(0, 3, 12)
        self._arrays: dict[str, Any] = {
            "edges": {"source": draw.integers(0, 12, 30), "target": draw.integers(0, 12, 30)},
            "features": {f"f{i}": draw.random(12).round(2) for i in range(3)},
            "labels": {"y": draw.integers(0, 3, 12)},
            "split": {"split": np.array(["train", "val", "test"])[mask]},
            "edge_features": {"w": draw.random(30).round(2)},
        }
        self.valid = {role: self.content(role) for role in ROLES}

    def content(self, role: str) -> bytes:
        raise NotImplementedError

    def changed(self, choices: Choices, role: str) -> bytes:
        raise NotImplementedError

    def run(self, data: bytes) -> None:
        choices = Choices(data)
        damaged = choices.pick(ROLES)
        given = {"edges", damaged} | {role for role in ROLES[1:] if choices.flag()}
        files = {}
        for role in sorted(given):
            files[role] = self.folder / f"{role}{self.ending}"
            content = self.changed(choices, role) if role == damaged else self.valid[role]
            # A new file: the old one may still be mapped.
            files[role].unlink(missing_ok=True)
            files[role].write_bytes(content)
        edges = files.pop("edges")
        use(from_files(edges, **files), self.folder / "out")


class CsvTarget(_FilesTarget):
    """Edges, features, labels, splits in `.csv`."""

    name = "csv"
    ending = ".csv"
    words = ("split", "train", "val", "true", "nan", "inf", "1e30", "-1", '"', "\\x09", ";", "#",
             "0x1", "9223372036854775808", "1_000", "\\xef\\xbb\\xbf")  # fmt: skip

    def content(self, role: str) -> bytes:
        table = self._arrays[role]
        rows = np.stack([values.astype(str) for values in table.values()], axis=1)
        lines = [",".join(row) for row in (list(table), *rows)]
        return "\n".join(lines).encode() + b"\n"

    def seeds(self) -> list[bytes]:
        whole = [bytes([role, 1, 0, 1, 0, 0]) + self.valid[ROLES[role]] for role in range(5)]
        return [*whole, *super().seeds()]

    def changed(self, choices: Choices, role: str) -> bytes:
        how = choices.below(3)
        if how == 0:
            return choices.rest()
        if how == 1:
            return changed_bytes(choices, self.valid[role])
        cells = [line.split(b",") for line in self.valid[role].splitlines()]
        for _ in range(1 + choices.below(4)):
            row = choices.pick(cells)
            odd = (b"", b"-1", b"12", b"nan", b"inf", b"1e400", b"99999999999999999999", b"x",
                   b'"a,b"', b"true", b"1.5", b"\xff", b"train", b"0x1", b"1_0", b"9e15", b"\0",
                   b"1099511627776", b"#")  # fmt: skip
            row[choices.below(len(row))] = choices.pick(odd)
            if choices.below(4) == 3:
                row.append(b"7")
        mark = choices.pick((b",", b";", b"\t", b" ", b", "))
        lines = [mark.join(row) for row in cells]
        end = choices.pick((b"\n", b"\r\n", b"\r", b"\n\n"))
        return end.join(lines if choices.flag() else lines[1:])


PARQUET_COLUMNS: tuple[Callable[[int], Any], ...] = (
    lambda n: pa.array(range(n)),
    lambda n: pa.array([None] * n),
    lambda n: pa.array([None] * n, pa.int64()),
    lambda n: pa.array([1.5, None] * n, pa.float64())[:n],
    lambda n: pa.array([2**63] * n, pa.uint64()),
    lambda n: pa.array([-1] * n, pa.int8()),
    lambda n: pa.array([2**40] * n, pa.int64()),
    lambda n: pa.array([float("inf")] * n, pa.float32()),
    lambda n: pa.array([1.0] * n, pa.float16()),
    lambda n: pa.array([True, None] * n, pa.bool_())[:n],
    lambda n: pa.array(["train", None] * n)[:n],
    lambda n: pa.array(["train", "val"] * n)[:n].dictionary_encode(),
    lambda n: pa.array([None] * n, pa.dictionary(pa.int32(), pa.string())),
    lambda n: pa.array([5, 7] * n).dictionary_encode()[:n],
    lambda n: pa.array([b"\xff"] * n, pa.binary()),
    lambda n: pa.array([[1.0, 2.0]] * n),
    lambda n: pa.array([[1.0], None] * n)[:n],
    lambda n: pa.array([[1, None]] * n),
    lambda n: pa.array([[]] * n, pa.list_(pa.float32())),
    lambda n: pa.array([["a"]] * n),
    lambda n: pa.array([[[1]]] * n),
    lambda n: pa.array([[1, 2]] * n, pa.list_(pa.int32(), 2)),
    lambda n: pa.array([[1, 2], None] * n, pa.list_(pa.int32(), 2))[:n],
    lambda n: pa.array([[1, 2]] * n, pa.large_list(pa.int32())),
    lambda n: pa.array([{"a": 1}] * n),
    lambda n: pa.array([[("a", 1)]] * n, pa.map_(pa.string(), pa.int32())),
    lambda n: pa.array([10**9] * n, pa.timestamp("s", tz="UTC")),
    lambda n: pa.array([5] * n, pa.date32()),
    lambda n: pa.array([5] * n, pa.time64("us")),
    lambda n: pa.array([5] * n, pa.duration("s")),
    lambda n: pa.array([5] * n, pa.decimal128(20, 2)),
    lambda n: pa.array(["1"] * n, pa.large_string()),
    lambda n: pa.array(["1"] * n, pa.string_view()),
)
"""Columns of many types, by number of rows."""


class ParquetTarget(_FilesTarget):
    """The same in `.parquet`, with columns of every type and with changed bytes."""

    name = "parquet"
    ending = ".parquet"

    def content(self, role: str) -> bytes:
        stream = io.BytesIO()
        parquet.write_table(pa.table(self._arrays[role]), stream)
        return stream.getvalue()

    def seeds(self) -> list[bytes]:
        columns = [
            bytes([role, 1, 0, 1, 0, 1 + kind % 3, kind, kind])
            for role in range(5)
            for kind in range(len(PARQUET_COLUMNS))
        ]
        return [*columns, *super().seeds()]

    def changed(self, choices: Choices, role: str) -> bytes:
        how = choices.below(4)
        if how == 0:
            return changed_bytes(choices, self.valid[role])
        num_rows = choices.pick((len(next(iter(self._arrays[role].values()))), 0, 1, 12, 30))
        columns = [choices.pick(PARQUET_COLUMNS)(num_rows) for _ in range(how)]
        names = [choices.pick(("split", "train", "val", "x", "", "a")) for _ in columns]
        stream = io.BytesIO()
        parquet.write_table(pa.Table.from_arrays(columns, names), stream)
        return stream.getvalue()


class NumpyTarget(_FilesTarget):
    """The same in `.npy` and `.npz`."""

    name = "numpy-files"
    modules = (*_FilesTarget.modules, "gnnflow.files.npy_file", "gnnflow.datasets.row_source")

    def content(self, role: str) -> bytes:
        table = self._arrays[role]
        if role == "split":
            ids = {name: np.flatnonzero(table["split"] == name) for name in ("train", "val")}
            stream = io.BytesIO()
            np.savez(stream, allow_pickle=False, **ids)
            return stream.getvalue()
        return npy_bytes(np.stack(list(table.values())).T)

    def changed(self, choices: Choices, role: str) -> bytes:
        whole = self.valid[role]
        if role != "split" and choices.flag():
            return changed_npy(choices, whole)
        members = {"train": npy_bytes(np.arange(5)), "val": npy_bytes(np.arange(5, 9))}
        if role != "split":
            members = {"edges": whole, "x": whole}
        names = list(members)
        name = choices.pick(names)
        members[name] = changed_npy(choices, members[name])
        if choices.flag():
            members[choices.pick(("test", "../up", "/abs", "", "x.npy"))] = members[name]
        stream = io.BytesIO()
        kind = choices.pick((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(stream, "w", kind) as archive:
            for name, content in members.items():
                archive.writestr(f"{name}.npy", content)
        content = stream.getvalue()
        return changed_bytes(choices, content) if choices.flag() else content

    def run(self, data: bytes) -> None:
        # The ending decides how a file is read: an archive is one under either name.
        self.ending = (".npy", ".npz")[data[-1] % 2 if data else 0]
        super().run(data)


class _PeerTarget(Target):
    """A folder that another framework wrote."""

    examples: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with tarfile.open(PEERS) as archive:
            archive.extractall(folder / "whole", filter="data")
        self.examples = tuple(
            name for name in sorted(os.listdir(folder / "whole")) if name.startswith(self.prefix)
        )
        shutil.copytree(folder / "whole", folder / "damaged")

    prefix = ""

    def seeds(self) -> list[bytes]:
        return [
            bytes([example, file, how, 5, 1, how, 0, 1])
            for example in range(len(self.examples))
            for file in range(9)
            for how in range(4)
        ]

    def run(self, data: bytes) -> None:
        choices = Choices(data)
        example = choices.pick(self.examples)
        whole = self.folder / "whole" / example
        files = sorted(path for path in whole.rglob("*") if path.is_file())
        path = choices.pick(files)
        content = path.read_bytes()
        damaged = self.folder / "damaged" / example
        place = damaged / path.relative_to(whole)
        change = changed_json if path.suffix == ".json" else changed_bytes
        wrong = change(choices, content.decode() if path.suffix == ".json" else content)
        place.unlink()
        place.write_bytes(wrong)
        try:
            use(self.read(damaged, choices), self.folder / "out")
        finally:
            place.unlink()
            place.write_bytes(content)

    def read(self, folder: Path, choices: Choices) -> RawGraph:
        raise NotImplementedError


class DglTarget(_PeerTarget):
    """A folder of `dgl.distributed.partition_graph`."""

    name = "dgl-folders"
    prefix = "dgl"
    modules = (
        "gnnflow.datasets.readers.distdgl",
        "gnnflow.datasets.readers.dgl_file",
        "gnnflow.datasets.readers.segments",
    )
    words = ('"num_parts"', '"node_map"', '"part-0"', '"../x"')

    def read(self, folder: Path, choices: Choices) -> RawGraph:
        config = next(folder.glob("*.json"))
        return from_distdgl(config, workdir=self.folder / "work" if choices.flag() else None)


class PygTarget(_PeerTarget):
    """A folder of `torch_geometric.distributed.Partitioner`."""

    name = "pyg-folders"
    prefix = "pyg"
    modules = ("gnnflow.datasets.readers.pyg_partition", "gnnflow.datasets.readers.segments")

    def read(self, folder: Path, choices: Choices) -> RawGraph:
        return from_pyg_partition(folder)


TARGETS: tuple[type[Target], ...] = (CsvTarget, ParquetTarget, NumpyTarget, DglTarget, PygTarget)
