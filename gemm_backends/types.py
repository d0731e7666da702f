"""Types by which a backend describes itself and one GEMM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

Overflow: TypeAlias = Literal["wrap", "saturate", "error", "undefined"]
"""The behaviour of an accumulator when a sum does not fit."""

Execution: TypeAlias = Literal["native", "emulated", "fallback"]
"""The way in which a product is computed.

``native``: by the hardware unit that the backend stands for; ``emulated``: a model of that unit, in
software; ``fallback``: exactly, but by slower instructions than the ones the backend stands for.
"""

Status: TypeAlias = Literal["passed", "failed", "skipped"]
"""The outcome of a check or a step."""

Operand: TypeAlias = Any
"""What `GemmBackend.prepare` returns and `GemmBackend.matmul` takes: opaque to the caller."""


@dataclass(frozen=True)
class Accumulator:
    """The signed register that a backend sums products in.

    Parameters
    ----------
    bits : int
        Width of the two's-complement register, 2 to 64.
    overflow : {"wrap", "saturate", "error", "undefined"}
        What happens to a sum that does not fit: it is taken modulo ``2**bits``; it stops at the
        nearest limit, at every step of the sum; the backend raises `AccumulatorOverflow`; or it
        depends on the shape, as with libraries that choose among kernels.

    Raises
    ------
    ValueError
        If a value is not one of these.
    """

    bits: int
    overflow: Overflow

    def __post_init__(self) -> None:
        if (
            isinstance(self.bits, bool)
            or not isinstance(self.bits, int)
            or not 2 <= self.bits <= 64
        ):
            raise ValueError(f"accumulator bits must be an integer from 2 to 64, got {self.bits!r}")
        if self.overflow not in get_args(Overflow):
            allowed = ", ".join(get_args(Overflow))
            raise ValueError(
                f"accumulator overflow must be one of {allowed}, got {self.overflow!r}"
            )

    @property
    def minimum(self) -> int:
        """The smallest value that fits."""
        return -(1 << (self.bits - 1))

    @property
    def maximum(self) -> int:
        """The largest value that fits."""
        return (1 << (self.bits - 1)) - 1


@dataclass(frozen=True)
class Availability:
    """Whether a backend can run on this machine, and how.

    Parameters
    ----------
    available : bool
        Whether it can run.
    reason : str
        Why it cannot, and what would help; or a remark on how it runs.
    execution : {"native", "emulated", "fallback"}
        How products are computed. That they are native is a claim, which the conformance kit
        examines; it is never the default.
    device : str
        The torch device on which digits must be, such as ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    ValueError
        If `execution` is not one of these.
    """

    available: bool
    reason: str = ""
    execution: Execution = "emulated"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.execution not in get_args(Execution):
            allowed = ", ".join(get_args(Execution))
            raise ValueError(f"execution must be one of {allowed}, got {self.execution!r}")


class Tile(NamedTuple):
    """Three sizes along n, d (the summed dimension) and h of a GEMM, such as those of an array.

    Parameters
    ----------
    n, d, h : int
        At least 1 each.
    """

    n: int = 1
    d: int = 1
    h: int = 1

    def padded(self, n: int, d: int, h: int) -> tuple[int, int, int]:
        """Round the dimensions of a GEMM up to multiples of these sizes.

        Parameters
        ----------
        n, d, h : int
            Dimensions of the GEMM.

        Returns
        -------
        tuple[int, int, int]
            n, d and h, rounded up.
        """
        return -(-n // self.n) * self.n, -(-d // self.d) * self.d, -(-h // self.h) * self.h


@dataclass(frozen=True)
class GemmSpec:
    """One low-bit product ``[n, d] x [h, d] -> [n, h]``.

    Parameters
    ----------
    bits_a, bits_b : int
        Width of the digits of A and of B.
    n, d, h : int
        Dimensions.
    signed_a, signed_b : bool
        Whether digits of A and of B may be negative.
    """

    bits_a: int
    bits_b: int
    n: int
    d: int
    h: int
    signed_a: bool = True
    signed_b: bool = True


@dataclass(frozen=True)
class Support:
    """Whether a backend can compute a GEMM; true or false where a condition is wanted.

    Parameters
    ----------
    ok : bool
        Whether it can.
    reason : str
        Why it cannot.
    """

    ok: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True)
class Cost:
    """The predictions of a model of the accelerator for one GEMM.

    Parameters
    ----------
    cycles : float or None
        Clock cycles.
    energy_pj : float or None
        Energy in picojoules.
    area_um2 : float or None
        Area of the array in square micrometres.
    model : str
        The model, with its source; by default the backend's name stands for it.
    relative_area : float or None
        Area of the accelerator over that of a reference, which `basis` names.
    peak_macs : int or None
        Multiply-accumulates that the array does in one cycle at most.
    basis : mapping
        Where figures come from: for ``"cycles"``, ``"energy"`` or ``"relative_area"`` a word such
        as ``"measured"``, ``"computed"``, ``"cited"`` or ``"interpolated"``, and the source.
    stall_cycles : float or None
        Those of the cycles in which the array waits for memory.
    seconds : float or None
        The cycles at the accelerator's clock.
    traffic : mapping
        Bytes that move, by level and operand: ``{"dram": {"a": ..., "b": ..., "c_read": ...,
        "c_write": ..., "front_end": ..., "maps": ...}, "sram": {...}}``.
    energy_by_pj : mapping
        Picojoules by component, such as ``"multiply"``, ``"accumulate"``, ``"shift_add"``,
        ``"sram"``, ``"dram"`` and ``"leakage"``.
    mapping : mapping
        How the product is laid out in time, in JSON values: the tile, the order of the loops, and
        how they were chosen; empty for the model's own way.
    dram_bandwidth : float or None
        Bytes that DRAM moves in a cycle at most; None if there is no limit, or no DRAM.
    """

    cycles: float | None = None
    energy_pj: float | None = None
    area_um2: float | None = None
    model: str = ""
    relative_area: float | None = None
    peak_macs: int | None = None
    basis: Mapping[str, str] = field(default_factory=dict)
    stall_cycles: float | None = None
    seconds: float | None = None
    traffic: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    energy_by_pj: Mapping[str, float] = field(default_factory=dict)
    mapping: Mapping[str, Any] = field(default_factory=dict)
    dram_bandwidth: float | None = None


@dataclass(frozen=True)
class UnpackWork:
    """The work of one GEMM other than its low-bit products.

    Parameters
    ----------
    shift_adds : int
        Additions of shifted entries of products into C.
    sums : int
        Entries of one matrix of C.
    operand_bytes : int
        Bytes of the float operands, which a pass reads to find and split heavy hitters.
    digits_a, digits_b : int
        Digits that this pass writes.
    mapped_lines : int
        Lines of products that belong to another line of C than their own, or have a power of two.
    values : int
        Entries of the operands that the pass reads.
    entries : int
        Single high digits that it writes with their places, for lanes that correct in place.
    """

    shift_adds: int
    sums: int = 0
    operand_bytes: int = 0
    digits_a: int = 0
    digits_b: int = 0
    mapped_lines: int = 0
    values: int = 0
    entries: int = 0


@dataclass(frozen=True)
class OverflowReport:
    """The steps of a product at which the accumulator overflowed.

    Parameters
    ----------
    count : int or None
        Number of such steps over the whole product; None if the backend cannot tell.
    first : tuple of int or None
        ``(..., row, column, k)`` of the first one in row-major order of the result, batch indices
        in front; None if there is none or the backend cannot tell.
    """

    count: int | None = None
    first: tuple[int, ...] | None = None
