"""Floating-point products to compare with: what a user would run instead of exact integers.

Importing this package imports no baseline.
"""

from gemm_backends.baselines.base import Baseline
from gemm_backends.baselines.loading import list_baselines, load_baseline

__all__ = ["Baseline", "list_baselines", "load_baseline"]
