"""Models whose linear layers were converted to exact integer products, in place."""

from accelsim.integer_mode.converted.config import IntegerConfig
from accelsim.integer_mode.converted.context import PreparedGemms
from accelsim.integer_mode.converted.conversion import Conversion, check, dequantize_, quantize_

__all__ = ["Conversion", "IntegerConfig", "PreparedGemms", "check", "dequantize_", "quantize_"]
