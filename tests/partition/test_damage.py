"""Files that were truncated, changed, swapped or taken from elsewhere."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from raw_graphs import make_graph, partitioned

from gnnflow.errors import PartitionFormatError
from gnnflow.partition import open_partition, read_manifest
from gnnflow.partition.reader import FINGERPRINT_BYTES, file_sha256, fingerprint


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("parts") / "out"
    graph = make_graph(3000, 9000, num_features=8)
    partitioned(graph, out, num_parts=3, method="random", halo_hops=1)
    return out


@pytest.fixture
def parts(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def all_files(whole: Path) -> list[str]:
    return sorted(read_manifest(whole).parts[1].files)


def test_every_file_is_listed_and_every_listed_file_is_there(whole: Path) -> None:
    found = sorted(path.name for path in (whole / "part-00001").glob("[!.]*"))
    assert found == all_files(whole)
    assert sorted(path.name for path in whole.iterdir()) == [
        "manifest.json", "part-00000", "part-00001", "part-00002"
    ]  # fmt: skip


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"12345678")


def change_start(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[130] ^= 1
    path.write_bytes(data)


def remove(path: Path) -> None:
    path.unlink()


def make_other_type(path: Path) -> None:
    array = np.load(path)
    np.save(path, array.view(np.uint8))


@pytest.mark.parametrize("damage", [truncate, lengthen, change_start, remove, make_other_type])
def test_damage_to_any_file_is_found_on_opening(
    parts: Path, damage: Callable[[Path], None]
) -> None:
    for name in all_files(parts):
        path = parts / "part-00001" / name
        before = path.read_bytes()
        damage(path)
        with pytest.raises(PartitionFormatError) as caught:
            open_partition(parts, 1)
        message = str(caught.value)
        assert str(path) in message
        assert "expected" in message or "missing" in message
        assert "run gnnflow-partition again" in message
        open_partition(parts, 0)
        path.write_bytes(before)
    open_partition(parts, 1, verify=True)


def test_change_in_the_middle_needs_verify(parts: Path) -> None:
    path = parts / "part-00001" / "x.npy"
    data = bytearray(path.read_bytes())
    assert len(data) > 2 * FINGERPRINT_BYTES + 8
    data[FINGERPRINT_BYTES + 4] ^= 1
    path.write_bytes(data)
    open_partition(parts, 1)
    with pytest.raises(PartitionFormatError, match=r"x\.npy: expected sha256 .*, found"):
        open_partition(parts, 1, verify=True)


def test_files_of_another_part_are_found(parts: Path) -> None:
    # 3000 vertices in 3 parts: the files of the parts have the same sizes.
    for name in ("x.npy", "original_id.npy", "y.npy"):
        path = parts / "part-00001" / name
        before = path.read_bytes()
        shutil.copy(parts / "part-00002" / name, path)
        assert path.stat().st_size == len(before)
        with pytest.raises(PartitionFormatError, match="expected fingerprint"):
            open_partition(parts, 1)
        path.write_bytes(before)


def test_a_manifest_of_another_partition_is_found(parts: Path, tmp_path: Path) -> None:
    graph = make_graph(3000, 9000, seed=1, num_features=8)
    partitioned(graph, tmp_path / "other", num_parts=3, method="random", halo_hops=1)
    shutil.copy(tmp_path / "other" / "manifest.json", parts / "manifest.json")
    with pytest.raises(PartitionFormatError, match="of another partition"):
        open_partition(parts, 1)


def test_python_objects_are_never_loaded(parts: Path) -> None:
    path = parts / "part-00001" / "x.npy"
    np.save(path, np.array([{}, []], dtype=object), allow_pickle=True)
    with pytest.raises(PartitionFormatError):
        open_partition(parts, 1)


def forge(parts: Path, name: str, change: Callable[[np.ndarray], None]) -> None:
    """Changes a file and makes the manifest agree, as a bug in a writer would."""
    path = parts / "part-00001" / f"{name}.npy"
    array = np.load(path)
    change(array)
    np.save(path, array)
    manifest = json.loads((parts / "manifest.json").read_text())
    file = manifest["parts"][1]["files"][f"{name}.npy"]
    file |= {"fingerprint": fingerprint(path), "sha256": file_sha256(path)}
    (parts / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("name", "position", "value", "message"),
    [
        ("indptr", 0, 1, r"must run from 0 to \d+, runs from 1"),
        ("indptr", -1, 1, r"must run from 0 to \d+, runs from 0 to 1"),
        ("halo_topology_indptr", -1, 1, "must run from 0"),
        ("original_id", -1, 3000, r"its ids must be in \[0, 3000\)"),
        ("halo", 0, -1, r"its ids must be in \[0, 3000\)"),
        ("train", -1, 1000, r"its ids must be in \[0, 1000\)"),
    ],
)
def test_ends_are_looked_at(
    parts: Path, name: str, position: int, value: int, message: str
) -> None:
    forge(parts, name, lambda array: array.__setitem__(position, value))
    with pytest.raises(PartitionFormatError, match=message):
        open_partition(parts, 1)


@pytest.mark.parametrize("name", ["edge_id", "edge_attr", "halo_topology_vertices"])
def test_arrays_without_rows_are_refused(parts: Path, name: str) -> None:
    path = parts / "part-00001" / f"{name}.npy"
    manifest = json.loads((parts / "manifest.json").read_text())
    file = manifest["parts"][1]["files"][f"{name}.npy"]
    np.save(path, np.zeros((), file["dtype"]))
    file |= {"shape": [], "size_bytes": path.stat().st_size}
    file |= {"fingerprint": fingerprint(path), "sha256": file_sha256(path)}
    (parts / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PartitionFormatError, match=r"rows, found shape \[\]|size does not match"):
        open_partition(parts, 1)


def test_arrays_by_columns_are_refused(parts: Path) -> None:
    path = parts / "part-00001" / "x.npy"
    np.save(path, np.asfortranarray(np.load(path)))
    forge(parts, "x", lambda array: None)
    with pytest.raises(PartitionFormatError, match="stored column by column"):
        open_partition(parts, 1)
