"""Nothing but regular files is read: a named pipe would wait for ever, a device never end."""

import ast
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gnnflow
from gnnflow.cli import options
from gnnflow.config import PartitionConfig, TrainConfig
from gnnflow.datasets import ArrayRows, RawGraph, from_distdgl
from gnnflow.errors import GnnflowError
from gnnflow.files.npy_file import map_npy, read_archive
from gnnflow.files.regular_file import (
    UnfitFileError,
    open_regular,
    read_regular,
    read_regular_text,
)
from gnnflow.partition import open_partition, partition_graph, read_manifest
from gnnflow.policies.classifier.classifier_folder import load_classifier
from gnnflow.policies.labelled_situations import read_situations
from gnnflow.replay.optimum import Optimum
from gnnflow.replay.trace import read_trace
from gnnflow.report.decisions import read_decisions
from gnnflow.report.run_record import read_run
from gnnflow.report.summary_file import read_summary
from gnnflow.training import load_model_from_checkpoint
from gnnflow.training.checkpoints.checkpoint_files import read_facts

sys.path.append(str(Path(__file__).parents[1] / "report"))
from made_run import make_parts, make_run  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def waits_end() -> Iterator[None]:
    """A reader that waits ends with an error, not with the patience of whoever runs the tests."""
    signal.alarm(120)
    yield
    signal.alarm(0)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = RawGraph(
        name="small",
        source="made",
        num_vertices=6,
        edges=np.array([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]]),
        arrays={"x": ArrayRows(np.zeros((6, 2), np.float32))},
        splits={},
        num_classes=0,
    )
    out = tmp_path_factory.mktemp("parts") / "parts"
    partition_graph(graph, out, PartitionConfig(num_parts=1))
    return out


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
        for path, kind in (
            (tmp_path / "pipe", "a named pipe"),
            (tmp_path / "socket", "a socket"),
            (Path("/dev/zero"), "a device"),
            (tmp_path, "a folder"),
        ):
            with pytest.raises(UnfitFileError, match=f"^it is {kind}, not a file$"):
                open_regular(path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with pytest.raises(UnfitFileError):
        read_regular(tmp_path / "link")


def test_what_takes_the_place_of_a_file_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("text")
    status = os.stat(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("gnnflow.files.regular_file.os.stat", lambda path: status)
    with pytest.raises(UnfitFileError, match="a named pipe"):
        open_regular(tmp_path / "pipe")


def test_files_and_their_sizes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a\r\nb\n")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "link", 5) == b"a\r\nb\n"
    assert read_regular_text(tmp_path / "file") == "a\nb\n"
    with pytest.raises(OSError, match="it has 5 B, and may have 4 B"):
        read_regular(tmp_path / "file", 4)
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="it has 1.1 TB, and may have 1.1 GB"):
        read_regular(tmp_path / "holes")


def pipe_instead(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def parse_config(path: Path) -> None:
    options.parse(TrainConfig, prog="p", args=["parts", "--config", str(path)])


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "checkpoint facts": ("checkpoint.json", lambda path: read_facts(path.parent)),
    "options": ("run.yaml", parse_config),
    "summary": ("summary.json", lambda path: read_summary(path.parent)),
    "decisions": ("decisions-rank0.jsonl", lambda path: read_decisions(path.parent)),
    "optimum": ("optimum.json", lambda path: Optimum.read(path.parent)),
    "trace": ("trace-rank00000.npz", read_trace),
    "situations": ("situations.jsonl", read_situations),
    "classifier": ("classifier.json", lambda path: load_classifier(str(path.parent))),
    "DistDGL": ("graph.json", from_distdgl),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    file, read = READERS[name]
    path = pipe_instead(tmp_path / "folder" / file)
    with pytest.raises(GnnflowError, match="named pipe") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [map_npy, read_archive])
def test_arrays_are_files(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(UnfitFileError, match="named pipe"):
        read(pipe_instead(tmp_path / "array.npy"))


@pytest.mark.parametrize("name", ["manifest.json", "part-00000/x.npy"])
def test_so_are_those_of_a_partition(parts: Path, tmp_path: Path, name: str) -> None:
    copied = Path(shutil.copytree(parts, tmp_path / "parts"))
    open_partition(copied, 0)
    size_bytes = (copied / name).stat().st_size
    pipe_instead(copied / name)
    message = "named pipe" if name == "manifest.json" else f"expected {size_bytes} bytes, found 0"
    with pytest.raises(GnnflowError, match=message):
        open_partition(copied, 0)
    if name == "manifest.json":
        with pytest.raises(GnnflowError, match="named pipe"):
            read_manifest(copied)


def test_a_mark_that_is_a_pipe_is_written_anew(parts: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(parts, tmp_path / "parts"))
    mark = pipe_instead(copied / "part-00000" / ".checked.json")
    open_partition(copied, 0)
    assert mark.is_file()


@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl"])
def test_so_are_those_of_a_run(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "run", make_parts(tmp_path / "parts"))
    pipe_instead(run / name)
    with pytest.raises(GnnflowError, match="named pipe"):
        read_run(run)


def test_so_are_those_of_a_checkpoint(parts: Path, tmp_path: Path) -> None:
    from gnnflow.models import make_model
    from gnnflow.training import TrainingState, save_checkpoint
    from gnnflow.training.checkpoints.checkpoint_files import Position

    with gnnflow.init(threads=1) as ctx:
        graph = gnnflow.DistGraph.open(parts, ctx)
        state = TrainingState(graph=graph, model=make_model("sage", (2, 3)))
        save_checkpoint(tmp_path / "saved", state, Position())
    load_model_from_checkpoint(tmp_path / "saved")
    for name in ("model.safetensors", "state.json", "rank-00000.safetensors"):
        copied = Path(shutil.copytree(tmp_path / "saved", tmp_path / name))
        pipe_instead(copied / name)
        with pytest.raises(GnnflowError, match=f"{name} cannot be read .*named pipe"):
            load_model_from_checkpoint(copied)


READS = {"read_text", "read_bytes", "open", "memmap", "ZipFile", "load", "load_file", "safe_open"}
FINE = {
    # Checked to be files first, or made by the process itself and its children.
    "gnnflow/datasets/debian/apt_indexes.py", "gnnflow/files/array_file.py",
    "gnnflow/files/array_sink.py", "gnnflow/files/npy_file.py",
    "gnnflow/files/reserved_file.py", "gnnflow/files/table_file.py",
    "gnnflow/policies/classifier/classifiers.py",
    "gnnflow/policies/llm/host_server/server_client.py", "gnnflow/files/shared_array.py",
    "partition/adjacency.py", "partition/held_out_edges.py", "partition/metis_process.py",
    "partition/solver_process.py", "gnnflow/training/evaluation/inference.py",
    # What the system or the package itself holds.
    "gnnflow/launch/job_end.py", "partition/mtkahypar_process.py",
    "gnnflow/comm/mpi_library.py", "gnnflow/launch/rank_deaths.py",
    "gnnflow/datasets/readers/ogb.py",
    "gnnflow/datasets/debian/debian_packages.py", "gnnflow/report/page.py",
    "gnnflow/process_memory.py",
    "gnnflow/files/regular_file.py",
    # Opened after it was compared with what a rank of the same job made.
    "gnnflow/launch/rank_board.py", "gnnflow/files/whole_file.py",
    # Opened for their locks and names, never read.
    "gnnflow/files/folder_lock.py", "gnnflow/policies/llm/host_server/socket_folder.py",
}  # fmt: skip
"""Modules with readers of their own, and why they may have them."""
OF_THE_PACKAGE = {
    ("gnnflow/policies/llm/prompt.py", "file.read_text"),
    ("gnnflow/policies/labelled_situations.py", "file.read_text"),
    # What it has just downloaded.
    ("gnnflow/policies/llm/model/model_files.py", "zipfile.ZipFile"),
    ("gnnflow/policies/llm/model/model_files.py", "gguf.open"),
}


def reads(path: Path) -> Iterator[str]:
    """Calls that read a file by its name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name):
            last, owner = node.func.id, ""
        elif isinstance(node.func, ast.Attribute):
            last, owner = node.func.attr, ast.unparse(node.func.value)
        else:
            continue
        words = [each.value for each in node.args if isinstance(each, ast.Constant)]
        given = [each.value for each in node.keywords]
        words += [each.value for each in given if isinstance(each, ast.Constant)]
        writes = any(isinstance(word, str) and word[:1] in "wxa" and word for word in words)
        if last not in READS or (last == "open" and (writes or not _is_open(owner, words))):
            continue
        if last == "load" and owner not in ("np", "numpy"):
            continue
        if "os.devnull" in map(ast.unparse, node.args):
            continue
        if last in ("memmap", "ZipFile") and ast.unparse(node.args[0]) in ("stream", "fid"):
            continue
        yield f"{owner}.{last}" if owner else last


def _is_open(owner: str, words: list[object]) -> bool:
    """Whether `open` is that of Python or of a path, not that of a class of gnnflow."""
    return owner in ("", "os") or "rb" in words or "r+b" in words or owner in ("path", "file")


def test_modules_read_files_through_one_door() -> None:
    found = {
        (str(path.relative_to(ROOT)), call)
        for folder in ("gnnflow", "partition")
        for path in (ROOT / folder).rglob("*.py")
        if not path.is_relative_to(ROOT / "gnnflow" / "partition")
        for call in reads(path)
    }
    others = sorted(each for each in found if each[0] not in FINE and each not in OF_THE_PACKAGE)
    assert others == []
    assert OF_THE_PACKAGE <= found
    assert {name for name in FINE if not (ROOT / name).is_file()} == set()


@pytest.mark.parametrize(
    "text",
    ["path.read_text()", "open(path)", "file.open('rb')", "np.memmap(path)", "np.load(path)",
     "zipfile.ZipFile(path)", "safetensors.load_file(path)", "os.open(path, 0)"],
)  # fmt: skip
def test_each_of_these_would_be_found(text: str, tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text(text)
    assert len(list(reads(tmp_path / "file.py"))) == 1
