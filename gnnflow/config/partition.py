"""Options: how a graph is cut."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from gnnflow.config.option_values import check_whole_numbers, require, require_at_least

DEFAULT_PARTS = 4
"""Number of parts of a graph that comes whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionConfig:
    """How a graph is cut into parts."""

    num_parts: int | None = None
    """Number of parts; training needs as many ranks as there are parts. By default as many as the
    graph comes in, or 4."""

    method: Literal["auto", "metis", "ldg", "random", "mtkahypar", "keep"] = "auto"
    """Who cuts: METIS, a streaming partitioner for graphs METIS cannot hold (ldg), chance,
    Mt-KaHyPar on several threads (an extra; slower, fewer cut edges on power-law graphs), or nobody
    (keep) where the graph comes in parts. auto keeps parts whose number is right, else takes
    METIS."""

    hosts: int = 1
    """Machines: the graph is cut between them first, then inside each. Must divide num_parts."""

    seed: int = 0
    """Seed of the partitioner, of a generated graph, and of a split by chance."""

    halo_hops: int = 0
    """Further hops of topology stored with each part: sampling asks nobody for these hops."""

    feature_dtype: Literal["stored", "float16", "bfloat16", "int8"] = "stored"
    """Type in which the features are kept, on disk and on their way between ranks: as they come
    (stored), in half (float16, bfloat16) or a quarter (int8, with a scale per row) of float32."""

    undirected: bool = False
    """Add the reverse of every edge and merge parallel edges, as PyG's to_undirected does."""

    val_edges: float = 0.0
    """Share of edges kept out of the graph to validate link prediction on, in [0, 1)."""

    test_edges: float = 0.0
    """Share of edges kept out of the graph to test link prediction on, in [0, 1)."""

    edge_split_seed: int = 0
    """Which edges those are: a hash of this number and their two vertices decides."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        check_whole_numbers(self)
        require_at_least(self, 1, "num_parts", "hosts")
        require(
            self.num_parts is None or self.num_parts % self.hosts == 0,
            f"hosts must divide num_parts, got hosts {self.hosts} and num_parts {self.num_parts}; "
            "every machine holds as many parts as the next",
        )
        require_at_least(self, 0, "seed")
        for name in ("val_edges", "test_edges"):
            share = getattr(self, name)
            require(0 <= share < 1, f"{name} must be a share in [0, 1), got {share}")
        require(
            self.val_edges + self.test_edges < 1,
            f"val_edges and test_edges must leave edges to learn from, got {self.val_edges} and "
            f"{self.test_edges}",
        )
        require_at_least(self, 0, "edge_split_seed", "halo_hops")

    def settled(self, graph_parts: int | None) -> Self:
        """Fills in what depends on the graph: the number of parts, and the method.

        Args:
            graph_parts: Number of parts that the graph comes in, None if it comes whole.

        Raises:
            ConfigError: if parts are to be kept and there are none, or another number of them.
        """
        num_parts = self.num_parts or graph_parts or DEFAULT_PARTS
        method = self.method
        if method == "auto":
            method = "keep" if num_parts == graph_parts else "metis"
        if method == "keep":
            require(
                graph_parts is not None,
                "method is keep, but the graph comes whole, not in parts; use --method metis",
            )
            require(
                num_parts == graph_parts,
                f"method is keep and the graph comes in {graph_parts} parts, but num_parts is "
                f"{num_parts}; leave out --num-parts, or cut anew with --method metis",
            )
        return replace(self, num_parts=num_parts, method=method)
