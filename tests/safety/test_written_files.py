"""Files that gnnflow writes: whole or not at all, named where they cannot be, and strict JSON."""

import ast
import errno
import json
import math
import os
import stat
from pathlib import Path

import pytest
from test_no_code_from_data import ROOT, dotted, sources

from gnnflow.errors import DataError, ResourceError, resource_error
from gnnflow.files.json_text import to_json_text
from gnnflow.files.whole_file import LineFile, make_folder, whole_file, write_whole

BETWEEN_PROCESSES = {
    f"{folder}/{name}.py"
    for folder, names in {
        "gnnflow/comm": ("collectives", "failure", "overdue", "start"),
        "gnnflow/policies/llm": ("answers", "chat/endpoint"),
        "gnnflow/policies/llm/host_server": ("model_server", "server_client"),
        "gnnflow/files": ("json_text",),
        "partition": ("solver_process", "metis_process", "mtkahypar_process"),
        "benchmarks/peers": ("environments", "minibatch_sides", "process"),
    }.items()
    for name in names
}
"""Files whose JSON goes from one process of gnnflow to another, or holds no measured numbers."""


def test_json_is_written_strictly() -> None:
    lenient = set()
    for path in sources():
        name = str(path.relative_to(ROOT))
        if name.startswith("tests/") or name in BETWEEN_PROCESSES:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and dotted(node.func) in ("json.dumps", "json.dump"):
                strict = any(
                    each.arg == "allow_nan" and ast.unparse(each.value) == "False"
                    for each in node.keywords
                )
                if not strict:
                    lenient.add(f"{name}:{node.lineno}")
    assert lenient == set(), "use gnnflow.files.json_text.to_json_text, which writes null for NaN"


def test_numbers_that_are_none_become_null() -> None:
    values = {"a": math.nan, "b": [1.5, (math.inf, -math.inf)], "c": {"d": "NaN"}}
    read = {"a": None, "b": [1.5, [None, None]], "c": {"d": "NaN"}}
    assert json.loads(to_json_text(values)) == read


def long_name(folder: Path) -> Path:
    return folder / ("n" * 300)


def below_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "page"


def in_no_folder(folder: Path) -> Path:
    return folder / "missing" / "page"


def a_folder(folder: Path) -> Path:
    (folder / "taken").mkdir()
    return folder / "taken"


PLACES = [
    (long_name, "File name too long"),
    (below_a_file, "Not a directory"),
    (in_no_folder, "No such file or directory"),
    (a_folder, "Is a directory"),
    (lambda folder: Path("/proc/page"), "No such file or directory"),
    (lambda folder: Path("/dev/full"), "No space left on device"),
    (lambda folder: folder / "nul\0", "embedded null byte"),
]


@pytest.mark.parametrize(("place", "reason"), PLACES)
def test_a_place_that_is_unfit(place, reason: str, tmp_path: Path) -> None:
    path = place(tmp_path)
    with pytest.raises(ResourceError, match=f"cannot write the page .*: {reason}; ") as told:
        write_whole(path, "text", "the page")
    assert "choose another" in str(told.value)
    assert not list(tmp_path.rglob("*.part"))


def test_devices_pipes_and_links_stay_what_they_are(tmp_path: Path) -> None:
    write_whole(Path("/dev/null"), "text")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "after"


def test_what_was_there_stays_if_something_goes_wrong(tmp_path: Path) -> None:
    path = tmp_path / "page"
    path.write_text("before")
    with pytest.raises(DataError, match="of the caller"), whole_file(path) as partial:
        partial.write_text("half")
        raise DataError("of the caller")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_lines_that_find_no_room(caplog: pytest.LogCaptureFixture) -> None:
    lines = LineFile(Path("/dev/full"))
    lines.write("one\n")
    lines.write("two\n")
    lines.close()
    assert "cannot write /dev/full: No space left on device" in str(lines.problem)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_lines_are_added_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    for text in ("one\n", "é\nthree\n"):
        lines = LineFile(path)
        lines.write(text)
        lines.close()
        assert lines.problem is None
    assert path.read_text("utf-8") == "one\né\nthree\n"
    with pytest.raises(ResourceError, match="Not a directory"):
        LineFile(path / "below")
    with pytest.raises(ResourceError, match="File exists"):
        make_folder(path)


@pytest.mark.parametrize(
    "number", [errno.EROFS, errno.EACCES, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EIO]
)
def test_errors_of_the_system_that_name_a_place_are_no_bugs(number: int) -> None:
    named = resource_error(OSError(number, os.strerror(number), "some/place"))
    assert str(named) == f"cannot use some/place: {os.strerror(number)}; choose another place"
    assert resource_error(OSError(number, os.strerror(number))) is None
