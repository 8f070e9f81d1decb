"""Neighbour sampling the plain way: Python integers and dictionaries, one vertex at a time."""

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


def plain_sample(graph, seeds, fanouts, seed, epoch, minibatch, *, replace=False, original_id=None):
    sample = PlainSample([int(vertex) for vertex in seeds])
    number = {vertex: i for i, vertex in enumerate(sample.vertices)}
    sample.num_sampled_vertices.append(len(sample.vertices))
    begin = 0
    for hop, fanout in enumerate(fanouts):
        end, edges_before = len(sample.vertices), len(sample.src)
        for vertex in sample.vertices[begin:end]:
            first, last = int(graph.indptr[vertex]), int(graph.indptr[vertex + 1])
            original = vertex if original_id is None else int(original_id[vertex])
            stream = Stream(seed, epoch, minibatch, hop, original)
            for position in drawn_positions(stream, last - first, fanout, replace):
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
