"""Rounding, digits, bounds and the oracle: the arithmetic that makes products exact."""
