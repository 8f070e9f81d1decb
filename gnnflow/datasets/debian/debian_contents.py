"""The graph `debian-contents`: which package holds which files, millions of vertices, all real.

Vertices are packages, folders and file names of Debian, in this order; a package is joined with
each folder and each file name that it has, in both directions. Built once from the index of
contents that this machine's package sources name, and kept in the user's cache folder.
"""

import os
import re
import zlib
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.debian.apt_indexes import fetched_indexes, read_index
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.row_source import ArrayRows
from gnnflow.errors import DataError
from gnnflow.files.npy_file import read_archive
from gnnflow.files.whole_file import replaced_file

NUM_BUCKETS = 32
"""Width of the features: words of a vertex' name, hashed into signed buckets."""

SPLIT_PERCENT = {"train": 10, "val": 10, "test": 80}
"""Share of all vertices in each split."""

FILE = "debian-contents-1.npz"
_KIND = "Contents-deb"
_TARGET = f"--option=Acquire::IndexTargets::deb::{_KIND}::"
_APT_OPTIONS = (
    _TARGET + "MetaKey=$(COMPONENT)/Contents-$(ARCHITECTURE)",
    _TARGET + "ShortDescription=Contents-$(ARCHITECTURE)",
    _TARGET + "Description=$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Contents",
    _TARGET + "flatMetaKey=Contents-$(ARCHITECTURE)",
    _TARGET + "flatDescription=$(RELEASE) Contents",
)


def cache_folder() -> Path:
    """Returns the folder of the user where built graphs are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "gnnflow"


def load_debian_contents(folder: Path | None = None) -> RawGraph:
    """Loads the graph, building it the first time: a minute or two and 2 GB of memory.

    Args:
        folder: Where the built graph is kept, by default the user's cache folder.

    Raises:
        DataError: It is not built yet, and the index cannot be fetched.
    """
    path = (cache_folder() if folder is None else folder) / FILE
    if not path.exists():
        remedy = f"debian-contents is built from it once, into {path}; use debian-packages instead"
        with fetched_indexes(_KIND, remedy=remedy, options=_APT_OPTIONS) as files:
            arrays = build_arrays(read_index(file) for file in sorted(files))
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(path, shared=True) as partial, open(partial, "wb") as out:
            np.savez(out, allow_pickle=False, **arrays)
    try:
        arrays = read_archive(path)
        pairs = arrays["pairs"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it to build it anew") from None
    num_vertices = len(arrays["y"])
    percent = np.random.default_rng(0).integers(0, 100, num_vertices)
    limits = np.cumsum([0, *SPLIT_PERCENT.values()])
    return RawGraph(
        name="debian-contents",
        source="the contents index of Debian: packages, folders and file names",
        num_vertices=num_vertices,
        edges=np.concatenate([pairs, pairs[::-1]], axis=1),
        arrays={"x": ArrayRows(arrays["x"]), "y": ArrayRows(arrays["y"])},
        splits={
            name: np.flatnonzero((percent >= low) & (percent < high))
            for name, low, high in zip(SPLIT_PERCENT, limits[:-1], limits[1:], strict=True)
        },
        num_classes=int(arrays["y"].max()) + 1,
    )


def build_arrays(indexes: Iterable[bytes]) -> dict[str, NDArray[Any]]:
    """Turns indexes of contents into arrays.

    Args:
        indexes: Lines of a path, spaces, and the packages that have it, `section/package`, with
            commas between them.

    Returns:
        `pairs` int32 `[2, num_pairs]`, package and what it has, once each; `x` float16
        `[num_vertices, NUM_BUCKETS]`; `y` int64 `[num_vertices]`: the section, for folders and file
        names that of the first package that has them.

    Raises:
        DataError: The indexes hold no packages.
    """
    packages: dict[bytes, int] = {}
    folders: dict[bytes, int] = {}
    names: dict[bytes, int] = {}
    held: array[int] = array("q")  # package, folder, name of each file
    for index in indexes:
        for line in index.splitlines():
            path, _, owners = line.rpartition(b" ")
            folder, _, name = path.rstrip().rpartition(b"/")
            if not path or not name:
                continue
            of_file = folders.setdefault(folder, len(folders)), names.setdefault(name, len(names))
            for owner in owners.split(b","):
                held.append(packages.setdefault(owner, len(packages)))
                held.extend(of_file)
    if not packages:
        raise DataError("the indexes of contents hold no packages; are they of Debian?")
    files = np.frombuffer(held, dtype=np.int64).reshape(-1, 3)
    first_folder, first_name = len(packages), len(packages) + len(folders)
    num_vertices = first_name + len(names)
    keys = np.concatenate(
        [
            _distinct(files[:, 0] * num_vertices + files[:, 1] + first_folder),
            _distinct(files[:, 0] * num_vertices + files[:, 2] + first_name),
        ]
    )
    pairs = np.stack([keys // num_vertices, keys % num_vertices]).astype(np.int32)
    sections = [owner.rpartition(b"/")[0].rpartition(b"/")[2] for owner in packages]
    numbers = {section: number for number, section in enumerate(sorted(set(sections)))}
    labels = np.empty(num_vertices, dtype=np.int64)
    labels[:first_folder] = [numbers[section] for section in sections]
    # From the last pair to the first, so that the first package has the last word.
    labels[pairs[1, ::-1]] = labels[pairs[0, ::-1]]
    own_names = [owner.rpartition(b"/")[2] for owner in packages]
    features = np.zeros((num_vertices, NUM_BUCKETS), dtype=np.float16)
    _hash_words([*own_names, *folders, *names], features)
    return {"pairs": pairs, "x": features, "y": labels}


def _distinct(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    keys.sort()
    is_first = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
    return keys[is_first]


def _hash_words(texts: Iterable[bytes], features: NDArray[np.float16]) -> None:
    """Counts the words of each text in buckets, each with a sign of its own."""
    find = re.compile(rb"[A-Za-z]{2,}").findall
    hashes: dict[bytes, int] = {}
    rows: array[int] = array("i")
    values: array[int] = array("q")
    for row, text in enumerate(texts):
        for word in find(text):
            value = hashes.get(word)
            if value is None:
                value = hashes[word] = zlib.crc32(word)
            rows.append(row)
            values.append(value)
    of_row = np.frombuffer(rows, dtype=np.int32)
    of_word = np.frombuffer(values, dtype=np.int64)
    signs = np.where(of_word >> 31, -1.0, 1.0).astype(np.float16)
    np.add.at(features, (of_row, (of_word & 0x7FFFFFFF) % NUM_BUCKETS), signs)
