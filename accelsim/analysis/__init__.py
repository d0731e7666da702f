"""Analyses of workloads: heavy hitters, and where low-bit integers break even."""
