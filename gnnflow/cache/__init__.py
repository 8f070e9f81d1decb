"""The halo cache: which remote rows a rank keeps, and how far it looks ahead to choose them."""

from gnnflow.cache.belady import belady_hits
from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.transfer import LookaheadWindow
from gnnflow.cache.vip import inclusion_probabilities

__all__ = ["HaloCache", "LookaheadWindow", "belady_hits", "inclusion_probabilities"]
