"""One checkpoint on disk: safetensors, JSON, and the facts that say that it is whole.

    epoch-0003-step-000120/
      checkpoint.json       written last: position, graph, model, sha256 of the other files
      model.safetensors     parameters and buffers by name
      state.json            optimizer, schedule and whatever else training keeps, without tensors
      state.safetensors     the tensors of it
      rank-00000.json       what is different on each rank: torch's generator, cache, policy
      rank-00000.safetensors

It appears under its name when it is complete. Reading checks every hash.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gnnflow.errors import CheckpointError, cannot_write, one_line
from gnnflow.files.json_record import Count, read_record
from gnnflow.files.json_text import parse_json, to_json_text
from gnnflow.files.regular_file import UnfitFileError, lies_inside, open_regular, read_regular
from gnnflow.files.safetensors_header import TensorHeader, read_safetensors_header
from gnnflow.files.whole_file import replaced_file, replaced_folder, write_synced

FORMAT_NAME = "gnnflow-checkpoint"
FORMAT_VERSION = 1
FACTS_FILE = "checkpoint.json"
MODEL_FILE = "model.safetensors"
STATE_NAME = "state"

_FOLDER_NAME = re.compile(r"epoch-(\d{4,})-step-(\d{6,})")
_FILE_NAME = re.compile(r"[a-z0-9-]{1,40}\.(json|safetensors)")
_ENDINGS = ("json", "safetensors")
Tensors = Mapping[str, TensorHeader]
"""Tensors of a file by name, as its head describes them."""

POINTER_BYTES = 4096
"""More than a file takes that names a checkpoint."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Position:
    """Where training stands: what is done."""

    epoch: Count = 0
    """Epochs that are complete."""
    step: Count = 0
    """Steps done of the next one."""
    num_updates: Count = 0
    """Steps of the optimizer so far."""

    def first_step(self, epoch: int) -> int:
        """The step that an epoch starts with when training goes on from here."""
        return self.step if epoch == self.epoch else 0

    @property
    def folder_name(self) -> str:
        """Name of the checkpoint's folder."""
        return f"epoch-{self.epoch:04d}-step-{self.step:06d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointFacts:
    """What `checkpoint.json` says about a checkpoint, besides its files."""

    gnnflow: str
    """Version of gnnflow that wrote it."""
    position: Position
    """Where training stood."""
    score: float | None
    """Validation score, larger is better; None where it was not known."""
    num_ranks: Count
    """Ranks of the job."""
    graph: Mapping[str, Any]
    """What was trained on: name, sizes, shapes of features and labels."""
    partition: str
    """Sha256 of the partition's manifest."""
    seeds: str
    """Digest of the seeds of every step, over all ranks; empty without a loader."""
    model: Mapping[str, Any]
    """`class`, and `options` of `gnnflow.models.make_model`, null for a model of a program."""
    options: Mapping[str, Any]
    """Options of the run, for people; empty if a program saved it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointFile:
    """What `checkpoint.json` says about one of the other files."""

    size_bytes: Count
    """Its size."""
    sha256: str
    """Hex sha256 of all of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    files: Mapping[str, Any]


def rank_name(rank: int) -> str:
    """Name of the files of a rank, without ending."""
    return f"rank-{rank:05d}"


def write_files(folder: Path, facts: CheckpointFacts, files: Mapping[str, bytes]) -> None:
    """Writes a checkpoint, complete or not at all; one of the same name is replaced.

    Raises:
        CheckpointError: if the place cannot be written to.
    """
    about = {
        name: {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    head = {"format": FORMAT_NAME, "version": FORMAT_VERSION}
    text = to_json_text(head | asdict(facts) | {"files": about}, indent=1) + "\n"
    try:
        with replaced_folder(folder, sync=True) as staging:
            for name, content in files.items():
                write_synced(staging / name, content)
            write_synced(staging / FACTS_FILE, text.encode())
    except OSError as error:
        raise CheckpointError(str(cannot_write(folder, error, "the checkpoint"))) from None


def write_pointer(path: Path, name: str) -> None:
    """Writes a file that names a checkpoint; it appears whole or not at all.

    Raises:
        CheckpointError: if it cannot be written.
    """
    try:
        with replaced_file(path, sync=True) as partial:
            partial.write_text(f"{name}\n")
    except OSError as error:
        raise CheckpointError(str(cannot_write(path, error))) from None


def checkpoint_folders(parent: Path) -> list[Path]:
    """The checkpoints in a folder, the one that got furthest first."""
    found = []
    for path in parent.iterdir() if parent.is_dir() else ():
        match = _FOLDER_NAME.fullmatch(path.name)
        if match is not None and path.is_dir():
            found.append((int(match[1]), int(match[2]), path))
    return [path for _, _, path in sorted(found, reverse=True)]


def read_facts(folder: Path) -> CheckpointFacts:
    """Reads what a checkpoint says about itself, and checks nothing else.

    Raises:
        CheckpointError: if it is no checkpoint of a version that this release reads.
    """
    return _read_facts(folder)[0]


def read_files(
    folder: Path, check: Callable[[CheckpointFacts, Tensors], None] | None = None
) -> tuple[CheckpointFacts, dict[str, bytes]]:
    """Reads a checkpoint and checks the hashes of all its files.

    Args:
        folder: The checkpoint.
        check: Looks at what it says and at the weights that it would hold, and raises
            CheckpointError if they do not fit, before memory is asked for.

    Raises:
        CheckpointError: if it is incomplete, damaged or of another version.
    """
    facts, about = _read_facts(folder)
    ranks = [f"{rank_name(rank)}.{end}" for rank in range(facts.num_ranks) for end in _ENDINGS]
    for name in (MODEL_FILE, *(f"{STATE_NAME}.{end}" for end in _ENDINGS), *ranks):
        if name not in about:
            raise damaged(folder, f"{name} is not in it")
    headers = {name: _look_at(folder, name, entry) for name, entry in about.items()}
    if check is not None:
        check(facts, headers[MODEL_FILE])
    files = {}
    for name, entry in about.items():
        try:
            content = read_regular(folder / name, entry.size_bytes)
        except OSError as error:
            raise damaged(folder, f"{name} cannot be read ({error.strerror})") from None
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise damaged(folder, f"{name} has another sha256 than when it was written")
        files[name] = content
    return facts, files


def _look_at(folder: Path, name: str, entry: CheckpointFile) -> Tensors:
    """Compares a file's size with what is said of it; returns the tensors that it would hold."""
    if not lies_inside(folder, folder / name):
        raise damaged(folder, f"{name} is a link that leads out of it")
    try:
        with open_regular(folder / name) as stream:
            size_bytes = os.fstat(stream.fileno()).st_size
            if size_bytes != entry.size_bytes:
                raise damaged(folder, f"{name} has {size_bytes} bytes, not {entry.size_bytes}")
            if name.endswith(".json"):
                return {}
            return read_safetensors_header(stream, size_bytes)
    except OSError as error:
        raise damaged(folder, f"{name} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise damaged(folder, f"{name}: {one_line(error)}") from None


def damaged(folder: Path, what: str) -> CheckpointError:
    """The error for a checkpoint that cannot be used."""
    return CheckpointError(
        f"the checkpoint {folder} is damaged: {what}; go on from another one, as --resume PATH"
    )


def _read_facts(folder: Path) -> tuple[CheckpointFacts, Mapping[str, CheckpointFile]]:
    path = folder / FACTS_FILE
    try:
        raw = parse_json(read_regular(path))
    except UnfitFileError as error:
        raise damaged(folder, f"{FACTS_FILE} cannot be read ({error})") from None
    except OSError:
        raise CheckpointError(
            f"{folder} is no checkpoint (it has no {FACTS_FILE}); give a folder as "
            f"{Position().folder_name} in the one of --checkpoint-dir"
        ) from None
    except ValueError as error:
        raise damaged(folder, f"{FACTS_FILE} is not JSON ({error})") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT_NAME:
        raise CheckpointError(f"{path} is not a '{FORMAT_NAME}'; give a folder that gnnflow saved")
    if raw.get("version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format version is {raw.get('version')!r}, this release of gnnflow reads "
            f"version {FORMAT_VERSION}; upgrade gnnflow or train anew"
        )
    try:
        about = {}
        for name, entry in read_record(_Told, raw, ignoring=(_Told,)).files.items():
            if not _FILE_NAME.fullmatch(name):
                raise ValueError(f"'{name}' is no file of the format")
            about[name] = read_record(CheckpointFile, entry)
        facts = read_record(CheckpointFacts, raw, ignoring=(CheckpointFacts,))
        if not 1 <= facts.num_ranks <= max(len(about), 1):
            raise ValueError(f"it has {len(about)} files for {facts.num_ranks} ranks")
    except ValueError as error:
        raise damaged(folder, f"{FACTS_FILE} lacks something ({one_line(error)})") from None
    return facts, about
