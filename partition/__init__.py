"""Cutting a graph into parts, the files that hold them, and how good the cut is."""

from gnnflow.partition.book import PartitionBook
from gnnflow.partition.graph_partition import GraphPartition, HaloTopology, open_partition
from gnnflow.partition.manifest import Manifest
from gnnflow.partition.partition_graph import partition_graph
from gnnflow.partition.quality import PartitionReport
from gnnflow.partition.reader import read_manifest

__all__ = [
    "GraphPartition",
    "HaloTopology",
    "Manifest",
    "PartitionBook",
    "PartitionReport",
    "open_partition",
    "partition_graph",
    "read_manifest",
]
