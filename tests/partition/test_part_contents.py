"""What the arrays of a part hold, where sizes and hashes fit: looked at once, told in one line."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from raw_graphs import make_graph, partitioned

from gnnflow.errors import PartitionFormatError
from gnnflow.partition import open_partition, part_contents
from gnnflow.partition.checked_parts import CHECKED_FILE
from gnnflow.partition.reader import file_sha256, fingerprint

NUM_VERTICES = 3000
# Part 1 owns the ids from 1000 to 1999.


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("parts") / "out"
    graph = make_graph(NUM_VERTICES, 9000, num_features=8)
    options: dict[str, Any] = {"method": "random", "halo_hops": 1, "val_edges": 0.1}
    partitioned(graph, out, verify=False, num_parts=3, **options)
    for marker in out.glob(f"*/{CHECKED_FILE}"):
        marker.unlink()
    return out


@pytest.fixture
def parts(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def array_file(parts: Path, name: str) -> Path:
    return parts / "part-00001" / f"{name}.npy"


def forge(parts: Path, name: str, change: Callable[[np.ndarray], np.ndarray | None]) -> None:
    """Changes a file and makes the manifest agree, as a bug in a writer would."""
    path = array_file(parts, name)
    array = np.load(path)
    changed = change(array)
    array = array if changed is None else changed
    np.save(path, array)
    manifest = json.loads((parts / "manifest.json").read_text())
    file = manifest["parts"][1]["files"][f"{name}.npy"]
    file |= {"fingerprint": fingerprint(path), "sha256": file_sha256(path)}
    file |= {"size_bytes": path.stat().st_size, "dtype": array.dtype.str}
    spec = manifest["arrays"].get(name)
    if spec is not None:
        spec |= {"dtype": array.dtype.name, "npy_dtype": array.dtype.str}
    (parts / "manifest.json").write_text(json.dumps(manifest))


def seed_row(parts: Path, split: str = "train") -> int:
    return int(np.load(array_file(parts, split))[3])


@pytest.mark.parametrize(
    ("name", "row", "value", "message"),
    [
        ("indptr", 500, 0, r"row 500 holds 0 after \d+: it must not fall"),
        ("indices", 500, 3000, r"row 500 holds 3000, which is not in \[0, 3000\)"),
        ("indices", 500, -1, "row 500 holds -1, which is not in"),
        ("original_id", 500, 0, r"row 500 holds 0 after \d+: its ids must ascend"),
        ("original_id", 500, "before", r"row 500 holds (\d+) after \1: its ids must ascend"),
        ("halo", 500, 0, r"row 500 holds 0 after \d+: its ids must ascend"),
        ("halo_owner", 500, 1, r"row 500 holds 1, and part [02] owns vertex \d+"),
        ("halo_owner", 500, -7, r"row 500 holds -7, and part"),
        ("halo_degree", 500, -1, "row 500 holds -1, which is not in"),
        ("edge_id", 500, -1, "row 500 holds -1, which is not in"),
        ("val_edges", (0, 5), 3000, r"row 5 holds 3000, which is not in \[0, 3000\)"),
        ("val_edges", (1, 5), 2000, r"row 5 holds 2000, which is not in \[1000, 2000\)"),
        ("train", 1, "before", r"row 1 holds (\d+) after \1: its ids must ascend"),
        ("y", 500, 4, r"row 500 holds label 4, which is not in \[0, 4\) or -1 for none"),
        ("y", 500, -2, "row 500 holds label -2"),
        ("halo_topology_vertices", 50, 0, r"row 50 holds 0 after \d+: its ids must ascend"),
        ("halo_topology_indptr", 50, 10**6, r"row 51 holds \d+ after 1000000: it must not fall"),
        ("halo_topology_indices", 50, -3, "row 50 holds -3, which is not in"),
        ("halo_topology_original_id", 50, 3000, "row 50 holds 3000, which is not in"),
        ("halo_topology_edge_id", 50, -1, "row 50 holds -1, which is not in"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1 << 22, 4000])
def test_a_number_that_is_wrong_is_named(
    parts: Path, name: str, row: Any, value: Any, message: str, piece_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # In small pieces the row before the wrong one is that of another piece.
    monkeypatch.setattr(part_contents, "_PIECE_BYTES", piece_bytes)

    def change(array: np.ndarray) -> None:
        array[row] = array[row - 1] if value == "before" else value

    forge(parts, name, change)
    with pytest.raises(PartitionFormatError, match=message) as caught:
        open_partition(parts, 1)
    assert str(array_file(parts, name)) in str(caught.value)
    assert str(caught.value).endswith("run gnnflow-partition again")
    assert not (parts / "part-00001" / CHECKED_FILE).exists()
    open_partition(parts, 1, contents=False)
    open_partition(parts, 0)


@pytest.mark.parametrize("bytes_an_edge", [8, 0])
def test_a_neighbour_is_inner_or_in_the_halo(
    parts: Path, bytes_an_edge: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_contents, "_BYTES_AN_EDGE", bytes_an_edge)
    open_partition(parts, 1)
    stranger = int(np.setdiff1d(np.arange(2000, 3000), np.load(array_file(parts, "halo")))[0])
    forge(parts, "indices", lambda array: array.__setitem__(700, stranger))
    with pytest.raises(PartitionFormatError, match=f"row 700 holds {stranger}, which is neither"):
        open_partition(parts, 1)


def test_own_vertices_are_no_halo(parts: Path) -> None:
    def change(array: np.ndarray) -> None:
        array[np.searchsorted(array, 1000)] = 1500

    forge(parts, "halo", change)
    with pytest.raises(PartitionFormatError, match="holds 1500, which this part owns"):
        open_partition(parts, 1)


def test_a_seed_is_in_one_split(parts: Path) -> None:
    seed = seed_row(parts, "train")

    def change(array: np.ndarray) -> np.ndarray:
        return np.sort(np.append(array[1:], seed))

    forge(parts, "test", change)
    vertex = np.load(array_file(parts, "original_id"))[seed]
    message = f"names vertex {vertex} of the input, which is in the split 'train' too"
    with pytest.raises(PartitionFormatError, match=message):
        open_partition(parts, 1)


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        (np.int64, -1, "holds -1, no label, and is a seed of the split 'train'"),
        (np.int8, -1, "holds -1, no label"),
        (np.uint8, 255, "holds label 255"),
        (np.float32, np.nan, "holds nan, no label, and is a seed of the split 'train'"),
    ],
)
def test_seeds_have_labels(parts: Path, dtype: Any, value: Any, message: str) -> None:
    seed = seed_row(parts)

    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(dtype)
        array[seed] = value
        return array

    forge(parts, "y", change)
    with pytest.raises(PartitionFormatError, match=f"row {seed} {message}"):
        open_partition(parts, 1)


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_others_need_none(parts: Path, dtype: Any) -> None:
    splits = [np.load(array_file(parts, split)) for split in ("train", "val", "test")]
    free = np.setdiff1d(np.arange(1000), np.concatenate(splits))[0]

    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(dtype)
        array[free] = -1 if dtype is np.int64 else np.nan
        return array

    forge(parts, "y", change)
    open_partition(parts, 1)


@pytest.mark.parametrize("name", ["x", "edge_attr", "weight"])
def test_features_that_are_no_numbers_are_warned_of_each_time(
    parts: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    def change(array: np.ndarray) -> None:
        array.reshape(len(array), -1)[[7, 70], -1] = np.nan, np.inf

    forge(parts, name, change)
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            open_partition(parts, 1)
        (line,) = caplog.messages
        assert line.startswith(f"{array_file(parts, name)}: 2 rows hold NaN or infinity, first row")
        vertex = np.load(array_file(parts, "original_id"))[7]
        assert (f"row 7, vertex {vertex} of the input" in line) == (name != "edge_attr")


@pytest.mark.parametrize("feature_dtype", ["float16", "bfloat16", "int8"])
def test_so_are_features_in_fewer_bits(
    tmp_path: Path, feature_dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    graph = make_graph(NUM_VERTICES, 100, num_features=8)
    partitioned(graph, tmp_path / "out", num_parts=3, method="random", feature_dtype=feature_dtype)
    assert not caplog.messages

    path = array_file(tmp_path / "out", "x")
    stored = np.load(path)
    type_name = {"float16": np.float16, "bfloat16": np.uint16, "int8": np.uint8}[feature_dtype]
    stored[5] = {"float16": np.nan, "bfloat16": 0x7FC0, "int8": 0xFF}[feature_dtype]
    assert stored.dtype == type_name
    np.save(path, stored)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    file = manifest["parts"][1]["files"]["x.npy"]
    file |= {"fingerprint": fingerprint(path), "sha256": file_sha256(path)}
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    open_partition(tmp_path / "out", 1)
    assert "1 rows hold NaN or infinity, first row 5" in caplog.text


def test_of_many_features_some_are_looked_at(
    parts: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_contents, "_PIECE_BYTES", 32)  # one row
    monkeypatch.setattr(part_contents, "_MAX_FEATURE_BYTES", 320)  # ten rows
    forge(parts, "x", lambda array: array.fill(np.nan))
    open_partition(parts, 1)
    assert "10 rows of those looked at (every 100th of its pieces) hold NaN" in caplog.text
    caplog.clear()
    open_partition(parts, 1, verify=True)
    assert "1000 rows hold NaN" in caplog.text


def test_it_is_done_once(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    original = part_contents.pieces

    def pieces(array: np.ndarray) -> Any:
        looked.append("")
        return original(array)

    monkeypatch.setattr(part_contents, "pieces", pieces)

    def looks(**options: Any) -> bool:
        looked.clear()
        open_partition(parts, 1, **options)
        return bool(looked)

    assert looks()
    assert not looks()
    assert looks(verify=True)
    assert not looks()
    marker = parts / "part-00001" / CHECKED_FILE
    for damage in (b"{", b"[]", b"\xff", b"9" * 10_000, marker.read_bytes()[:-20]):
        marker.write_bytes(damage)
        assert looks()
        assert not looks()
    status = array_file(parts, "x").stat()
    os.utime(array_file(parts, "x"), ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert looks()
    text = (parts / "manifest.json").read_text()
    (parts / "manifest.json").write_text(text.replace('"source": "random', '"source": "made'))
    assert looks()


def test_a_folder_that_cannot_be_written_to_is_looked_at_each_time(
    parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gnnflow.files.whole_file.os.replace", refuse)
    for _ in range(2):
        open_partition(parts, 1)
    assert [path.name for path in (parts / "part-00001").glob(".*")] == []
