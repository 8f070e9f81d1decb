"""The manifest: what a partition folder holds, in JSON, written last."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from gnnflow.errors import DataError, PartitionFormatError, one_line
from gnnflow.files.json_record import Count, read_record
from gnnflow.files.json_text import parse_json, to_json_text
from gnnflow.partition.book import PartitionBook
from gnnflow.partition.stored_rows import INT8_SCALED, SCALE_BYTES

FORMAT_NAME = "gnnflow-partition"
FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
EDGE_WEIGHT = "edge_weight"
"""The file of a part that holds the weights of its edges."""
WEIGHT_NAME = "weight"
"""What users call the weights of edges."""

_FILE_NAME = re.compile(r"[A-Za-z0-9_]{1,100}\.npy")
_ARRAY_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,95}")
_NPY_TYPES = {
    "bfloat16": "<u2",
    INT8_SCALED: "|u1",
    **{np.dtype(code).name: f"|{code}" for code in ("b1", "i1", "u1")},
    **{np.dtype(code).name: f"<{code}" for code in ("i2", "u2", "i4", "u4", "i8", "u8")},
    **{np.dtype(code).name: f"<{code}" for code in ("f2", "f4", "f8")},
}
"""What numbers of each type are in a file; NumPy does not have the first two."""
_FEW_CLASSES = 1024
"""Classes that any graph may have; beyond these no more than vertices."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Written out, since numpy reads far more than this as a type.
_DTYPE = re.compile(r"[<|]([biu]1|[iuf]2|[iuf]4|[iuf]8)")
# Fixed files of a part: an array or a split of the user must not take their place.
RESERVED_NAMES = frozenset(
    ("indptr", "indices", "original_id", "edge_id", "edge_attr", "halo", "halo_owner")
    + ("halo_degree", "halo_topology_vertices", "halo_topology_indptr", "halo_topology_indices")
    + ("halo_topology_original_id", "halo_topology_edge_id", "val_edges", "test_edges")
    + ("edge_weight", "halo_topology_edge_weight")
)


def part_folder(part_id: int) -> str:
    """Returns the name of a part's folder."""
    return f"part-{part_id:05d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSpec:
    """One `.npy` file of a part."""

    dtype: str
    """NumPy's dtype string, for example `<f4`."""
    shape: tuple[Count, ...]
    """Shape of the array."""
    size_bytes: Count
    """Size of the file with its header."""
    fingerprint: str
    """First 16 hex digits of the sha256 of the file's first and last 4096 bytes: checked on every
    opening, it finds a file of another part or partition without reading it all."""
    sha256: str
    """Hex sha256 of the whole file, checked on request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArraySpec:
    """A per-vertex array, as all parts hold it."""

    dtype: str
    """What the numbers mean, for example `float32` or `bfloat16`."""
    npy_dtype: str
    """How the file holds them; differs from `dtype` where NumPy has no such type."""
    row_shape: tuple[Count, ...]
    """Shape of one vertex's row, `[]` for a scalar."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartSpec:
    """One part: its sizes and files."""

    num_vertices: Count
    """Inner vertices."""
    num_edges: Count
    """In-edges of the inner vertices."""
    num_halo: Count
    """Halo vertices: neighbours of inner vertices that other parts own."""
    num_seeds: Mapping[str, Count]
    """Number of inner vertices in each split."""
    files: Mapping[str, FileSpec]
    """File name to what it must look like."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """All facts about a partition folder, as `manifest.json` holds them."""

    name: str
    """Name of the graph."""
    source: str
    """How the graph was made, one line."""
    num_vertices: Count
    """Vertices of the whole graph."""
    num_edges: Count
    """Edges of the whole graph, as stored (with the reverse edges of `undirected`)."""
    num_classes: Count
    """Number of classes of `y`, 0 without labels."""
    offsets: tuple[Count, ...]
    """First global id of every part, and the number of vertices."""
    method: str
    """Partitioning method."""
    seed: int
    """Seed of the method."""
    hosts: Count
    """Number of hosts the parts are grouped for; consecutive parts share a host."""
    undirected: bool
    """Whether reverse edges were added and parallel edges merged."""
    halo_hops: Count
    """Hops of topology stored beyond the inner vertices."""
    num_cut_edges: Count
    """Edges whose ends have different owners."""
    edge_cut: float
    """The same as a fraction of all edges."""
    balance: Mapping[str, float]
    """Largest part over mean part, for `vertices`, `edges` and each split."""
    splits: tuple[str, ...]
    """Names of the splits."""
    arrays: Mapping[str, ArraySpec]
    """Per-vertex arrays by name."""
    parts: tuple[PartSpec, ...]
    """The parts in order."""

    @property
    def num_parts(self) -> int:
        """Number of parts."""
        return len(self.parts)

    @property
    def book(self) -> PartitionBook:
        """The partition book of the offsets."""
        return PartitionBook(self.offsets)

    @property
    def edge_weights(self) -> tuple[str, ...]:
        """Names of the edge weights that all parts hold: `weight`, or none."""
        has_weights = all(f"{EDGE_WEIGHT}.npy" in part.files for part in self.parts)
        return (WEIGHT_NAME,) if has_weights else ()

    def check_weights(self, name: str | None) -> None:
        """Refuses a name of edge weights that there are not.

        Raises:
            DataError: If there are no weights of that name.
        """
        known = self.edge_weights
        if name is not None and name not in known:
            raise DataError(
                f"the partition has no edge weights '{name}'; it has: "
                + (", ".join(known) or "none, and gets them by gnnflow-partition --edge-weights")
            )

    def num_seeds(self, split: str) -> tuple[int, ...]:
        """Returns how many vertices of a split each part owns.

        Raises:
            PartitionFormatError: If there is no such split.
        """
        if split not in self.splits:
            known = ", ".join(self.splits) or "none"
            raise PartitionFormatError(f"the partition has no split '{split}'; it has: {known}")
        return tuple(part.num_seeds[split] for part in self.parts)

    def to_json(self) -> str:
        """Returns the text of `manifest.json`; the same manifest always gives the same text."""
        head = {"format": FORMAT_NAME, "version": FORMAT_VERSION}
        return to_json_text(head | asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, path: Path | str = MANIFEST_FILE) -> "Manifest":
        """Reads and checks the text of a manifest.

        Args:
            text: The JSON text.
            path: Where it came from, for messages.

        Raises:
            PartitionFormatError: If the text is not a complete and consistent manifest of a
                version that this release reads.
        """
        try:
            raw = parse_json(text)
        except ValueError as error:
            raise _damaged(path, f"it is not JSON ({error})") from error
        if not isinstance(raw, dict) or raw.get("format") != FORMAT_NAME:
            raise _damaged(path, f"it is not a '{FORMAT_NAME}' manifest")
        version = raw.get("version")
        if version != FORMAT_VERSION:
            raise PartitionFormatError(
                f"{path}: format version is {version!r}, this release of gnnflow reads version "
                f"{FORMAT_VERSION}; upgrade gnnflow or partition the graph again"
            )
        body = {key: value for key, value in raw.items() if key not in ("format", "version")}
        try:
            manifest = read_record(Manifest, body, complete=True)
            _check(manifest, path)
        except (TypeError, ValueError, OverflowError) as error:
            raise _damaged(path, one_line(error)) from error
        return manifest


def check_array_names(names: Mapping[str, object] | tuple[str, ...]) -> None:
    """Refuses names of arrays or splits that cannot be file names of a part.

    Raises:
        PartitionFormatError: If a name is reserved or is not a plain word.
    """
    for name in names:
        if name in RESERVED_NAMES or not _ARRAY_NAME.fullmatch(name):
            raise PartitionFormatError(
                f"'{name}' cannot name an array or split: it must be letters, digits and '_', "
                "start with a letter and not be a file of the format; rename it"
            )


def _damaged(path: Path | str, what: str) -> PartitionFormatError:
    return PartitionFormatError(f"{path} is damaged: {what}; partition the graph again")


def _check(manifest: Manifest, path: Path | str) -> None:
    """Checks what holds between the fields, and that no name leads out of the folder."""
    check_array_names(tuple(manifest.arrays) + manifest.splits)
    for name, array in manifest.arrays.items():
        _check_array(array, name)
    labels = manifest.arrays.get("y")
    several = labels is not None and len(labels.row_shape) == 1
    # Outputs and counts are made for each class, whatever labels there are.
    limit = labels.row_shape[0] if labels and several else max(_FEW_CLASSES, manifest.num_vertices)
    if manifest.num_classes > limit:
        raise _damaged(path, f"num_classes is {manifest.num_classes}, and can be {limit} at most")
    book = manifest.book
    if book.num_parts != manifest.num_parts or book.num_vertices != manifest.num_vertices:
        raise _damaged(path, "offsets do not match the number of parts and vertices")
    if sum(part.num_edges for part in manifest.parts) != manifest.num_edges:
        raise _damaged(path, "the edges of the parts do not add up")
    for part_id, part in enumerate(manifest.parts):
        low, high = book.range(part_id)
        if part.num_vertices != high - low or set(part.num_seeds) != set(manifest.splits):
            raise _damaged(path, f"the sizes of part {part_id} do not match")
        for name, file in part.files.items():
            if not _FILE_NAME.fullmatch(name):
                raise _damaged(path, f"'{name}' is not a file name of the format")
            if not _SHA256.fullmatch(file.sha256):
                raise _damaged(path, f"the sha256 of '{name}' is not 64 hex digits")
            _check_dtype(file.dtype, name)


def _check_array(array: ArraySpec, name: str) -> None:
    """Refuses an array whose meaning and whose file do not fit together."""
    _check_dtype(array.npy_dtype, name)
    if _NPY_TYPES.get(array.dtype) != array.npy_dtype:
        held = array.npy_dtype
        raise ValueError(f"'{name}' is {array.dtype!r:.40}, which no file holds as {held}")
    if array.dtype == INT8_SCALED and not (
        len(array.row_shape) == 1 and array.row_shape[0] >= SCALE_BYTES
    ):
        raise ValueError(f"a row of '{name}' has no room for its scale, got {array.row_shape}")


def _check_dtype(dtype: str, name: str) -> None:
    """Refuses whatever is not plain little-endian numbers: Python objects, records, text."""
    if not _DTYPE.fullmatch(dtype):
        raise ValueError(f"'{name}' would not hold little-endian numbers but {dtype!r:.40}")
