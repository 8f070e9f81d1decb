"""Indexes of Debian packages, fetched with this machine's own apt, from its own sources."""

import bz2
import gzip
import lzma
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gnnflow.errors import DataError

APT_HELPER = "/usr/lib/apt/apt-helper"
OPENERS = {".gz": gzip.decompress, ".xz": lzma.decompress, ".bz2": bz2.decompress}


@contextmanager
def fetched_indexes(
    kind: str, *, remedy: str, options: Sequence[str] = ()
) -> Iterator[Sequence[Path]]:
    """Fetches the Debian indexes of a kind into a temporary folder; nothing is installed.

    Args:
        kind: What apt calls the kind of index, as `Packages`.
        remedy: What to do where that fails, for the error.
        options: Further options of apt, `--option=...`.

    Yields:
        Their files, at least one.

    Raises:
        DataError: There is no apt here, or its sources name no such index that can be fetched.
    """
    with tempfile.TemporaryDirectory(prefix="gnnflow-apt-") as folder:
        (Path(folder) / "lists" / "partial").mkdir(parents=True)
        private = [
            f"--option=Dir::State={folder}",
            f"--option=Dir::State::lists={folder}/lists",
            f"--option=Dir::Cache={folder}/cache",
            "--option=Acquire::Languages=none",
            "--option=APT::Sandbox::User=root",  # the folder is closed to apt's own user
            *options,
        ]
        form = "--format=$(ORIGIN)|$(LABEL)|$(CREATED_BY)|$(FILENAME)"
        try:
            # The status is ignored: a source that fails matters only if it was the one needed.
            subprocess.run(["apt-get", "update", "-q", *private], check=False)
            targets = subprocess.run(
                ["apt-get", "indextargets", *private, form], check=True, capture_output=True
            ).stdout.decode()
        except (OSError, subprocess.CalledProcessError) as error:
            raise DataError(f"cannot fetch the index with apt-get ({error}); {remedy}") from error
        rows = [line.split("|") for line in targets.splitlines()]
        wanted = ["Debian", "Debian", kind]
        files = [Path(row[3]) for row in rows if row[:3] == wanted and Path(row[3]).exists()]
        if not files:
            raise DataError(
                "this machine's package sources name no Debian index that could be fetched "
                f"(is there a network?); {remedy}"
            )
        yield files


def read_index(file: Path) -> bytes:
    """Reads an index, compressed or not.

    Raises:
        DataError: The file is missing, or of a compression that nothing here reads.
    """
    if not file.is_file():
        raise DataError(f"no package index at {file}; pass an existing --packages-file")
    if file.suffix in OPENERS:
        return OPENERS[file.suffix](file.read_bytes())
    if file.suffix in (".lz4", ".zst"):
        try:
            command = [APT_HELPER, "cat-file", str(file)]
            return subprocess.run(command, check=True, capture_output=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            raise DataError(
                f"cannot decompress {file} with {APT_HELPER} ({error}); "
                "decompress it first and pass the plain file"
            ) from error
    return file.read_bytes()
