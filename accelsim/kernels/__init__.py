"""CUDA and CPU kernels that several packages need, and how they are built."""
