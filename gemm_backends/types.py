"""What a backend says about itself and about one GEMM."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from gemm_backends.base import GemmBackend

Overflow: TypeAlias = Literal["wrap", "saturate", "error", "undefined"]
"""What an accumulator does with a sum that does not fit it."""

Execution: TypeAlias = Literal["native", "emulated", "fallback"]
"""How a product is computed.

``native``: by the hardware unit that the backend stands for; ``emulated``: a model of that unit, in
software; ``fallback``: exactly, but by slower instructions than the ones the backend stands for.
"""

Status: TypeAlias = Literal["passed", "failed", "skipped"]
"""How a check or a step ended."""

Operand: TypeAlias = Any
"""What `GemmBackend.prepare` returns and `GemmBackend.matmul` takes: the backend's own business."""


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
        How products are computed.
    device : str
        The torch device on which digits must lie, such as ``"cpu"`` or ``"cuda"``.
    """

    available: bool
    reason: str = ""
    execution: Execution = "native"
    device: str = "cpu"


@dataclass(frozen=True)
class GemmSpec:
    """One low-bit product ``[n, d] x [h, d] -> [n, h]`` of `bits_a`-bit by `bits_b`-bit digits."""

    bits_a: int
    bits_b: int
    n: int
    d: int
    h: int


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
    """What a model of the accelerator predicts for one GEMM.

    Parameters
    ----------
    model : str
        Which model says so, with its source.
    cycles : float or None
        Clock cycles.
    energy_pj : float or None
        Energy in picojoules.
    area_um2 : float or None
        Area of the array in square micrometres.
    """

    model: str
    cycles: float | None = None
    energy_pj: float | None = None
    area_um2: float | None = None


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

    count: int | None
    first: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Outcome:
    """The result of one check or step.

    Parameters
    ----------
    name : str
        What was checked or done.
    status : {"passed", "failed", "skipped"}
        How it ended.
    detail : str
        What was found, why it failed or why it was skipped.
    seconds : float
        How long it took.
    """

    name: str
    status: Status
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Action:
    """A command-line flag that a backend adds to a command of the suite.

    Parameters
    ----------
    command : {"verify", "doctor"}
        The command that gets the flag.
    flag : str
        Its name without the dashes, such as ``"rtl"``.
    help : str
        One sentence for ``--help``.
    run : callable
        Takes an instance of the backend and yields an `Outcome` for every step, which the command
        shows among its own.
    """

    command: Literal["verify", "doctor"]
    flag: str
    help: str
    run: Callable[[GemmBackend], Iterable[Outcome]]
