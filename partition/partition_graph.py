"""The way from a raw graph to a partition folder."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import IntArray
from gnnflow.config import PartitionConfig
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.row_source import RowSource
from gnnflow.errors import ConfigError
from gnnflow.partition.assignment import Assignment
from gnnflow.partition.csc import Csc, build_csc, count_in_degrees, make_undirected
from gnnflow.partition.cut import Cutter
from gnnflow.partition.held_out_edges import EDGES_LEFT_FILE, EdgeSplit, hold_out_edges
from gnnflow.partition.manifest import (
    MANIFEST_FILE,
    ArraySpec,
    Manifest,
    PartSpec,
    check_array_names,
)
from gnnflow.partition.mapped_pages import release_pages, release_rows
from gnnflow.partition.output_folder import check_output, staged_folder
from gnnflow.partition.part_writer import PartWriter, WrittenPart
from gnnflow.partition.quality import PartitionReport
from gnnflow.partition.stage_progress import Progress, silent
from gnnflow.partition.stored_rows import StoredRows
from gnnflow.process_memory import peak_memory_bytes


class _Stopwatch:
    """Seconds per named stage."""

    def __init__(self) -> None:
        self.stage_s: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.stage_s[name] = self.stage_s.get(name, 0.0) + time.perf_counter() - start


def partition_graph(
    graph: RawGraph,
    out: Path | str,
    config: PartitionConfig,
    progress: Progress = silent,
    *,
    overwrite: bool = False,
) -> PartitionReport:
    """Cuts a graph into parts and writes them to a folder.

    The folder appears when it is complete; on any error nothing is left behind.

    Args:
        graph: The graph; it is validated first.
        out: The folder to make; it must not exist, or be empty.
        config: Method, number of parts and so on.
        progress: Told how far each stage is.
        overwrite: Replace a partition that is there already, once the new one is complete.

    Returns:
        How good the cut is and what it cost.

    Raises:
        ConfigError: If the folder or the number of parts cannot be used.
        DataError: If the graph cannot be used.
    """
    out = Path(out)
    check_output(out, overwrite=overwrite)
    job = _Partitioning(graph, config, progress)
    job.validate()
    with staged_folder(out, overwrite=overwrite) as staging:
        split = job.hold_out_edges(staging)
        edges, input_edge_id = job.directed_edges(split)
        in_degree, part = job.cut(edges, staging / "scratch")
        assignment, csc = job.sort_edges(edges, input_edge_id, in_degree, part)
        (staging / EDGES_LEFT_FILE).unlink(missing_ok=True)
        writer = PartWriter(staging, assignment, csc, job.config.halo_hops)
        parts = job.write_topology(writer, split)
        job.write_arrays(writer, parts)
        report = job.report(parts)
        manifest = _manifest(graph, job.stored, job.config, assignment, parts, report)
        (staging / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    return report


class _Partitioning:
    """The steps of cutting one graph, in order, and what they cost."""

    def __init__(self, graph: RawGraph, config: PartitionConfig, progress: Progress) -> None:
        """Settles the options for the graph.

        Raises:
            ConfigError: If the number of parts cannot be used.
        """
        self.config = config.settled(graph.num_parts)
        assert self.config.num_parts is not None
        self._num_parts = self.config.num_parts
        if self._num_parts > graph.num_vertices:
            raise ConfigError(
                f"num_parts must be at most the number of vertices, {graph.num_vertices}, "
                f"got {self._num_parts}"
            )
        check_array_names(tuple(graph.arrays) + tuple(graph.splits))
        self.stored: dict[str, RowSource] = dict(graph.arrays)
        """The per-vertex arrays as they are written."""
        self._graph = graph
        self._progress = progress
        # Weights are put into the order of the lists by them, and then they may go.
        self._keep_edge_ids = graph.edge_attr is not None or graph.edge_weight is not None
        self._num_threads = len(os.sched_getaffinity(0))
        self._watch = _Stopwatch()
        self._metis_s = 0.0
        self._solver_memory_bytes = 0

    def validate(self) -> None:
        """Checks the graph, and takes its features in the type in which they are written."""
        with self._watch.stage("validate"):
            self._graph.validate()
            release_pages(self._graph.edges)
            for source in self._graph.arrays.values():
                release_rows(source)
        if self.config.feature_dtype != "stored" and "x" in self.stored:
            self.stored["x"] = StoredRows(self.stored["x"], self.config.feature_dtype)

    def hold_out_edges(self, staging: Path) -> EdgeSplit:
        """Keeps the edges apart that a model is to be asked about, if there are to be any."""
        shares = (self.config.val_edges, self.config.test_edges)
        if not any(shares):
            return EdgeSplit(self._graph.edges, None, {})
        with self._watch.stage("split edges"):
            return hold_out_edges(
                self._graph.edges,
                shares,
                self.config.edge_split_seed,
                staging,
                keep_edge_ids=self._keep_edge_ids,
                progress=self._progress,
            )

    def directed_edges(self, split: EdgeSplit) -> tuple[npt.NDArray[Any], IntArray | None]:
        """Returns the edges that the parts hold and, if kept, where each was in the input."""
        if not self.config.undirected:
            return split.edges, split.input_edge_id
        with self._watch.stage("add reverse edges"):
            edges, edge_id = make_undirected(
                split.edges,
                self._graph.num_vertices,
                keep_edge_ids=self._keep_edge_ids,
                num_threads=self._num_threads,
                progress=self._progress,
            )
            if edge_id is None or split.input_edge_id is None:
                return edges, split.input_edge_id if edge_id is None else edge_id
            return edges, split.input_edge_id[edge_id]

    def cut(self, edges: npt.NDArray[Any], scratch: Path) -> tuple[IntArray, npt.NDArray[np.int32]]:
        """Returns the in-degree and the part of every vertex."""
        graph = self._graph
        scratch.mkdir()
        cutter = Cutter(self.config, self._num_parts, scratch, self._num_threads, self._progress)
        with self._watch.stage("cut"):
            in_degree = count_in_degrees(edges, graph.num_vertices, self._progress)
            is_train = np.zeros(graph.num_vertices, dtype=np.bool_)
            is_train[graph.splits.get("train", [])] = True
            part = cutter.cut(edges, in_degree, is_train, graph.part)
        shutil.rmtree(scratch)
        self._metis_s, self._solver_memory_bytes = cutter.metis_s, cutter.peak_memory_bytes
        return in_degree, part

    def sort_edges(
        self,
        edges: npt.NDArray[Any],
        input_edge_id: IntArray | None,
        in_degree: IntArray,
        part: npt.NDArray[np.int32],
    ) -> tuple[Assignment, Csc]:
        """Numbers the vertices part by part and lists their in-edges."""
        with self._watch.stage("sort edges"):
            assignment = Assignment.from_parts(part, self._num_parts)
            csc = build_csc(
                edges,
                in_degree,
                assignment.global_id,
                keep_edge_ids=self._keep_edge_ids,
                progress=self._progress,
            )
            if csc.edge_id is not None and input_edge_id is not None:
                csc = replace(csc, edge_id=input_edge_id[csc.edge_id])
            if self._graph.edge_weight is not None:
                csc = csc.with_weights(self._graph.edge_weight)
            if self._graph.edge_attr is None:
                csc = replace(csc, edge_id=None)
        return assignment, csc

    def write_topology(self, writer: PartWriter, split: EdgeSplit) -> list[WrittenPart]:
        """Writes the lists, splits, attributes and held-out edges of every part."""
        graph = self._graph
        parts = []
        with self._watch.stage("write topology"):
            for part_id in range(self._num_parts):
                written = writer.write_topology(part_id, graph.splits, graph.edge_attr)
                written.files |= writer.write_held_out_edges(part_id, split.held_out)
                parts.append(written)
                self._progress("writing topology", part_id + 1, self._num_parts)
        return parts

    def write_arrays(self, writer: PartWriter, parts: list[WrittenPart]) -> None:
        """Writes the rows of every part and enters the files."""
        with self._watch.stage("write arrays"):
            for name, source in self.stored.items():
                files = writer.write_rows(name, source, self._progress)
                for written, file in zip(parts, files, strict=True):
                    written.files[f"{name}.npy"] = file

    def report(self, parts: list[WrittenPart]) -> PartitionReport:
        """Returns how good the cut is and what it cost."""
        names = list(parts[0].num_seeds)
        return PartitionReport(
            method=self.config.method,
            num_vertices=np.array([part.num_vertices for part in parts]),
            num_edges=np.array([part.num_edges for part in parts]),
            num_halo=np.array([part.num_halo for part in parts]),
            num_seeds={name: np.array([part.num_seeds[name] for part in parts]) for name in names},
            halo_traffic=np.stack([part.halo_from for part in parts]),
            edge_traffic=np.stack([part.edges_from for part in parts]),
            halo_topology_bytes=np.array([part.halo_topology_bytes for part in parts]),
            stage_s=self._watch.stage_s,
            metis_s=self._metis_s,
            peak_memory_bytes=max(peak_memory_bytes(), self._solver_memory_bytes),
        )


def _manifest(
    graph: RawGraph,
    stored: Mapping[str, RowSource],
    config: PartitionConfig,
    assignment: Assignment,
    parts: list[WrittenPart],
    report: PartitionReport,
) -> Manifest:
    arrays = {
        name: ArraySpec(
            dtype=source.type_name if isinstance(source, StoredRows) else source.dtype.name,
            npy_dtype=source.dtype.newbyteorder("<").str,
            row_shape=tuple(source.shape[1:]),
        )
        for name, source in stored.items()
    }
    return Manifest(
        name=graph.name,
        source=graph.source,
        num_vertices=graph.num_vertices,
        num_edges=int(report.num_edges.sum()),
        num_classes=graph.num_classes,
        offsets=tuple(assignment.book.offsets.tolist()),
        method=config.method,
        seed=config.seed,
        hosts=config.hosts,
        undirected=config.undirected,
        halo_hops=config.halo_hops,
        num_cut_edges=report.num_cut_edges,
        edge_cut=report.edge_cut,
        balance=report.balance,
        splits=tuple(graph.splits),
        arrays=arrays,
        parts=tuple(
            PartSpec(
                num_vertices=part.num_vertices,
                num_edges=part.num_edges,
                num_halo=part.num_halo,
                num_seeds=part.num_seeds,
                files=dict(sorted(part.files.items())),
            )
            for part in parts
        ),
    )
