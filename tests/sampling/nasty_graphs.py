"""Small graphs with what breaks samplers: hubs, loops, repeated edges, vertices without any."""

import numpy as np
from plain_sampler import Csc

from gnnflow import _kernels


def power_law(num_vertices=400, num_edges=6000, seed=0, dtype=np.int64):
    rng = np.random.default_rng(seed)
    sources = rng.zipf(1.4, num_edges) % num_vertices
    destinations = rng.zipf(1.6, num_edges) % num_vertices
    shuffled = rng.permutation(num_vertices)
    return Csc.from_edges(num_vertices, shuffled[sources], shuffled[destinations], dtype)


def uniform(num_vertices=3000, num_edges=60000, seed=0, dtype=np.int32):
    rng = np.random.default_rng(seed)
    sources, destinations = rng.integers(0, num_vertices, (2, num_edges))
    return Csc.from_edges(num_vertices, sources, destinations, dtype)


def hub(num_leaves=5000):
    """Leaves point to vertex 0, which points to every third of them."""
    leaves = np.arange(1, num_leaves + 1)
    back = leaves[::3]
    return Csc.from_edges(
        num_leaves + 1,
        np.concatenate([leaves, np.zeros_like(back)]),
        np.concatenate([np.zeros_like(leaves), back]),
    )


def clique(num_vertices=9):
    sources, destinations = np.nonzero(~np.eye(num_vertices, dtype=bool))
    return Csc.from_edges(num_vertices, sources, destinations)


def loops_and_repeats():
    """Self loops, the same edge five times, and isolated vertices 6 to 9."""
    sources = [0, 0, 1, 1, 1, 1, 1, 2, 3, 3, 4, 5, 5]
    destinations = [0, 0, 0, 0, 0, 0, 0, 1, 3, 2, 3, 5, 4]
    return Csc.from_edges(10, sources, destinations)


def no_edges():
    return Csc.from_edges(7, [], [])


ALL = {
    "power_law": power_law,
    "power_law_int32": lambda: power_law(seed=1, dtype=np.int32),
    "uniform": uniform,
    "hub": hub,
    "clique": clique,
    "loops_and_repeats": loops_and_repeats,
    "no_edges": no_edges,
}


def topology_of(graph, original_id=None, weights=None):
    topology = _kernels.Topology(np.array([0, graph.num_vertices]))
    topology.set_part(0, graph.indptr, graph.indices, original_id, graph.edge_id, weight=weights)
    return topology


def with_source_keys(graph, original_id=None, num_threads=1, weights=None):
    """A topology whose neighbours may be drawn by key."""
    topology = topology_of(graph, original_id, weights)
    own = np.arange(graph.num_vertices) if original_id is None else original_id
    none = np.zeros(0, dtype=np.int64)
    keys = np.empty(len(graph.indices), dtype=np.uint32)
    _kernels.source_keys(graph.indptr, graph.indices, 0, own, none, none, keys, num_threads)
    topology.set_source_keys(0, keys)
    return topology
