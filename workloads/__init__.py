"""GEMM workloads."""
