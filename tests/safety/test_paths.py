"""Descriptions of folders name files; none may lead out of the folder."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import torch as safetensors

from gnnflow.config import PartitionConfig
from gnnflow.datasets import ArrayRows, RawGraph, from_distdgl
from gnnflow.errors import CheckpointError, DataError, PartitionFormatError
from gnnflow.files.regular_file import lies_inside
from gnnflow.partition import open_partition, partition_graph, read_manifest
from gnnflow.training.checkpoints.checkpoint_files import (
    CheckpointFacts,
    Position,
    read_files,
    write_files,
)

PEERS = Path(__file__).parents[1] / "datasets" / "peer_folders.tar.xz"
LEADING_OUT = ("../up.npy", "/etc/x.npy", "part-00001/x.npy", "..", "a\0b.npy", "x.npy/../../y.npy")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    graph = RawGraph(
        name="small",
        source="made",
        num_vertices=6,
        edges=np.array([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]]),
        arrays={"x": ArrayRows(np.zeros((6, 2), np.float32))},
        splits={},
        num_classes=0,
    )
    partition_graph(graph, tmp_path / "parts", PartitionConfig(num_parts=2, method="random"))
    return tmp_path / "parts"


def change(parts: Path, make: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((parts / "manifest.json").read_text())
    make(manifest)
    (parts / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", LEADING_OUT)
def test_manifests_name_files_of_their_parts_alone(parts: Path, name: str) -> None:
    def add(manifest: dict[str, Any]) -> None:
        files = manifest["parts"][0]["files"]
        files[name] = files["x.npy"]

    change(parts, add)
    with pytest.raises(PartitionFormatError, match="is not a file name of the format"):
        read_manifest(parts)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "indptr", "a/b", "a.b", ""])
@pytest.mark.parametrize("field", ["arrays", "splits"])
def test_arrays_and_splits_have_plain_names(parts: Path, name: str, field: str) -> None:
    def rename(manifest: dict[str, Any]) -> None:
        if field == "splits":
            manifest["splits"] = [name]
        else:
            manifest["arrays"][name] = manifest["arrays"]["x"]

    change(parts, rename)
    with pytest.raises(PartitionFormatError, match="cannot name an array or split"):
        read_manifest(parts)


@pytest.mark.parametrize("linked", ["part-00000/x.npy", "part-00000"])
def test_links_do_not_lead_out_of_a_partition(parts: Path, tmp_path: Path, linked: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.move(parts / linked, elsewhere)
    (parts / linked).symlink_to(elsewhere)
    with pytest.raises(PartitionFormatError, match="a link that leads out of the partition folder"):
        open_partition(parts, 0)


def test_the_folder_itself_may_be_a_link_and_links_may_stay_inside(
    parts: Path, tmp_path: Path
) -> None:
    shutil.move(parts / "part-00000" / "x.npy", parts / "x.npy")
    (parts / "part-00000" / "x.npy").symlink_to(parts / "x.npy")
    (tmp_path / "link").symlink_to(parts)
    assert open_partition(tmp_path / "link", 0).num_vertices == 3


@pytest.mark.parametrize("named", ["../graph.dgl", "/etc/passwd", "part0/../../graph.dgl", "a\0b"])
def test_dgl_folders_name_their_own_files(tmp_path: Path, named: str) -> None:
    with tarfile.open(PEERS) as archive:
        archive.extractall(tmp_path, filter="data")
    config = tmp_path / "dgl-coo" / "graph.json"
    values = json.loads(config.read_text())
    values["part-0"]["node_feats"] = named
    config.write_text(json.dumps(values))
    with pytest.raises(DataError, match="as 'node_feats' of part 0, out of its folder"):
        from_distdgl(config)


def test_links_do_not_lead_out_of_a_checkpoint(tmp_path: Path) -> None:
    facts = CheckpointFacts(
        gnnflow="0", position=Position(), score=None, num_ranks=1, graph={}, partition="",
        seeds="", model={}, options={},
    )  # fmt: skip
    names = [f"{name}.{end}" for name in ("state", "rank-00000") for end in ("json", "safetensors")]
    folder = tmp_path / "epoch-0000-step-000000"
    nothing = safetensors.save({})
    write_files(folder, facts, dict.fromkeys(["model.safetensors", *names], nothing))
    assert read_files(folder)[0] == facts
    shutil.move(folder / "state.json", tmp_path / "elsewhere")
    (folder / "state.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"state\.json is a link that leads out of it"):
        read_files(folder)


def test_a_circle_of_links_is_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert not lies_inside(tmp_path, tmp_path / "a")
    assert lies_inside(tmp_path, tmp_path / "no such file")
