"""accelsim: the GEMMs of real Transformers, computed exactly on low-bit integers.

Call one of these first:

- `integer_gemms` runs any PyTorch model on integers within a context, forward and backward;
- `invariant` does so with the same bits of a token in every batch;
- `quantize_` converts a model for good: its linear layers then hold integers;
- `choose` finds the least β that keeps the error of a product below a tolerance.

Backends are classes of `gemm_backends`, and ``accelsim --help`` lists the commands. README.md is
the place to begin.

Examples
--------
>>> import accelsim
>>> import torch
>>> model = torch.nn.Linear(64, 32)
>>> x = torch.randn(8, 64)
>>> with torch.no_grad(), accelsim.integer_gemms(model, beta=127) as mode:
...     y = model(x)
>>> print(mode.tally)
1 GEMM in integers, 100.0% of the GEMMs' multiplications
  op      phase    GEMMs    MACs
  linear  forward      1  16,384
  MACs: multiplications of the GEMMs
  no unpack ratio r: without a backend nothing is unpacked
  linear: products with weights, those of convolutions, too
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelsim.analysis.choosing import choose as choose
    from accelsim.integer_mode import integer_gemms as integer_gemms
    from accelsim.integer_mode import invariant as invariant
    from accelsim.integer_mode.converted import IntegerConfig as IntegerConfig
    from accelsim.integer_mode.converted import check as check
    from accelsim.integer_mode.converted import dequantize_ as dequantize_
    from accelsim.integer_mode.converted import quantize_ as quantize_
    from accelsim.integer_mode.converted.joining import JoinProducts as JoinProducts

_PLACES = {
    "choose": "accelsim.analysis.choosing",
    "integer_gemms": "accelsim.integer_mode",
    "invariant": "accelsim.integer_mode",
    "IntegerConfig": "accelsim.integer_mode.converted",
    "JoinProducts": "accelsim.integer_mode.converted.joining",
    "check": "accelsim.integer_mode.converted",
    "dequantize_": "accelsim.integer_mode.converted",
    "quantize_": "accelsim.integer_mode.converted",
}

__all__ = [
    "IntegerConfig",
    "JoinProducts",
    "__version__",
    "check",
    "choose",
    "dequantize_",
    "integer_gemms",
    "invariant",
    "quantize_",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what users call when it is asked for: it needs PyTorch, which takes a while."""
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names that users call, those that are not imported yet included."""
    return sorted(__all__)
