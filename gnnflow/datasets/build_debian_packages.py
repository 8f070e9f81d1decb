"""Builds the embedded graph `debian-packages` from a Debian package index.

    python -m gnnflow.datasets.build_debian_packages --out debian-packages.npz

fetches the index that this machine's own package sources name (into a temporary folder, nothing
is installed); `--packages-file FILE` takes an index that is already there. The same index gives
the same bytes.
"""

import argparse
import hashlib
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.debian.apt_indexes import fetched_indexes, read_index
from gnnflow.datasets.debian.debian_packages import NUM_BUCKETS
from gnnflow.errors import DataError

RELATIONS = ("Depends", "Pre-Depends", "Recommends", "Suggests")
"""Fields of a package whose names become edges."""

MAX_PROVIDERS = 8
"""A name that more packages than this provide says too little about any of them for an edge."""

NUM_HASHES = 2
"""Buckets per word, each with a sign of its own, so that words that share one differ in another."""

MIN_WORD_COUNT = 10
"""Words in fewer descriptions are left out: they only collide with the common ones."""

SPLIT_PERCENT = (60, 20, 20)
"""Share of packages in each of the splits train, val and test."""

Package = dict[str, str]


def fetch_index() -> bytes:
    """Fetches the largest Debian package index of this machine's sources.

    Raises:
        DataError: There is no apt here, or its sources name no Debian index.
    """
    with fetched_indexes("Packages", remedy="pass one with --packages-file") as files:
        return read_index(max(files, key=lambda file: file.stat().st_size))


def parse_index(index: bytes) -> list[Package]:
    """Returns the packages of an index, sorted by name, the first of several versions of one."""
    packages: dict[str, Package] = {}
    for paragraph in index.decode("utf-8").split("\n\n"):
        fields = re.sub(r"\n[ \t]+", " ", paragraph)  # unfold continued lines
        package = dict(re.findall(r"^([A-Za-z0-9-]+):[ \t]*(.*)$", fields, re.MULTILINE))
        if "Package" in package:
            packages.setdefault(package["Package"], package)
    if not packages:
        raise DataError("the package index holds no packages; is it a Debian 'Packages' file?")
    return [packages[name] for name in sorted(packages)]


def related_names(field: str) -> Iterator[str]:
    """Yields the package names in a relation field, alternatives included."""
    for relation in re.split(r"[,|]", field):
        if match := re.match(r"\s*([a-z0-9][a-z0-9+.-]*)", relation):
            yield match[1]


def dependency_edges(packages: list[Package]) -> NDArray[np.int32]:
    """Returns the edges from a package to what it asks for, `[2, num_edges]`, sorted, once each.

    A name stands for the package of that name and for the packages that provide it, unless more
    than `MAX_PROVIDERS` do.
    """
    vertex_of = {package["Package"]: vertex for vertex, package in enumerate(packages)}
    providers: dict[str, set[int]] = defaultdict(set)
    for vertex, package in enumerate(packages):
        for name in related_names(package.get("Provides", "")):
            providers[name].add(vertex)
    edges: set[tuple[int, int]] = set()
    for vertex, package in enumerate(packages):
        for relation in RELATIONS:
            for name in related_names(package.get(relation, "")):
                targets = {vertex_of[name]} if name in vertex_of else set()
                if len(providers.get(name, ())) <= MAX_PROVIDERS:
                    targets |= providers.get(name, set())
                edges.update((vertex, target) for target in targets if target != vertex)
    return np.array(sorted(edges), dtype=np.int32).reshape(-1, 2).T


def word_features(packages: list[Package]) -> tuple[list[int], list[int], list[int]]:
    """Hashes the words of the descriptions into signed buckets.

    A package's own name is left out of its words, and no other use is made of names.

    Returns:
        A sparse matrix by rows: offsets (one more than packages), buckets (ascending in a row)
        and counts.
    """
    words_of = [
        set(re.findall(r"[a-z][a-z0-9+]+", package.get("Description", "").lower()))
        - {package["Package"]}
        for package in packages
    ]
    word_counts = Counter(word for words in words_of for word in words)
    signed_buckets = {
        word: [signed_bucket(word, number) for number in range(NUM_HASHES)]
        for word, count in word_counts.items()
        if count >= MIN_WORD_COUNT
    }
    offsets: list[int] = [0]
    buckets: list[int] = []
    counts: list[int] = []
    for words in words_of:
        row: Counter[int] = Counter()
        for word in words:
            for bucket, sign in signed_buckets.get(word, ()):
                row[bucket] += sign
        kept = sorted((bucket, count) for bucket, count in row.items() if count)
        buckets.extend(bucket for bucket, _ in kept)
        counts.extend(count for _, count in kept)
        offsets.append(len(buckets))
    return offsets, buckets, counts


def signed_bucket(word: str, number: int) -> tuple[int, int]:
    """Returns the bucket and the sign, 1 or -1, of a word under hash function `number`."""
    value = zlib.crc32(f"{number}{word}".encode())
    return (value & 0x7FFFFFFF) % NUM_BUCKETS, 1 if value >> 31 else -1


def split_of(name: str) -> int:
    """Returns the split of a package: 0, 1, 2 for train, val, test.

    It follows from a hash of the name alone, so a package stays in its split when the graph is
    built from a newer index.
    """
    percent = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 100
    return int(np.searchsorted(np.cumsum(SPLIT_PERCENT), percent, side="right"))


def build_arrays(index: bytes) -> dict[str, Any]:
    """Turns a package index into the arrays of the embedded graph."""
    packages = parse_index(index)
    sections = [package.get("Section", "unknown").rpartition("/")[2] for package in packages]
    section_names = sorted(set(sections))
    offsets, buckets, counts = word_features(packages)
    return {
        "edges": dependency_edges(packages),
        "word_offsets": np.array(offsets, dtype=np.int32),
        "word_buckets": np.array(buckets, dtype=np.uint8),
        "word_counts": np.array(counts, dtype=np.int8),
        "labels": np.array([section_names.index(name) for name in sections], dtype=np.uint8),
        "label_names": np.array(section_names),
        "split": np.array([split_of(package["Package"]) for package in packages], dtype=np.uint8),
        "index_sha256": np.array(hashlib.sha256(index).hexdigest()),
    }


def main(arguments: Iterable[str] | None = None) -> None:
    """Builds the arrays and writes them to a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    parser.add_argument(
        "--packages-file", type=Path, help="a Debian index: Packages, .gz, .xz, .bz2, .lz4 or .zst"
    )
    options = parser.parse_args(None if arguments is None else list(arguments))
    try:
        file = options.packages_file
        arrays = build_arrays(fetch_index() if file is None else read_index(file))
    except DataError as error:
        parser.exit(1, f"error: {error}\n")
    with open(options.out, "wb") as out:
        np.savez_compressed(out, **arrays)
    print(
        f"{options.out}: {len(arrays['labels'])} packages, "
        f"{arrays['edges'].shape[1]} dependencies, "
        f"{len(arrays['label_names'])} sections, {options.out.stat().st_size} bytes"
    )


if __name__ == "__main__":
    main()
