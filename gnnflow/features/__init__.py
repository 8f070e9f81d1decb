"""Rows by vertex: where they are kept and how they are fetched."""

from gnnflow.features.dist_feature_store import DistFeatureStore, FetchUnderWay
from gnnflow.features.feature_store import FeatureStore, FetchCounts
from gnnflow.features.row_plan import RowPlan

__all__ = [
    "DistFeatureStore",
    "FeatureStore",
    "FetchCounts",
    "FetchUnderWay",
    "RowPlan",
]
