"""What one H100 80GB HBM3 can do, measured; floors are stated against these."""

BYTES_PER_S = 3.0e12
"""Copy bandwidth, bytes read and written."""

INT8_MACS_PER_S = 8192**3 / 0.774e-3
"""Rate of an int8 wgmma GEMM at 8192 cubed."""
