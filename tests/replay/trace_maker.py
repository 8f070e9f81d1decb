"""Small traces that look like those of training: some vertices are asked for again and again."""

import numpy as np

from gnnflow.cache.vertex_values import VertexValues
from gnnflow.replay import TraceFacts, TraceRecorder


def make_minibatches(seed, num_minibatches=80, num_vertices=400):
    generator = np.random.default_rng(seed)
    weights = generator.random(num_vertices) ** 4
    for _ in range(num_minibatches):
        wanted = np.flatnonzero(generator.random(num_vertices) < weights)
        yield (generator.permutation(wanted) * 3 + 1).astype(np.int64)


def make_trace(seed=0, num_minibatches=80, num_vertices=400, rank=0, num_ranks=1, **facts):
    generator = np.random.default_rng((seed, 1))
    ids = np.arange(num_vertices, dtype=np.int64) * 3 + 1
    halo = ids[generator.random(num_vertices) < 0.8]
    degree = generator.integers(0, 50, len(halo))
    vip = VertexValues(ids, generator.random(num_vertices).astype(np.float32))
    facts = {"graph": "toy", "row_bytes": 64, "fanout": (3, 2)} | facts
    recorder = TraceRecorder(TraceFacts(rank=rank, num_ranks=num_ranks, **facts), halo, degree, vip)
    minibatches = make_minibatches(seed, num_minibatches, num_vertices)
    for number, wanted in enumerate(minibatches):
        recorder.add(wanted, epoch=number // 20, num_seeds=8, subgraph_bytes=16 * len(wanted))
    return recorder.trace()
