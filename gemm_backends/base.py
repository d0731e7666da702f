"""The class that every backend inherits from: what the suite calls."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits
from accelsim.errors import InputError
from accelsim.plugins.guest import guest
from accelsim.plugins.options import instantiate, resolved_options
from gemm_backends.corrections import Corrections
from gemm_backends.declaration import API_VERSION, check_class, check_values, written_for
from gemm_backends.errors import AccumulatorOverflow, BackendError
from gemm_backends.hooks import BackendHooks
from gemm_backends.operands import (
    Prepared,
    check_digits,
    check_product,
    check_shapes,
    matrices,
    summed,
    unflattened,
)
from gemm_backends.types import (
    Availability,
    GemmSpec,
    Operand,
    OverflowReport,
)

Result = TypeVar("Result")


class _BackendType(ABCMeta):
    """Gives every instance its `options`, and checks what its constructor set."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        instance = super().__call__(*args, **kwargs)
        instance.options = resolved_options(cls, args, kwargs)
        check_values(cls.__name__, instance)
        return instance


class GemmBackend(BackendHooks, metaclass=_BackendType):
    """An accelerator that multiplies matrices of low-bit integers: ``C = A @ B.T``.

    A subclass declares `name`, `bits` and `accumulator` and defines `matmul`; all else has a
    default. What it declares is checked when the class is defined and again, because a constructor
    may set `bits` and `accumulator` from its options, when it is instantiated. An intermediate
    class that is not yet a backend is declared abstract: ``class Systolic(GemmBackend,
    abstract=True)``.

    Authors write `matmul`, `prepare` and `matmul_report`. Callers use `multiply`, `prepared` and
    `multiply_report`, which check the operands, take batches for every backend, and check the
    result.

    Attributes
    ----------
    name : str
        The name by which the backend is found.
    bits : int or tuple of int
        Width of the widest signed digit, 2 to 16, or one for A and one for B.
    accumulator : Accumulator
        The register that products are summed in.
    signed : bool or tuple of bool
        Whether digits may be negative, or of A and of B; by default they may.
    tile : Tile
        What the array multiplies in one step. By default `executed_macs` counts whole tiles.
    alignment : Tile
        What n, d and h must be multiples of. By default `supports` refuses others.
    batched : bool
        Whether `matmul`, `prepare` and `matmul_report` take ``[..., rows, d]``. By default they see
        one matrix at a time.
    api_version : str
        The version of the plug-in API that the class is written for, such as ``"1.0"``.
    options : dict
        The constructor's arguments, given or default. Set by the base class.

    Raises
    ------
    TypeError
        At the definition of a subclass, or at instantiation, if an attribute is missing or wrong.
    """

    api_version: ClassVar[str] = API_VERSION
    options: dict[str, Any]

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not abstract:
            check_class(cls, vars(cls))

    def status(self) -> Availability:
        """Return what `availability` says.

        Raises
        ------
        BackendError
            If it raises anything, or returns something else.
        """
        try:
            with guest():
                said: object = self.availability()
        except (Exception, SystemExit) as error:  # a plug-in may raise anything
            reason = f"availability() raised {type(error).__name__}: {error}"
            raise BackendError(f"backend {self.name!r}: {reason}") from error
        if not isinstance(said, Availability):
            raise BackendError(
                f"backend {self.name!r}: availability() returned {said!r} instead of an "
                "Availability, such as Availability(available=True)"
            )
        return said

    def may_be_negative(self, digits: Tensor | SparseDigits) -> bool:
        """Whether `supports` must expect negative digits; entries are read only if that matters.

        Parameters
        ----------
        digits : Tensor or SparseDigits
            An operand.

        Returns
        -------
        bool
            False only if it is certain that no digit is negative.
        """
        if all(self.operand_signed):
            return True
        values = digits.values if isinstance(digits, SparseDigits) else digits
        return values.numel() > 0 and bool(values.min() < 0)

    @property
    def corrects_in_place(self) -> bool:
        """Whether `corrected_matmul` may be called; by default, whether the class defines it."""
        return (
            written_for(type(self), "corrected_matmul")
            and type(self).corrected_matmul is not GemmBackend.corrected_matmul
        )

    @property
    def has_sparse_product(self) -> bool:
        """Whether the backend defines `sparse_matmul`."""
        return type(self).sparse_matmul is not GemmBackend.sparse_matmul

    def multiply_sparse(self, a: Tensor | SparseDigits, b: Tensor | SparseDigits) -> Tensor:
        """Multiply two matrices, at least one of them sparse, by the backend's sparse product.

        Parameters
        ----------
        a, b : Tensor or SparseDigits
            Digits ``[n, d]`` and ``[h, d]``.

        Returns
        -------
        Tensor
            Integers ``[n, h]``, int32 or int64.

        Raises
        ------
        InputError
            If the operands do not fit each other.
        BackendError
            If `sparse_matmul` returns anything but integers of the right shape.
        """
        check_shapes(a.shape, b.shape)
        if isinstance(a, SparseDigits):
            product, shape = self.sparse_matmul(a, b), torch.Size((a.shape[0], b.shape[0]))
            check_product(product, shape, self.name)
            return product
        if not isinstance(b, SparseDigits):
            raise InputError("multiply_sparse needs a sparse operand; for dense ones use multiply")
        return self.multiply_sparse(b, a).T

    def prepared(self, digits: Tensor) -> Prepared:
        """Check one operand and prepare it, every matrix of a batch by itself if need be.

        Parameters
        ----------
        digits : Tensor
            ``[..., rows, d]``, int8 or (above 8 bits) int16, on the device that `availability`
            names.

        Returns
        -------
        Prepared
            The operand, which `multiply` takes on either side.

        Raises
        ------
        InputError
            If it is not such a tensor.
        """
        check_digits(digits, max(self.operand_bits), "an operand")
        parts = [digits] if self.batched else matrices(digits)
        operands = tuple(self.prepare(part) for part in parts)
        return Prepared(digits.shape, operands, self.may_be_negative(digits))

    def multiply(self, a: Tensor | Prepared, b: Tensor | Prepared) -> Tensor:
        """Multiply two operands or batches of operands.

        Parameters
        ----------
        a, b : Tensor or Prepared
            Digits ``[..., n, d]`` and ``[..., h, d]``, or what `prepared` made of them.

        Returns
        -------
        Tensor
            ``A @ B.T``, ``[..., n, h]``, int32 or int64.

        Raises
        ------
        InputError
            If the operands do not fit each other, or `supports` refuses their shape.
        AccumulatorOverflow
            If a sum does not fit an accumulator whose overflow is ``"error"``.
        BackendError
            If `matmul` returns anything but integers of the right shape.
        """
        a, b = self._ready(a), self._ready(b)
        return self._joined(self._each_pair(self.matmul, a, b), a.shape, b.shape)

    def multiply_corrected(
        self, a: Tensor | Prepared, b: Tensor | Prepared, corrections: Corrections
    ) -> Tensor:
        """Multiply two matrices, with the products of high digits added in the accumulators.

        Parameters
        ----------
        a, b : Tensor or Prepared
            Low digits ``[n, d]`` and ``[h, d]``, or what `prepared` made of them.
        corrections : Corrections
            The high digits.

        Returns
        -------
        Tensor
            Integers ``[n, h]``, int32 or int64.

        Raises
        ------
        InputError
            If the operands do not fit each other, or `supports` refuses their shape.
        BackendError
            If `corrected_matmul` returns anything but integers of the right shape.
        """
        a, b = self._ready(a), self._ready(b)
        for dense, high in ((a, corrections.a), (b, corrections.b)):
            check_shapes(torch.Size((1, dense.shape[-1])), torch.Size((1, high.digits.shape[1])))

        def corrected(x: Operand, y: Operand) -> Tensor:
            return self.corrected_matmul(x, y, corrections)

        return self._joined(self._each_pair(corrected, a, b), a.shape, b.shape)

    def multiply_report(
        self, a: Tensor | Prepared, b: Tensor | Prepared
    ) -> tuple[Tensor, OverflowReport]:
        """Multiply as `multiply` does, and say at which steps the accumulator overflowed.

        Parameters
        ----------
        a, b : Tensor or Prepared
            Digits ``[..., n, d]`` and ``[..., h, d]``, or what `prepared` made of them.

        Returns
        -------
        tuple[Tensor, OverflowReport]
            The product ``[..., n, h]``, and how many steps overflowed.
        """
        a, b = self._ready(a), self._ready(b)
        results = self._each_pair(self.matmul_report, a, b)
        report = summed([report for _, report in results], self._loop_shape(a.shape))
        return self._joined([product for product, _ in results], a.shape, b.shape), report

    def _ready(self, operand: Tensor | Prepared) -> Prepared:
        return operand if isinstance(operand, Prepared) else self.prepared(operand)

    def _loop_shape(self, shape: torch.Size) -> torch.Size:
        """Return `shape` without the batch dimensions that `matmul` takes care of itself."""
        return shape[-2:] if self.batched else shape

    def _each_pair(
        self, method: Callable[[Operand, Operand], Result], a: Prepared, b: Prepared
    ) -> list[Result]:
        check_shapes(a.shape, b.shape)
        n, d, h = (*a.shape[-2:], b.shape[-2])
        spec = GemmSpec(*self.operand_bits, n, d, h, a.negative, b.negative)
        support = self.supports(spec)
        if not support:
            raise InputError(
                f"backend {self.name!r} does not support [{n}, {d}] x [{h}, {d}]: {support.reason}"
            )
        results: list[Result] = []
        for x, y in zip(a.operands, b.operands, strict=True):
            try:
                results.append(method(x, y))
            except AccumulatorOverflow as error:
                reports = [*[OverflowReport(0)] * len(results), error.report]
                report = summed(reports, self._loop_shape(a.shape))
                raise AccumulatorOverflow(report) from error
        return results

    def _joined(self, products: list[Tensor], a: torch.Size, b: torch.Size) -> Tensor:
        shape = torch.Size((*a[:-1], b[-2]))
        if not products:
            return torch.zeros(shape, dtype=torch.int32, device=self.availability().device)
        loop_shape = self._loop_shape(shape)
        for product in products:
            check_product(product, shape if self.batched else shape[-2:], self.name)
        return unflattened(products, loop_shape)

    def for_bits(self, bits_a: int, bits_b: int) -> GemmBackend:
        """Return the backend configured for digits of these widths; by default itself.

        A backend that models hardware of any width overrides this. `supports` still decides whether
        the widths are possible.

        Parameters
        ----------
        bits_a, bits_b : int
            Widths of the digits of A and of B.
        """
        return self

    def with_options(self, **changes: Any) -> Self:
        """Return a new instance with some options changed.

        Parameters
        ----------
        **changes
            Options and their new values.
        """
        owner = f"backend {self.name!r}"
        return instantiate(type(self), owner, {**self.options, **changes})
