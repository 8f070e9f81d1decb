"""A folder is held by one process: told apart from one that was killed, and tidy afterwards."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gnnflow.errors import ConfigError, ResourceError
from gnnflow.files.folder_lock import LOCK_FILE, FolderLock

HOLD = """
import sys
from pathlib import Path
from gnnflow.files.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]), "--out")
print("held", flush=True)
sys.stdin.read()
"""


def test_who_holds_it_is_named_and_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError) as told:
            FolderLock(folder, "--out")
        assert str(told.value) == (
            f"{folder} is in use by another job (process {other.pid} on {socket.gethostname()}); "
            "wait for it to end, or choose another --out"
        )
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert (folder / LOCK_FILE).exists(), "nobody could tidy up"
    lock = FolderLock(folder, "--out")
    assert (folder / LOCK_FILE).read_text() == f"{os.getpid()} {socket.gethostname()}"
    lock.release()
    assert list(folder.iterdir()) == []


def test_what_was_made_for_it_goes_if_it_stays_empty(tmp_path: Path) -> None:
    FolderLock(tmp_path / "a" / "b", "--out").release()
    assert list(tmp_path.iterdir()) == []
    lock = FolderLock(tmp_path / "a" / "b", "--out")
    (tmp_path / "a" / "b" / "kept").touch()
    lock.release()
    lock.release()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["kept"]


def test_one_process_may_hold_it_twice(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path, "--out"), FolderLock(tmp_path, "--out")
    second.release()
    assert (tmp_path / LOCK_FILE).exists()
    first.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_nobody_releases_ends_with_its_owner(tmp_path: Path) -> None:
    FolderLock(tmp_path, "--out")
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_held(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("n" * 300)):
        with pytest.raises(ResourceError, match="cannot write "):
            FolderLock(folder, "--out")
