"""Partition folders: the manifest, and the arrays of the parts."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from choices import ODD_DTYPES, Choices, changed_json, changed_npy
from target import Target

import gnnflow
from gnnflow import _kernels
from gnnflow.config import PartitionConfig
from gnnflow.datasets import ArrayRows, RawGraph
from gnnflow.loader import DistNeighborLoader
from gnnflow.partition import GraphPartition, open_partition, partition_graph, read_manifest
from gnnflow.partition.manifest import MANIFEST_FILE
from gnnflow.partition.reader import file_sha256, fingerprint
from gnnflow.report.run_record import read_partition_figures

NUM_VERTICES, NUM_EDGES = 20, 60


def small_graph() -> RawGraph:
    """A graph with everything that a partition can hold."""
    draw = np.random.default_rng(0)
    arrays = {
        "x": ArrayRows(draw.random((NUM_VERTICES, 3), dtype=np.float32)),
        "y": ArrayRows(draw.integers(0, 3, NUM_VERTICES)),
    }
    ids = draw.permutation(NUM_VERTICES)
    return RawGraph(
        name="small",
        source="made for fuzzing",
        num_vertices=NUM_VERTICES,
        edges=draw.integers(0, NUM_VERTICES, (2, NUM_EDGES)),
        arrays=arrays,
        splits={"train": np.sort(ids[:10]), "val": np.sort(ids[10:14]), "test": np.sort(ids[14:])},
        num_classes=3,
        edge_attr=draw.random((NUM_EDGES, 2), dtype=np.float32),
    )


class ManifestTarget(Target):
    """`manifest.json`, read by itself and with the folder it stands in."""

    name = "manifest"
    modules = ("gnnflow.partition.manifest", "gnnflow.partition.book", "gnnflow.partition.reader")
    words = ('"num_vertices"', '"offsets"', '"files"', '"shape"', '"../x.npy"', '"sha256"', "1e999")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._parts = folder / "parts"
        partition_graph(
            small_graph(),
            self._parts,
            PartitionConfig(num_parts=2, method="random", halo_hops=1, val_edges=0.1),
        )
        self._text = (self._parts / MANIFEST_FILE).read_text()

    def seeds(self) -> list[bytes]:
        return [b"\0" + self._text.encode(), b"\0{}", *super().seeds()]

    def run(self, data: bytes) -> None:
        (self._parts / MANIFEST_FILE).write_bytes(changed_json(Choices(data), self._text))
        read_manifest(self._parts)
        for part_id in range(2):
            open_partition(self._parts, part_id)
        read_partition_figures(self._parts)


class ArraysTarget(Target):
    """Every array of a part, damaged, with a manifest that knows or does not; then used."""

    name = "partition-arrays"
    modules = ("gnnflow.partition.reader", "gnnflow.partition.graph_partition", "gnnflow.graph",
               "gnnflow.partition.part_contents", "gnnflow.partition.checked_parts")  # fmt: skip

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._context = gnnflow.init()
        self._wholes: list[Path] = []
        for num_parts in (1, 2):
            whole = folder / f"whole-{num_parts}"
            config = PartitionConfig(
                num_parts=num_parts, method="random", halo_hops=num_parts - 1, val_edges=0.1
            )
            partition_graph(small_graph(), whole, config)
            self._wholes.append(whole)
            shutil.copytree(whole, folder / f"damaged-{num_parts}")

    def seeds(self) -> list[bytes]:
        return [
            bytes([example, file, how, how, place, 1, 2])
            for example in range(2)
            for file in range(16)
            for how in range(5)
            for place in (0, 3)
        ]

    def close(self) -> None:
        self._context.close()

    def run(self, data: bytes) -> None:
        choices = Choices(data)
        whole = choices.pick(self._wholes)
        damaged = whole.with_name(whole.name.replace("whole", "damaged"))
        # Of two parts the first is damaged; both are read by the rank that uses them.
        names = sorted(path.name for path in (whole / "part-00000").glob("*.npy"))
        name = choices.pick(names)
        path = damaged / "part-00000" / name
        # A new file in its place: the old one may still be mapped, and cutting it off would end
        # the process with a bus error that has nothing to do with the input.
        os.unlink(path)
        path.write_bytes(changed_npy(choices, (whole / "part-00000" / name).read_bytes()))
        text = (whole / MANIFEST_FILE).read_text()
        (damaged / MANIFEST_FILE).write_text(_told(choices, json.loads(text), path))
        verify = choices.flag()
        try:
            if len(read_manifest(damaged).parts) == 1:
                self._use(damaged, verify)
            else:
                _use_both([open_partition(damaged, part, verify=verify) for part in range(2)])
                read_partition_figures(damaged)
        finally:
            os.unlink(path)
            shutil.copy(whole / "part-00000" / name, path)

    def _use(self, folder: Path, verify: bool) -> None:
        graph = gnnflow.DistGraph.open(folder, self._context, verify=verify)
        everyone = np.arange(graph.num_vertices)
        for name in (*graph.array_names, "original_id", "in_degree"):
            graph.store(name).fetch(everyone)
        for with_edge_ids in (False, True):
            sampler = graph.sampler(with_edge_ids=with_edge_ids)
            sampler.sample(everyone, [-1, 2], epoch=0, minibatch=0)
        loader = DistNeighborLoader(graph, fanout=[2, 2], batch_size=5, seed=7)
        for batch in loader:
            assert len(batch.x) >= batch.batch_size
        assert np.array_equal(graph.to_global(graph.to_original(everyone)), everyone)
        labels = graph.partition.arrays.get("y")
        if labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu":
            # What a loss and a table of weights are indexed with.
            assert labels[graph.partition.splits["train"]].max(initial=0) < graph.num_classes


def _told(choices: Choices, manifest: dict[str, Any], path: Path) -> str:
    """The manifest as it was, or made to agree with what the file holds or seems to hold."""
    how = choices.below(4)
    entry = manifest["parts"][0]["files"][path.name]
    if how:
        entry |= {
            "size_bytes": path.stat().st_size,
            "fingerprint": fingerprint(path),
            "sha256": file_sha256(path),
        }
    if how >= 2:
        try:
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
            entry |= {"dtype": stored.dtype.str, "shape": list(stored.shape)}
            array = manifest["arrays"].get(path.stem)
            if array is not None:
                array |= {"dtype": stored.dtype.name}
                array |= {"npy_dtype": stored.dtype.str, "row_shape": list(stored.shape[1:])}
        except Exception:  # whatever numpy says of a file that is none
            entry["dtype"] = choices.pick(ODD_DTYPES)
    return json.dumps(manifest)


def _use_both(parts: list[GraphPartition]) -> None:
    """Samples with the kernels from part 0 and the topology beyond it, then from both."""
    offsets = parts[0].book.offsets
    everyone = np.arange(offsets[-1])
    alone = _kernels.Topology(offsets)
    both = _kernels.Topology(offsets)
    try:
        alone.set_part(0, *_lists(parts[0]))
        for block in parts[0].halo_topology:
            alone.add_halo(*block)
        sampler = _kernels.NeighborSampler(alone, 1)
        own = np.arange(offsets[0], offsets[1])
        sampler.start(own, 3, 0, 0)
        sampler.expand(-1, False, True)
        for part_id, part in enumerate(parts):
            both.set_part(part_id, *_lists(part))
        _kernels.NeighborSampler(both, 1).sample(everyone, [3, -1], 3, 0, 0, False, True)
    except ValueError:
        # What the samplers turn into a DataError.
        pass


def _lists(part: GraphPartition) -> tuple[Any, ...]:
    return part.indptr, part.indices, part.original_id, part.edge_id


TARGETS: tuple[type[Target], ...] = (ManifestTarget, ArraysTarget)
