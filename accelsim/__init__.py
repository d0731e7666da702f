"""accelsim: hardware emulation and benchmarks for low-bit accelerators."""

__version__ = "0.1.0"
