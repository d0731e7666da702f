"""accelsim: hardware emulation and benchmarks for low-bit accelerators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelsim.integer_mode import integer_gemms as integer_gemms

__all__ = ["__version__", "integer_gemms"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `integer_gemms` when it is asked for: it needs PyTorch, which takes a while."""
    if name == "integer_gemms":
        from accelsim.integer_mode import integer_gemms

        return integer_gemms
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names that users call, those that are not imported yet included."""
    return sorted(__all__)
