"""Remembering that the contents of a part were checked, so that it is done once."""

import contextlib
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnflow.files.json_text import parse_json, to_json_text
from gnnflow.files.regular_file import read_regular
from gnnflow.files.whole_file import replaced_file
from gnnflow.partition.part_contents import check_contents

if TYPE_CHECKING:
    from gnnflow.partition.graph_partition import GraphPartition

CHECKED_FILE = ".checked.json"
"""In the folder of a part; whoever copies or changes a file of the part makes it void."""

_VERSION = 1
_MAX_BYTES = 1 << 20
_logger = logging.getLogger(__name__)


def check_part(partition: "GraphPartition", *, thorough: bool) -> None:
    """Checks the contents of a part, unless it was done before and no file has changed since.

    Args:
        partition: The part.
        thorough: Check in any case, and look at everything.

    Raises:
        PartitionFormatError: As `check_contents`.
    """
    path = partition.folder / CHECKED_FILE
    state = _state(partition)
    notes = None if thorough else _remembered(path, state)
    if notes is None:
        notes = check_contents(partition, thorough=thorough)
        _remember(path, state | {"notes": notes})
    for note in notes:
        _logger.warning("%s", note)


def _state(partition: "GraphPartition") -> dict[str, Any]:
    """What a check depends on: the manifest, and which files there are."""
    manifest = partition.manifest
    digest = hashlib.sha256(manifest.to_json().encode("utf-8", "surrogatepass")).hexdigest()
    files = {}
    for name in sorted(manifest.parts[partition.part_id].files):
        with contextlib.suppress(OSError):
            status = (partition.folder / name).stat()
            files[name] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    return {"version": _VERSION, "manifest": digest, "files": files}


def _remembered(path: Path, state: dict[str, Any]) -> list[str] | None:
    """The notes of the check before; None if there was none."""
    try:
        found = parse_json(read_regular(path, _MAX_BYTES))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or {**found, "notes": []} != {**state, "notes": []}:
        return None
    notes = found.get("notes")
    fits = isinstance(notes, list) and all(isinstance(note, str) for note in notes)
    return notes if fits else None


def _remember(path: Path, state: dict[str, Any]) -> None:
    # A folder that is only read is checked again by the next job.
    with contextlib.suppress(OSError), replaced_file(path, shared=True) as partial:
        partial.write_text(to_json_text(state) + "\n", encoding="utf-8")
