"""Graphs of any size, made rather than read."""

from dataclasses import fields
from pathlib import Path

from gnnflow.datasets import edge_makers, edge_writer
from gnnflow.datasets.edge_writer import Progress
from gnnflow.datasets.generator_spec import RmatSpec, parse_spec
from gnnflow.datasets.planted_task import feature_rows, label_rows, planted_splits
from gnnflow.datasets.raw_graph import RawGraph


def generate(
    spec: str, seed: int = 0, workdir: str | Path | None = None, progress: Progress | None = None
) -> RawGraph:
    """Makes a graph with planted communities as labels and features that go with them.

    Everything is a function of `spec` and `seed` alone. Edges are written to a file in `workdir`
    in chunks, and features are computed when their rows are asked for, so that memory does not
    grow with the number of edges or features.

    Args:
        spec: `rmat:vertices=1e6,edges=1e7` or `sbm:...`; parameters that are left out have the
            defaults of `RmatSpec` and `SbmSpec`.
        seed: Seed of all that is drawn.
        workdir: Folder for the file of edges; without one they are held in memory.
        progress: Called as edges are made.

    Raises:
        DataError: The spec is wrong, or `workdir` has not enough room.
    """
    parsed = parse_spec(spec)
    if isinstance(parsed, RmatSpec):
        kind, (make, communities) = "rmat", edge_makers.rmat(parsed, seed)
    else:
        kind, (make, communities) = "sbm", edge_makers.sbm(parsed, seed)
    file = None if workdir is None else Path(workdir) / f"{kind}-edges.npy"
    edges = edge_writer.make_edges(make, parsed.edges, file, progress)
    settings = ",".join(f"{field.name}={getattr(parsed, field.name):g}" for field in fields(parsed))
    return RawGraph(
        name=kind,
        source=f"generated {kind}:{settings} seed={seed}",
        num_vertices=parsed.vertices,
        edges=edges,
        arrays={
            "x": feature_rows(parsed, seed, communities),
            "y": label_rows(parsed, seed, communities),
        },
        splits=planted_splits(parsed, seed),
        num_classes=parsed.classes,
    )
