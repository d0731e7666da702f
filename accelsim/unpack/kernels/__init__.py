"""Kernels that count and write digits, on the CPU and on any other device."""
