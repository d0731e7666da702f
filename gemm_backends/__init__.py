"""GEMM backends."""
