"""The public name of `accelsim.arithmetic.rounding`."""

from accelsim.arithmetic.rounding import Quantized, alpha, quantize, rank

__all__ = ["Quantized", "alpha", "quantize", "rank"]
