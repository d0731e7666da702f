"""Small types that every package may use, and the contract of a route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import Tensor

    from accelsim.arithmetic.digits import DigitSystem

T = TypeVar("T")
U = TypeVar("U")

Side: TypeAlias = Literal["a", "b"]
"""An operand of a GEMM ``C = A @ B.T``."""

SIDES: tuple[Side, Side] = ("a", "b")

Wide: TypeAlias = "npt.NDArray[np.object_]"
"""Python integers, for what int64 may not hold."""


@dataclass(frozen=True, init=False)
class PerOperand(Generic[T]):
    """One value for operand A and one for operand B of a GEMM ``C = A @ B.T``.

    Parameters
    ----------
    a : T
        Of A.
    b : T
        Of B.
    """

    a: T
    b: T

    def __init__(self, a: T, b: T) -> None:
        # Every GEMM of a model makes several: a frozen dataclass would take five times as long.
        fields = self.__dict__
        fields["a"], fields["b"] = a, b

    @classmethod
    def both(cls, value: T) -> PerOperand[T]:
        """Give A and B the same value.

        Parameters
        ----------
        value : T
            The value of A and of B.
        """
        return cls(value, value)

    def map(self, function: Callable[[T], U]) -> PerOperand[U]:
        """Apply `function` to the value of each operand.

        Parameters
        ----------
        function : callable
            What is called with each value.

        Returns
        -------
        PerOperand[U]
            The results for A and for B.
        """
        return PerOperand(function(self.a), function(self.b))

    def of(self, side: Side) -> T:
        """Return the value of one operand.

        Parameters
        ----------
        side : Side
            ``a`` or ``b``.
        """
        return self.a if side == "a" else self.b

    def to_record(self) -> T | dict[str, T]:
        """Return the common value if there is one, else ``{"a": ..., "b": ...}``."""
        return self.a if self.a == self.b else {"a": self.a, "b": self.b}


@dataclass(frozen=True)
class Rounding:
    """Settings for rounding one operand to integers.

    Parameters
    ----------
    percentile : float
        The percentile p, in (0, 100], of the magnitudes that becomes α_p.
    beta : float
        Number of integer steps that α_p spans on both sides: α_p itself becomes β / 2.
    granularity : str
        ``tensor``: one scale for the tensor, all heads together; ``row``: one for every row.
    zero_alpha : str
        What happens where α_p is 0 and the tensor is not: ``error``, or ``nonzero`` for the
        percentile of the entries that are not 0.
    """

    percentile: float = 95.0
    beta: float = 15.0
    granularity: str = "tensor"
    zero_alpha: str = "error"


@dataclass(frozen=True)
class StrategyChoice:
    """A strategy of unpacking with its options.

    Parameters
    ----------
    name : str
        A strategy's name, a pair such as ``row/column``, ``path/to/file.py:ClassName``, or
        ``fused`` for the backend's own way from floats to the product.
    options : mapping
        Arguments of its constructor.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.name)  # options may hold lists

    def __str__(self) -> str:
        """Write it as command lines take it and records keep it: ``name(option=value)``."""
        listed = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        return f"{self.name}({listed})" if listed else self.name

    def to_record(self) -> str | dict[str, Any]:
        """Return the choice as a config has it: the name alone where there are no options."""
        return {"name": self.name, **self.options} if self.options else self.name


FUSED = "fused"
"""The reserved name of the strategy that asks a backend for its own route."""


@dataclass(frozen=True)
class Request:
    """The task of a route: round two operands, multiply them exactly, return the product.

    Plain values, so that backends can read it.

    Parameters
    ----------
    shape : tuple of int
        ``(batch, n, d, h)`` of ``C = A @ B.T``; batch is 1 for two matrices. n is None where any
        number of rows of A may come.
    device : torch.device
        Where the operands lie.
    dtype : torch.dtype
        Type of the operands: float32, float16 or bfloat16.
    rounding : PerOperand of Rounding
        How each operand is rounded.
    digits : PerOperand of DigitSystem
        The digits that each is written in.
    fixed : frozenset of {"a", "b"}
        Operands that stay the same from run to run, as weights do, and are prepared once.
    output : torch.dtype or None
        Type of the dequantized product, ``C / (scale_a * scale_b)`` rounded once; None for the
        integers.
    k_split : {"auto", "never"}
        Whether K is cut where an accumulator could overflow.
    block : int or None
        Columns of a K-block, for strategies that cut K into blocks.
    names : PerOperand of str
        What messages call the operands.
    """

    shape: tuple[int, int | None, int, int]
    device: torch.device
    dtype: torch.dtype
    rounding: PerOperand[Rounding]
    digits: PerOperand[DigitSystem]
    fixed: frozenset[Side] = frozenset()
    output: torch.dtype | None = None
    k_split: str = "auto"
    block: int | None = None
    names: PerOperand[str] = PerOperand("A", "B")


@dataclass(frozen=True)
class Counts:
    """Operation counts of the last run of a route, for records and tallies.

    Parameters
    ----------
    strategy_chosen : str
        Which strategy made the products, where one chose among several.
    dense_macs : int
        Multiplications of the original GEMM: ``batch * n * d * h``.
    low_bit_macs : int
        Multiplications of b-bit digits.
    sparse_macs : int
        Those of them in products with a sparse operand.
    executed_macs : int
        Multiplications that the backend carries out, its padding included.
    shift_adds : int
        Additions of shifted products into C, beyond the first value of every entry.
    gather_bytes, scatter_bytes, gemm_bytes : int
        Bytes of digits beyond one copy of the operands; of C that `shift_adds` read and write; of
        digits read and sums written by the products, each once.
    products : int
        Low-bit GEMMs.
    k_pieces : int or None
        The most pieces that the K of one product was cut into for the accumulator; None if the
        route does not tell.
    max_digits_a, max_digits_b : int
        Digits that the largest entry of A and of B needs.
    out_of_bound_a, out_of_bound_b : int
        Entries of A and of B that do not fit one digit.
    entries_a, entries_b : int
        Entries of A and of B.
    prepared : tuple of {"a", "b"}
        Operands that really were rounded, unpacked and prepared ahead of the run.
    replans : int
        Runs so far whose operands did not fit the route's plan, so that a new plan was made.
    overflows : int
        Steps at which an accumulator overflowed, where the backend tells.
    scale_exponent : PerOperand of int
        The power of two that each operand was multiplied by before it was rounded; 0 unless its
        scale would leave float32.
    modelled : mapping
        What the backend's model predicts, by the names of a record: cycles, energy, area.
    """

    strategy_chosen: str
    dense_macs: int
    low_bit_macs: int
    sparse_macs: int = 0
    executed_macs: int = 0
    shift_adds: int = 0
    gather_bytes: int = 0
    scatter_bytes: int = 0
    gemm_bytes: int = 0
    products: int = 1
    k_pieces: int | None = None
    max_digits_a: int = 1
    max_digits_b: int = 1
    out_of_bound_a: int = 0
    out_of_bound_b: int = 0
    entries_a: int = 0
    entries_b: int = 0
    prepared: tuple[Side, ...] = ()
    replans: int = 0
    overflows: int = 0
    scale_exponent: PerOperand[int] = PerOperand(0, 0)
    modelled: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """The unpack ratio r; 1 for an empty GEMM."""
        return self.low_bit_macs / self.dense_macs if self.dense_macs else 1.0

    @property
    def correction_macs(self) -> int:
        """Multiplications beyond those of the original GEMM."""
        return self.low_bit_macs - self.dense_macs


class PreparedOperand:
    """An operand that a route prepared once, ahead of its runs; each route has its own kind.

    Parameters
    ----------
    side : {"a", "b"}
        Which operand it is.
    shape : torch.Size
        Of the float operand.
    """

    def __init__(self, side: Side, shape: torch.Size) -> None:
        self.side = side
        self.shape = shape


class Timer(Protocol):
    """Times the stages of a run; `accelsim.measure.timing.StageTimer` is one."""

    def stage(self, name: str) -> AbstractContextManager[Any]:
        """Return a context that times what is done in it under a name.

        Parameters
        ----------
        name : str
            ``quantize``, ``unpack``, ``prepare``, ``gemm``, ``pack`` or ``dequantize``.
        """


class Route(Protocol):
    """A way from float operands to the exact product; it takes new operands in every run.

    Notes
    -----
    A route whose `integers` come from another kernel than the one that `run` times reports that in
    an attribute ``judged``, a text that records keep with the verdict. One in whose `run` the host
    waits for the device may take a further argument of `run`, ``meanwhile``, a callable that it
    calls once before it waits, and has an attribute ``overlaps`` that is True.
    """

    def prepare(self, side: Side, x: Tensor) -> PreparedOperand:
        """Round, unpack and lay out an operand that stays, once and outside of any timing.

        It holds for every number of rows of the other operand.

        Parameters
        ----------
        side : Side
            ``a`` or ``b``.
        x : Tensor
            The operand; it may change afterwards.
        """

    def run(
        self, a: Tensor | PreparedOperand, b: Tensor | PreparedOperand, timer: Timer
    ) -> Tensor | Wide:
        """Compute the product of two operands; on a GPU the work is queued.

        Parameters
        ----------
        a, b : Tensor or PreparedOperand
            Operands ``[..., n, d]`` and ``[..., h, d]``, or what `prepare` made of
            them.
        timer : Timer
            Times the stages that the route names.

        Returns
        -------
        Tensor or ndarray of object
            ``[..., n, h]``: in the output type of the request, or the integers where that is None.

        Raises
        ------
        DataError
            If an operand cannot be rounded, where that is known without waiting.
        """

    def check(self) -> None:
        """Wait for the runs so far, and raise what was found in them.

        Raises
        ------
        DataError
            If an operand held NaN or infinity, or has no scale.
        """

    def integers(self) -> Tensor | Wide:
        """Return the integers of the last run, ``[..., n, h]``, untimed, for the verdict."""

    def scales(self) -> PerOperand[Tensor]:
        """Return the float32 scales of the last run: scalars, or ``[..., rows, 1]`` by rows.

        An operand was multiplied by ``2**scale_exponent`` of `counts` first.
        """

    def counts(self) -> Counts:
        """Return the operation counts of the last run."""
