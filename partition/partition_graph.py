"""The way from a raw graph to a partition folder."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gnnflow.config import PartitionConfig
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.errors import ConfigError
from gnnflow.partition.adjacency import Adjacency, build_adjacency, induced
from gnnflow.partition.assignment import Assignment
from gnnflow.partition.csc import build_csc
from gnnflow.partition.manifest import (
    MANIFEST_FILE,
    ArraySpec,
    Manifest,
    PartSpec,
    check_array_names,
)
from gnnflow.partition.metis import cut_with_metis
from gnnflow.partition.output_folder import check_output, staged_folder
from gnnflow.partition.part_writer import PartWriter, WrittenPart
from gnnflow.partition.progress import Progress, silent
from gnnflow.partition.random_cut import cut_randomly
from gnnflow.partition.report import PartitionReport


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
    graph: RawGraph, out: Path | str, config: PartitionConfig, progress: Progress = silent
) -> PartitionReport:
    """Cuts a graph into parts and writes them to a folder.

    The folder appears when it is complete; on any error nothing is left behind.

    Args:
        graph: The graph; it is validated first.
        out: The folder to make; it must not exist, or be empty.
        config: Method, number of parts and so on.
        progress: Told how far each stage is.

    Returns:
        How good the cut is and what it cost.

    Raises:
        ConfigError: If the folder or the number of parts cannot be used.
        DataError: If the graph cannot be used.
    """
    out = Path(out)
    check_output(out)
    if config.num_parts > graph.num_vertices:
        raise ConfigError(
            f"num_parts must be at most the number of vertices, {graph.num_vertices}, "
            f"got {config.num_parts}"
        )
    check_array_names(tuple(graph.arrays) + tuple(graph.splits))
    watch = _Stopwatch()
    with watch.stage("validate"):
        graph.validate()
    with staged_folder(out) as staging:
        with watch.stage("cut"):
            assignment = Assignment.from_parts(_cut(graph, config), config.num_parts)
        with watch.stage("sort edges"):
            keep_edge_ids = graph.edge_attr is not None
            csc = build_csc(graph.edges, assignment.global_id, keep_edge_ids=keep_edge_ids)
        writer = PartWriter(staging, assignment, csc, config.halo_hops)
        with watch.stage("write topology"):
            parts = []
            for part_id in range(config.num_parts):
                parts.append(writer.write_topology(part_id, graph.splits, graph.edge_attr))
                progress("writing topology", part_id + 1, config.num_parts)
        with watch.stage("write arrays"):
            for name, source in graph.arrays.items():
                for part, file in zip(
                    parts, writer.write_rows(name, source, progress), strict=True
                ):
                    part.files[f"{name}.npy"] = file
        report = _report(parts, config, watch.stage_s)
        manifest = _manifest(graph, config, assignment, parts, report)
        (staging / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    return report


def _cut(graph: RawGraph, config: PartitionConfig) -> npt.NDArray[np.int32]:
    is_train = np.zeros(graph.num_vertices, dtype=np.bool_)
    if "train" in graph.splits:
        is_train[graph.splits["train"]] = True
    if config.method == "random":
        return cut_randomly(is_train, config.num_parts, config.seed)
    adjacency = build_adjacency(graph.edges, graph.num_vertices)
    in_degree = np.bincount(graph.edges[1], minlength=graph.num_vertices)
    constraints = [np.ones(graph.num_vertices), in_degree, is_train]
    weights = np.stack([column for column in constraints if column.any()], axis=1).astype(np.int32)
    host = _cut_once(adjacency, weights, config.hosts, config)
    parts_per_host = config.num_parts // config.hosts
    if parts_per_host == 1:
        return host
    part = np.empty(graph.num_vertices, dtype=np.int32)
    for number in range(config.hosts):
        members = np.flatnonzero(host == number)
        inside = adjacency if config.hosts == 1 else induced(adjacency, members)
        within = _cut_once(inside, weights[members], parts_per_host, config)
        part[members] = number * parts_per_host + within
    return part


def _cut_once(
    adjacency: Adjacency,
    weights: npt.NDArray[np.int32],
    num_parts: int,
    config: PartitionConfig,
) -> npt.NDArray[np.int32]:
    return cut_with_metis(adjacency, weights, num_parts, config.seed)


def _report(
    parts: list[WrittenPart], config: PartitionConfig, stage_s: dict[str, float]
) -> PartitionReport:
    names = list(parts[0].num_seeds)
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return PartitionReport(
        method=config.method,
        num_vertices=np.array([part.num_vertices for part in parts]),
        num_edges=np.array([part.num_edges for part in parts]),
        num_halo=np.array([part.num_halo for part in parts]),
        num_seeds={name: np.array([part.num_seeds[name] for part in parts]) for name in names},
        halo_traffic=np.stack([part.halo_from for part in parts]),
        edge_traffic=np.stack([part.edges_from for part in parts]),
        stage_s=stage_s,
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes,
    )


def _manifest(
    graph: RawGraph,
    config: PartitionConfig,
    assignment: Assignment,
    parts: list[WrittenPart],
    report: PartitionReport,
) -> Manifest:
    arrays = {
        name: ArraySpec(
            dtype=source.dtype.name,
            npy_dtype=source.dtype.newbyteorder("<").str,
            row_shape=tuple(source.shape[1:]),
        )
        for name, source in graph.arrays.items()
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
