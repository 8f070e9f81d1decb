"""The way from a raw graph to a partition folder."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from gnnflow.config import PartitionConfig
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.row_source import RowSource
from gnnflow.errors import ConfigError
from gnnflow.partition.assignment import Assignment
from gnnflow.partition.csc import build_csc, count_in_degrees
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
from gnnflow.partition.report import PartitionReport, peak_memory_bytes
from gnnflow.partition.stage_progress import Progress, silent
from gnnflow.partition.stored_rows import StoredRows
from gnnflow.partition.undirected import make_undirected


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
    config = config.settled(graph.num_parts)
    num_parts = config.num_parts
    assert num_parts is not None
    if num_parts > graph.num_vertices:
        raise ConfigError(
            f"num_parts must be at most the number of vertices, {graph.num_vertices}, "
            f"got {num_parts}"
        )
    check_array_names(tuple(graph.arrays) + tuple(graph.splits))
    watch = _Stopwatch()
    num_threads = len(os.sched_getaffinity(0))
    with watch.stage("validate"):
        graph.validate()
        release_pages(graph.edges)
        for source in graph.arrays.values():
            release_rows(source)
    stored: dict[str, RowSource] = dict(graph.arrays)
    if config.feature_dtype != "stored" and "x" in stored:
        stored["x"] = StoredRows(stored["x"], config.feature_dtype)
    with staged_folder(out, overwrite=overwrite) as staging:
        scratch = staging / "scratch"
        scratch.mkdir()
        keep_edge_ids = graph.edge_attr is not None
        split = EdgeSplit(graph.edges, None, {})
        if config.val_edges or config.test_edges:
            with watch.stage("split edges"):
                split = hold_out_edges(
                    graph.edges,
                    (config.val_edges, config.test_edges),
                    config.edge_split_seed,
                    staging,
                    keep_edge_ids=keep_edge_ids,
                    progress=progress,
                )
        edges, input_edge_id = split.edges, split.input_edge_id
        if config.undirected:
            with watch.stage("add reverse edges"):
                edges, edge_id = make_undirected(
                    edges,
                    graph.num_vertices,
                    keep_edge_ids=keep_edge_ids,
                    num_threads=num_threads,
                    progress=progress,
                )
                if edge_id is not None:
                    input_edge_id = edge_id if input_edge_id is None else input_edge_id[edge_id]
        cutter = Cutter(config, num_parts, scratch, num_threads, progress)
        with watch.stage("cut"):
            in_degree = count_in_degrees(edges, graph.num_vertices, progress)
            is_train = np.zeros(graph.num_vertices, dtype=np.bool_)
            is_train[graph.splits.get("train", [])] = True
            part = cutter.cut(edges, in_degree, is_train, graph.part)
        shutil.rmtree(scratch)
        with watch.stage("sort edges"):
            assignment = Assignment.from_parts(part, num_parts)
            csc = build_csc(
                edges,
                in_degree,
                assignment.global_id,
                keep_edge_ids=keep_edge_ids,
                progress=progress,
            )
            if csc.edge_id is not None and input_edge_id is not None:
                csc = replace(csc, edge_id=input_edge_id[csc.edge_id])
        (staging / EDGES_LEFT_FILE).unlink(missing_ok=True)
        writer = PartWriter(staging, assignment, csc, config.halo_hops)
        with watch.stage("write topology"):
            parts = []
            for part_id in range(num_parts):
                written = writer.write_topology(part_id, graph.splits, graph.edge_attr)
                written.files |= writer.write_held_out_edges(part_id, split.held_out)
                parts.append(written)
                progress("writing topology", part_id + 1, num_parts)
        with watch.stage("write arrays"):
            for name, source in stored.items():
                files = writer.write_rows(name, source, progress)
                for part_written, file in zip(parts, files, strict=True):
                    part_written.files[f"{name}.npy"] = file
        report = _report(parts, config, watch.stage_s, cutter)
        manifest = _manifest(graph, stored, config, assignment, parts, report)
        (staging / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    return report


def _report(
    parts: list[WrittenPart],
    config: PartitionConfig,
    stage_s: dict[str, float],
    cutter: Cutter,
) -> PartitionReport:
    names = list(parts[0].num_seeds)
    return PartitionReport(
        method=config.method,
        num_vertices=np.array([part.num_vertices for part in parts]),
        num_edges=np.array([part.num_edges for part in parts]),
        num_halo=np.array([part.num_halo for part in parts]),
        num_seeds={name: np.array([part.num_seeds[name] for part in parts]) for name in names},
        halo_traffic=np.stack([part.halo_from for part in parts]),
        edge_traffic=np.stack([part.edges_from for part in parts]),
        halo_topology_bytes=np.array([part.halo_topology_bytes for part in parts]),
        stage_s=stage_s,
        metis_s=cutter.metis_s,
        peak_memory_bytes=max(peak_memory_bytes(), cutter.peak_memory_bytes),
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
