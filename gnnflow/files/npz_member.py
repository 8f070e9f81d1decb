"""Arrays of .npz archives that are unpacked once and stay on disk."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gnnflow.files.npy_file import map_member, map_npy


def map_or_unpack_member(file: Path, name: str) -> NDArray[Any]:
    """Maps an array of an archive; a compressed one is first unpacked beside the archive, once.

    Raises:
        ValueError: The archive has no array of this name, is damaged, or holds Python objects.
    """
    mapped = map_member(file, name)
    if mapped is not None:
        return mapped
    unpacked = file.with_name(f"{file.stem}.{name}.npy")
    if not unpacked.exists():
        partial = unpacked.with_suffix(".partial")
        with zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as source:
            with partial.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 24)
        partial.replace(unpacked)
    return map_npy(unpacked)
