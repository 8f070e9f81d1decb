"""A partition as DistDGL lays it out: one part per host, inner vertices first, halo behind them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.emulated_hosts import EmulationError
from gnnflow.files.json_text import to_json_text
from gnnflow.partition import GraphPartition, open_partition, read_manifest

GRAPH_NAME = "graph"
CONFIG_FILE = f"{GRAPH_NAME}.json"
_VERTEX_TYPE = "_N"
_EDGE_TYPE = "_N:_E:_N"


def write_layout(parts: Path, out: Path, num_hosts: int) -> None:
    """Writes DistDGL's description of a partition, and the arrays of each host as plain `.npy`.

    gnnflow's parts of one host become one. Global ids stay what they are, and the in-edges of each
    vertex keep their order.

    Args:
        parts: Folder that gnnflow-partition wrote.
        out: Folder to write to: the description, and `part0`, `part1`, ... with `indptr`,
            `indices` (local ids), `vertex_ids` (global), `num_inner`, `first_edge`, `x`, `y` and
            `train` (a mask).
        num_hosts: Number of hosts; must divide the number of parts.

    Raises:
        EmulationError: If it does not.
    """
    manifest = read_manifest(parts)
    if manifest.num_parts % num_hosts:
        raise EmulationError(
            f"the {manifest.num_parts} parts of {parts} cannot be spread evenly over {num_hosts} "
            "hosts; partition the graph into a multiple of them"
        )
    parts_per_host = manifest.num_parts // num_hosts
    edge_offsets = [0]
    for host in range(num_hosts):
        first_part = host * parts_per_host
        partitions = [
            open_partition(parts, part) for part in range(first_part, first_part + parts_per_host)
        ]
        _write_host(partitions, edge_offsets[-1], out / f"part{host}")
        edge_offsets.append(edge_offsets[-1] + sum(part.num_edges for part in partitions))
    config = {
        "graph_name": GRAPH_NAME,
        "num_nodes": manifest.num_vertices,
        "num_edges": manifest.num_edges,
        "part_method": manifest.method,
        "num_parts": num_hosts,
        "halo_hops": 1,
        "node_map": {_VERTEX_TYPE: _ranges(manifest.offsets[::parts_per_host])},
        "edge_map": {_EDGE_TYPE: _ranges(edge_offsets)},
        "ntypes": {_VERTEX_TYPE: 0},
        "etypes": {_EDGE_TYPE: 0},
    }
    for host in range(num_hosts):
        config[f"part-{host}"] = {
            "part_graph": f"part{host}/graph.dgl",
            "node_feats": f"part{host}/node_feat.dgl",
            "edge_feats": f"part{host}/edge_feat.dgl",
        }
    (out / CONFIG_FILE).write_text(to_json_text(config, indent=2))


def _write_host(partitions: Sequence[GraphPartition], first_edge: int, folder: Path) -> None:
    low, high = partitions[0].first_id, partitions[-1].first_id + partitions[-1].num_vertices
    indices = np.concatenate([partition.indices for partition in partitions])
    degrees = np.concatenate([np.diff(partition.indptr) for partition in partitions])
    inner = (indices >= low) & (indices < high)
    halo, halo_positions = np.unique(indices[~inner], return_inverse=True)
    local = indices - low
    local[~inner] = high - low + halo_positions
    indptr = np.full(high - low + len(halo) + 1, len(indices))  # no in-edges of the halo here
    indptr[0] = 0
    np.cumsum(degrees, out=indptr[1 : high - low + 1])
    masks = [np.zeros(partition.num_vertices, dtype=bool) for partition in partitions]
    for mask, partition in zip(masks, partitions, strict=True):
        mask[partition.splits["train"]] = True
    arrays = {
        "indptr": indptr,
        "indices": local,
        "vertex_ids": np.concatenate([np.arange(low, high), halo]),
        "num_inner": np.array(high - low),
        "first_edge": np.array(first_edge),
        "x": np.concatenate([partition.arrays["x"] for partition in partitions]),
        "y": np.concatenate([partition.arrays["y"] for partition in partitions]),
        "train": np.concatenate(masks),
    }
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def _ranges(offsets: Sequence[int]) -> list[list[int]]:
    return [[low, high] for low, high in zip(offsets[:-1], offsets[1:], strict=True)]
