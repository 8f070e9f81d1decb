"""The halo cache in plain Python: dictionaries, sorted anew for every minibatch."""

import math
from collections import defaultdict

import numpy as np


class PlainScorer:
    """Remembers a minibatch at a time; `priority` may look at everything."""

    def announce(self, ids): ...

    def touch(self, ids, cached): ...

    def fill(self, ids): ...

    def priority(self, vertex):
        raise NotImplementedError


class PlainLru(PlainScorer):
    def __init__(self):
        self.last_use = defaultdict(int)
        self.now = 0

    def touch(self, ids, cached):
        self.now += 1
        for vertex in ids:
            self.last_use[vertex] = self.now

    def priority(self, vertex):
        return self.last_use[vertex]


class PlainFrequency(PlainScorer):
    def __init__(self, factor, prior=None):
        self.factor = factor
        self.prior = prior or {}
        self.counts = {}

    def count(self, vertex):
        if vertex not in self.counts:
            self.counts[vertex] = float(self.prior.get(vertex, 0)) / (1 - self.factor)
        return self.counts[vertex]

    def touch(self, ids, cached):
        for vertex in ids:
            self.count(vertex)
        for vertex in self.counts:
            self.counts[vertex] *= self.factor
        for vertex in ids:
            self.counts[vertex] += 1

    def fill(self, ids):
        for vertex in ids:
            self.count(vertex)

    def priority(self, vertex):
        return float(np.float32(self.count(vertex)))


class PlainVip(PlainScorer):
    def __init__(self, probabilities):
        self.probabilities = probabilities

    def priority(self, vertex):
        return self.probabilities.get(vertex, 0.0)


class PlainLookahead(PlainScorer):
    def __init__(self, beyond):
        self.beyond = beyond
        self.window = []

    def announce(self, ids):
        self.window.append(set(ids))

    def touch(self, ids, cached):
        self.window.pop(0)
        self.beyond.touch(ids, cached)

    def fill(self, ids):
        self.beyond.fill(ids)

    def priority(self, vertex):
        for distance, ids in enumerate(self.window):
            if vertex in ids:
                return (1, -distance)
        return (0, self.beyond.priority(vertex))


class PlainCache:
    """Keeps the best of cached and arrived rows."""

    def __init__(self, capacity, scorer):
        self.capacity = capacity
        self.scorer = scorer
        self.slots = []  # vertex in each used slot

    @property
    def cached(self):
        return set(self.slots)

    def fill(self, values):
        ranked = sorted((v for v in values if values[v] > 0), key=lambda v: (-values[v], v))
        self.slots = ranked[: self.capacity]
        self.scorer.fill(self.slots)

    def plan(self, ids, fraction=1.0):
        hits = [vertex for vertex in ids if vertex in self.slots]
        misses = [vertex for vertex in ids if vertex not in self.slots]
        self.scorer.touch(ids, self.cached)
        priority = self.scorer.priority
        # Worst first: on a tie arrived rows go before cached ones, later ones before earlier ones,
        # and cached ones by slot.
        cached = [(priority(vertex), 1, slot) for slot, vertex in enumerate(self.slots)]
        arrived = [(priority(vertex), 0, -i) for i, vertex in enumerate(misses)]
        num_drops = max(0, len(cached) + len(arrived) - self.capacity)
        dropped = sorted(cached + arrived)[:num_drops]
        num_evictions = math.ceil(fraction * sum(kind for _, kind, _ in dropped))
        freed = sorted(slot for _, _, slot in sorted(cached)[:num_evictions])
        too_bad = {-i for _, _, i in sorted(arrived)[: num_drops - num_evictions]}
        entering = [vertex for i, vertex in enumerate(misses) if i not in too_bad]
        leaving = [self.slots[slot] for slot in freed]
        for vertex in entering:
            if len(self.slots) < self.capacity:
                self.slots.append(vertex)
            else:
                self.slots[freed.pop(0)] = vertex
        return set(hits), set(misses), set(), set(entering), set(leaving)


class PlainDecay:
    """The published scheme, with whole-buffer decay."""

    def __init__(self, capacity, alpha, period):
        self.capacity = capacity
        self.decay = 1 - alpha
        self.threshold = (1 - alpha) ** period
        self.scores = {}
        self.misses = defaultdict(float)

    @property
    def cached(self):
        return set(self.scores)

    def fill(self, values):
        ranked = sorted((v for v in values if values[v] > 0), key=lambda v: (-values[v], v))
        self.scores = dict.fromkeys(ranked[: self.capacity], 1.0)

    def plan(self, ids, fraction=1.0):
        hits = {vertex for vertex in ids if vertex in self.scores}
        misses = {vertex for vertex in ids if vertex not in self.scores}
        for vertex in self.scores:
            if vertex not in hits:
                self.scores[vertex] *= self.decay
        for vertex in misses:
            self.misses[vertex] += 1
        if fraction == 0:
            return hits, misses, set(), set(), set()
        stale = [v for v, score in self.scores.items() if score < self.threshold * (1 - 1e-9)]
        stale = sorted(stale, key=lambda v: (self.scores[v], -v))
        room = self.capacity - len(self.scores)
        wanted = [v for v, count in self.misses.items() if v not in self.scores and count > 0]
        planned = math.ceil(fraction * min(room + len(stale), len(wanted)))
        entering = sorted(wanted, key=lambda v: (-self.misses[v], v))[:planned]
        leaving = stale[: max(0, len(entering) - room)]
        for vertex in leaving:
            self.misses[vertex] = self.scores.pop(vertex)
        for vertex in entering:
            self.scores[vertex] = self.misses.pop(vertex)
        return hits, misses, set(entering) - misses, set(entering), set(leaving)
