"""Opening the files of a partition folder, with checks that find what does not belong."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.errors import PartitionFormatError, one_line
from gnnflow.files.npy_file import map_npy
from gnnflow.files.regular_file import UnfitFileError, lies_inside, open_regular, read_regular_text
from gnnflow.partition.manifest import MANIFEST_FILE, FileSpec, Manifest, part_folder

FINGERPRINT_BYTES = 4096
FINGERPRINT_DIGITS = 16
_HASH_CHUNK_BYTES = 1 << 22


def read_manifest(root: Path | str) -> Manifest:
    """Reads the manifest of a partition folder.

    Args:
        root: The folder that `gnnflow-partition` wrote.

    Returns:
        The manifest, checked for consistency.

    Raises:
        PartitionFormatError: If the folder is missing, is not a complete partition, is damaged
            or is of a newer version.
    """
    path = Path(root) / MANIFEST_FILE
    if not Path(root).is_dir():
        raise PartitionFormatError(
            f"{root} is not a folder; give the folder that gnnflow-partition wrote"
        )
    try:
        text = read_regular_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise PartitionFormatError(
            f"{root} is not a complete partition: it has no readable {MANIFEST_FILE}"
            f"{_reason(error)}; run gnnflow-partition again"
        ) from error
    return Manifest.from_json(text, path)


def fingerprint(path: Path) -> str:
    """Returns the hash of a file's first and last 4096 bytes, 16 hex digits."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        digest.update(file.read(FINGERPRINT_BYTES))
        size_bytes = file.seek(0, 2)
        file.seek(max(0, size_bytes - FINGERPRINT_BYTES))
        digest.update(file.read(FINGERPRINT_BYTES))
    return digest.hexdigest()[:FINGERPRINT_DIGITS]


def file_sha256(path: Path) -> str:
    """Returns the sha256 of a whole file in hex."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


class PartReader:
    """Opens the files of one part, each checked against the manifest."""

    def __init__(self, root: Path | str, manifest: Manifest, part_id: int, *, verify: bool) -> None:
        """Remembers where the part is and whether to hash whole files.

        Raises:
            PartitionFormatError: If there is no such part.
        """
        if not 0 <= part_id < manifest.num_parts:
            raise PartitionFormatError(
                f"{root} has {manifest.num_parts} parts, numbered from 0; there is no part "
                f"{part_id}; start as many ranks as there are parts"
            )
        self._root = Path(root)
        self.folder = self._root / part_folder(part_id)
        self._files = manifest.parts[part_id].files
        self._verify = verify

    def has(self, name: str) -> bool:
        """Returns whether the part has an array of this name."""
        return f"{name}.npy" in self._files

    def open(self, name: str, dtype: str | None = None) -> npt.NDArray[Any]:
        """Maps an array read-only.

        Args:
            name: File name without `.npy`.
            dtype: The type that the format demands, if it demands one.

        Returns:
            The array, backed by the file.

        Raises:
            PartitionFormatError: If the file is missing, or is not the one the manifest tells of.
        """
        spec = self._files.get(f"{name}.npy")
        path = self.folder / f"{name}.npy"
        if spec is None:
            raise _unfit(path, "the manifest does not list it")
        if dtype is not None and np.dtype(spec.dtype) != np.dtype(dtype):
            raise _unfit(path, f"expected dtype {dtype}, the manifest says {spec.dtype}")
        if not lies_inside(self._root, path):
            raise _unfit(path, "it is a link that leads out of the partition folder")
        self._check_bytes(path, spec)
        try:
            mapped = map_npy(path)
        except (OSError, ValueError) as error:
            raise _unfit(path, one_line(error)) from error
        if mapped.dtype != np.dtype(spec.dtype) or mapped.shape != spec.shape:
            raise _unfit(
                path,
                f"expected {spec.dtype} {list(spec.shape)}, "
                f"found {mapped.dtype.str} {list(mapped.shape)}",
            )
        if not mapped.flags.c_contiguous:
            raise _unfit(path, "it is stored column by column, and the format has rows")
        # A plain array over the mapping: slices of np.memmap are slow to make.
        return np.asarray(mapped)

    def _check_bytes(self, path: Path, spec: FileSpec) -> None:
        try:
            found_bytes = path.stat().st_size
        except OSError as error:
            raise _unfit(path, "it is missing") from error
        if found_bytes != spec.size_bytes:
            raise _unfit(path, f"expected {spec.size_bytes} bytes, found {found_bytes}")
        try:
            found = fingerprint(path)
        except OSError as error:
            raise _unfit(path, f"it cannot be read ({error.strerror})") from error
        if found != spec.fingerprint:
            raise _unfit(path, f"expected fingerprint {spec.fingerprint}, found {found}")
        if self._verify:
            found = file_sha256(path)
            if found != spec.sha256:
                raise _unfit(path, f"expected sha256 {spec.sha256}, found {found}")


def _reason(error: Exception) -> str:
    return f" ({error})" if isinstance(error, UnfitFileError) else ""


def _unfit(path: Path, what: str) -> PartitionFormatError:
    return PartitionFormatError(
        f"{path}: {what}; the file is damaged or of another partition: copy the folder again or "
        "run gnnflow-partition again"
    )
