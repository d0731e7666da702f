"""Run the GEMMs of a whole PyTorch model, forward and backward, on integers."""

from accelsim.integer_mode.mode import IntegerGemms
from accelsim.integer_mode.opening import integer_gemms, invariant
from accelsim.integer_mode.pinned import Pinning
from accelsim.integer_mode.replacing import Replacing, Selection
from accelsim.integer_mode.tally import Tally
from accelsim.settings import KINDS, PerKind

__all__ = [
    "KINDS",
    "IntegerGemms",
    "PerKind",
    "Pinning",
    "Replacing",
    "Selection",
    "Tally",
    "integer_gemms",
    "invariant",
]
