"""Neighbour sampling the plain way: Python integers and dictionaries, one vertex at a time."""

import math
from dataclasses import dataclass, field

import numpy as np

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def chain(*numbers):
    state = 0
    for number in numbers:
        state = mix(((state ^ (number & MASK)) + GOLDEN) & MASK)
    return state


class Stream:
    """The numbers of one vertex."""

    def __init__(self, seed, epoch, minibatch, hop, original_id):
        self.state = chain(seed, epoch, minibatch, hop, original_id)

    def below(self, bound):
        self.state = (self.state + GOLDEN) & MASK
        return (mix(self.state) * bound) >> 64

    def unit(self):
        self.state = (self.state + GOLDEN) & MASK
        return ((mix(self.state) >> 12) + 0.5) * 2.0**-52


def drawn_positions(stream, degree, fanout, replace):
    if fanout < 0 or degree == 0 or (not replace and fanout >= degree):
        return list(range(degree))
    if replace:
        return sorted(stream.below(degree) for _ in range(fanout))
    taken = set()
    for last in range(degree - fanout, degree):  # Floyd's
        pick = stream.below(last + 1)
        taken.add(last if pick in taken else pick)
    return sorted(taken)


def source_keys(indptr, indices, original_id=None):
    """What stands for each entry's source: its id in the input and how often it came before."""
    keys = np.empty(len(indices), dtype=np.uint32)
    for first, last in zip(indptr[:-1], indptr[1:], strict=True):
        seen = {}
        for entry in range(first, last):
            source = int(indices[entry])
            occurrence = seen.get(source, 0)
            seen[source] = occurrence + 1
            original = source if original_id is None else int(original_id[source])
            keys[entry] = chain(original, occurrence) >> 32
    return keys


def finalised(key):
    key = ((key ^ (key >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    return ((key ^ (key >> 15)) * 0x846CA68B) & 0xFFFFFFFF


def entry_key(source, seed, step, every):
    """The key of a source in a step; sources renew theirs one after the other."""
    phase_ends = ((every - step % every) << 32) // every
    state = chain(1, seed, step // every + (source >= phase_ends))
    key = finalised(source ^ (state & 0xFFFFFFFF))
    key = finalised((key ^ (key >> 16)) ^ (state >> 32))
    return key ^ (key >> 16)


def keyed_positions(sources, fanout, seed, step, every):
    """Positions of the smallest keys, in their order; the first of equal ones."""
    if fanout < 0 or fanout >= len(sources):
        return list(range(len(sources)))
    keys = [(entry_key(int(source), seed, step, every), i) for i, source in enumerate(sources)]
    return sorted(i for _, i in sorted(keys)[:fanout])


def smallest_by_weight(weights, fanout, opposites):
    """Positions of the smallest -log(1 - opposite) / weight, in their order; none of weight 0.

    The logarithm of `math` is that of the C library, as in the kernel: of equal keys, which only
    rounding can make of different numbers, both would keep the first.
    """
    keys = [
        (-math.log(1 - opposite) / float(weight), i)
        for i, (weight, opposite) in enumerate(zip(weights, opposites, strict=True))
        if weight > 0
    ]
    return sorted(i for _, i in sorted(keys)[:fanout])


def weighted_positions(stream, weights, fanout, replace):
    if fanout < 0:
        return list(range(len(weights)))
    if not replace:
        return smallest_by_weight(weights, fanout, [stream.unit() for _ in weights])
    drawable = np.flatnonzero(weights > 0)
    if not len(drawable):
        return []
    sums = np.cumsum(weights[drawable], dtype=np.float64)
    places = [np.searchsorted(sums, stream.unit() * sums[-1], "right") for _ in range(fanout)]
    return sorted(int(drawable[min(place, len(drawable) - 1)]) for place in places)


def keyed_weighted_positions(sources, weights, fanout, seed, step, every):
    if fanout < 0:
        return list(range(len(weights)))
    keys = [entry_key(int(source), seed, step, every) for source in sources]
    return smallest_by_weight(weights, fanout, [(key + 0.5) * 2.0**-32 for key in keys])


@dataclass
class Csc:
    """In-neighbours of every vertex, and the number of the input edge behind each entry."""

    indptr: np.ndarray
    indices: np.ndarray
    edge_id: np.ndarray

    @classmethod
    def from_edges(cls, num_vertices, sources, destinations, dtype=np.int64):
        sources = np.asarray(sources, dtype=np.int64)
        destinations = np.asarray(destinations, dtype=np.int64)
        order = np.argsort(destinations, kind="stable")
        indptr = np.zeros(num_vertices + 1, dtype=np.int64)
        np.cumsum(np.bincount(destinations, minlength=num_vertices), out=indptr[1:])
        return cls(indptr, sources[order].astype(dtype), order.astype(np.int64))

    @property
    def num_vertices(self):
        return len(self.indptr) - 1


@dataclass
class PlainSample:
    vertices: list
    indptr: list = field(default_factory=lambda: [0])
    src: list = field(default_factory=list)
    edge_ids: list = field(default_factory=list)
    num_sampled_vertices: list = field(default_factory=list)
    num_sampled_edges: list = field(default_factory=list)


def plain_sample(
    graph,
    seeds,
    fanouts,
    seed,
    epoch,
    minibatch,
    *,
    replace=False,
    original_id=None,
    every=0,
    weights=None,
):
    keys = source_keys(graph.indptr, graph.indices, original_id) if every else None
    sample = PlainSample([int(vertex) for vertex in seeds])
    number = {vertex: i for i, vertex in enumerate(sample.vertices)}
    sample.num_sampled_vertices.append(len(sample.vertices))
    begin = 0
    for hop, fanout in enumerate(fanouts):
        end, edges_before = len(sample.vertices), len(sample.src)
        for vertex in sample.vertices[begin:end]:
            first, last = int(graph.indptr[vertex]), int(graph.indptr[vertex + 1])
            original = vertex if original_id is None else int(original_id[vertex])
            entries = slice(first, last)
            if every and weights is not None:
                rule = (fanout, seed, minibatch, every)
                drawn = keyed_weighted_positions(keys[entries], weights[entries], *rule)
            elif weights is not None:
                stream = Stream(seed, epoch, minibatch, hop, original)
                drawn = weighted_positions(stream, weights[entries], fanout, replace)
            elif every:
                drawn = keyed_positions(keys[first:last], fanout, seed, minibatch, every)
            else:
                stream = Stream(seed, epoch, minibatch, hop, original)
                drawn = drawn_positions(stream, last - first, fanout, replace)
            for position in drawn:
                neighbor = int(graph.indices[first + position])
                if neighbor not in number:
                    number[neighbor] = len(sample.vertices)
                    sample.vertices.append(neighbor)
                sample.src.append(number[neighbor])
                sample.edge_ids.append(int(graph.edge_id[first + position]))
            sample.indptr.append(len(sample.src))
        sample.num_sampled_vertices.append(len(sample.vertices) - end)
        sample.num_sampled_edges.append(len(sample.src) - edges_before)
        begin = end
    return sample


def assert_same(arrays, expected, *, with_edge_ids=True):
    assert arrays.vertices.tolist() == expected.vertices
    assert arrays.indptr.tolist() == expected.indptr
    assert arrays.src.tolist() == expected.src
    assert list(arrays.num_sampled_vertices) == expected.num_sampled_vertices
    assert list(arrays.num_sampled_edges) == expected.num_sampled_edges
    assert arrays.num_seeds == expected.num_sampled_vertices[0]
    if with_edge_ids:
        assert arrays.edge_ids.tolist() == expected.edge_ids
    else:
        assert arrays.edge_ids is None


def assert_equal_arrays(one, other):
    for name in ("vertices", "indptr", "src"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert list(one.num_sampled_vertices) == list(other.num_sampled_vertices)
    assert list(one.num_sampled_edges) == list(other.num_sampled_edges)
    if one.edge_ids is None or other.edge_ids is None:
        assert one.edge_ids is other.edge_ids
    else:
        np.testing.assert_array_equal(one.edge_ids, other.edge_ids)
