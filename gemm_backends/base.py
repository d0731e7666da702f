"""The class that every backend inherits from."""

from __future__ import annotations

import math
from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits
from accelsim.errors import InputError
from accelsim.plugins.options import instantiate, resolved_options
from accelsim.types import Request, Route
from gemm_backends.actions import Action
from gemm_backends.corrections import Corrections
from gemm_backends.declaration import API_VERSION, check_class, check_values, written_for
from gemm_backends.errors import AccumulatorOverflow, BackendError
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
    Accumulator,
    Availability,
    Cost,
    GemmSpec,
    Operand,
    OverflowReport,
    Support,
    Tile,
    UnpackWork,
)

Result = TypeVar("Result")


class _BackendType(ABCMeta):
    """Gives every instance its `options`, and checks what its constructor set."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        instance = super().__call__(*args, **kwargs)
        instance.options = resolved_options(cls, args, kwargs)
        check_values(cls.__name__, instance)
        return instance


class GemmBackend(ABC, metaclass=_BackendType):
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

    name: ClassVar[str]
    bits: int | tuple[int, int]
    accumulator: Accumulator
    signed: bool | tuple[bool, bool] = True
    tile: Tile = Tile()
    alignment: Tile = Tile()
    batched: ClassVar[bool] = False
    api_version: ClassVar[str] = API_VERSION
    options: dict[str, Any]

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not abstract:
            check_class(cls, vars(cls))

    # What an author writes.

    @abstractmethod
    def matmul(self, a: Operand, b: Operand) -> Tensor:
        """Multiply two operands exactly, up to what the accumulator does.

        Parameters
        ----------
        a, b : Operand
            What `prepare` returned; by default int8 tensors (int16 above 8 bits) ``[n, d]`` and
            ``[h, d]``, with leading batch dimensions if the class is `batched`. n, d and h may be 0
            and strides are arbitrary. Every digit fits `bits`.

        Returns
        -------
        Tensor
            ``A @ B.T``, ``[n, h]`` int32 or int64, on the device of the operands.

        Raises
        ------
        AccumulatorOverflow
            If a sum does not fit an accumulator whose overflow is ``"error"``.
        """

    def prepare(self, digits: Tensor) -> Operand:
        """Bring one operand into the form that `matmul` takes: layout, packing, transfer.

        This is timed apart from the product, and its result may be used in several products, on
        either side. The default is the tensor itself.

        Parameters
        ----------
        digits : Tensor
            ``[rows, d]`` (``[..., rows, d]`` if `batched`), int8 or, above 8 bits,
            int16.

        Returns
        -------
        Operand
            Whatever `matmul` takes.
        """
        return digits

    def matmul_report(self, a: Operand, b: Operand) -> tuple[Tensor, OverflowReport]:
        """Multiply, and report at which steps the accumulator overflowed.

        The default reports that this is unknown or, if an overflow would have raised, that there
        was none.

        Parameters
        ----------
        a, b : Operand
            Digits ``[n, d]`` and ``[h, d]``, as `prepare` returns them.

        Returns
        -------
        tuple[Tensor, OverflowReport]
            The product ``[n, h]``, and how many steps overflowed.
        """
        product = self.matmul(a, b)
        return product, OverflowReport(0 if self.accumulator.overflow == "error" else None)

    def sparse_matmul(self, a: SparseDigits, b: Tensor | SparseDigits) -> Tensor:
        """Multiply sparse digits ``[n, d]`` by dense or sparse ones ``[h, d]``.

        A backend that defines this takes one multiplication for each stored entry of A and row of
        B, or for each two stored entries in one column; unpacking at ``t = 1`` needs it. For a
        backend that does not, such products are written as dense ones of one column each.

        Parameters
        ----------
        a : SparseDigits
            ``[n, d]``.
        b : Tensor or SparseDigits
            ``[h, d]``.

        Returns
        -------
        Tensor
            ``A @ B.T``, ``[n, h]`` int32 or int64, summed in the accumulator that is declared.
        """
        raise NotImplementedError(f"backend {self.name!r} has no sparse product")

    def corrected_matmul(self, a: Operand, b: Operand, corrections: Corrections) -> Tensor:
        """Multiply as `matmul` does, and add the products of high digits to the same sums.

        A backend with lanes for single high digits beside its array defines this, and declares it
        by `corrects_in_place`; unpacking at ``t = 1`` then goes through it.

        Parameters
        ----------
        a, b : Operand
            Low digits ``[n, d]`` and ``[h, d]``, as `prepare` returns them.
        corrections : Corrections
            The high digits.

        Returns
        -------
        Tensor
            The whole product ``[n, h]``, int32 or int64: what the accumulators hold in the end.
        """
        raise NotImplementedError(f"backend {self.name!r} has no correction lanes")

    @property
    def corrects_in_place(self) -> bool:
        """Whether `corrected_matmul` may be called; by default, whether the class defines it."""
        return (
            written_for(type(self), "corrected_matmul")
            and type(self).corrected_matmul is not GemmBackend.corrected_matmul
        )

    def fused(self, request: Request) -> Route | Support:
        """Offer the backend's own way from float operands to the exact product.

        Such a route rounds, unpacks and multiplies in its own kernels. It may refuse kinds of
        requests, here; once it is given it must be exact for every value, and take new operands in
        every run. By default there is none.

        Parameters
        ----------
        request : Request
            Shapes, types, rounding and digits.

        Returns
        -------
        Route or Support
            A route, or no with the reason.
        """
        return Support(False, f"backend {self.name!r} has no fused route")

    def availability(self) -> Availability:
        """Report whether this machine can run the backend.

        The default is yes: a model in software (``"emulated"``) that takes digits on the CPU.

        Returns
        -------
        Availability
            Whether and on which device it runs, and whether the unit itself multiplies.
        """
        return Availability(available=True)

    def supports(self, spec: GemmSpec) -> Support:
        """Report whether the backend takes digits of these widths and a GEMM of this shape.

        It need not consider whether the sum fits the accumulator: callers prove that and split K.
        The default compares the widths with `bits`, the signs with `signed` and the shape with
        `alignment`.

        Parameters
        ----------
        spec : GemmSpec
            Shape and widths of the GEMM.

        Returns
        -------
        Support
            Yes, or no with the reason.
        """
        for operand, asked, widest in zip(
            "AB", (spec.bits_a, spec.bits_b), self.operand_bits, strict=True
        ):
            if asked > widest:
                return Support(False, f"takes {widest}-bit digits of {operand}, not {asked}-bit")
        for operand, negative, signed in zip(
            "AB", (spec.signed_a, spec.signed_b), self.operand_signed, strict=True
        ):
            if negative and not signed:
                return Support(False, f"takes no negative digits of {operand}")
        shape = spec.n, spec.d, spec.h
        for dimension, size, multiple in zip("ndh", shape, self.alignment, strict=True):
            if size % multiple:
                return Support(False, f"{dimension} must be a multiple of {multiple}, got {size}")
        return Support(True)

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

    def executed_macs(self, spec: GemmSpec) -> int:
        """Return the multiply-accumulates that a GEMM of one matrix pair takes, padding included.

        The default is ``n * d * h``, each rounded up to a multiple of `tile`.

        Parameters
        ----------
        spec : GemmSpec
            Shape and widths of the GEMM.
        """
        return math.prod(self.tile.padded(spec.n, spec.d, spec.h))

    def cost(self, spec: GemmSpec) -> Cost | None:
        """Predict what a GEMM of one matrix pair costs on the accelerator, if that is modelled.

        Parameters
        ----------
        spec : GemmSpec
            Shape and widths of the GEMM.

        Returns
        -------
        Cost or None
            None if it is not modelled.

        Examples
        --------
        >>> from gemm_backends import GemmSpec, load_backend
        >>> emulator = load_backend("emulator", bits=4, array=[8, 8])
        >>> emulator.cost(GemmSpec(bits_a=4, bits_b=4, n=8, d=16, h=8)).cycles
        30
        """
        return None

    def corrected_cost(self, spec: GemmSpec, corrections: Corrections) -> Cost | None:
        """Predict what a GEMM costs with its corrections, if that is modelled.

        Parameters
        ----------
        spec : GemmSpec
            The shape and widths of the low digits' product.
        corrections : Corrections
            The high digits.

        Returns
        -------
        Cost or None
            None if it is not modelled.
        """
        return None

    def shift_add_cost(self, count: int) -> Cost | None:
        """Predict what it costs to add `count` shifted entries of products into C, if modelled.

        Unpacked products are put back together by such additions. Where this is None, predictions
        are for the products alone.

        Parameters
        ----------
        count : int
            Entries of products that are added into C.

        Returns
        -------
        Cost or None
            None if it is not modelled.
        """
        return None

    def unpack_cost(self, work: UnpackWork) -> Cost | None:
        """Predict what surrounds the products of one GEMM: splitting operands, putting together.

        The default is `shift_add_cost` of its shift-adds.

        Parameters
        ----------
        work : UnpackWork
            What is read, split, written and added.

        Returns
        -------
        Cost or None
            None if it is not modelled.
        """
        return self.shift_add_cost(work.shift_adds)

    @classmethod
    def actions(cls) -> Sequence[Action]:
        """Return the flags that this backend adds to the suite's commands."""
        return ()

    # What a caller uses.

    @property
    def operand_bits(self) -> tuple[int, int]:
        """Width of the widest digit of A and of B."""
        return self.bits if isinstance(self.bits, tuple) else (self.bits, self.bits)

    @property
    def operand_signed(self) -> tuple[bool, bool]:
        """Whether digits of A and of B may be negative."""
        return self.signed if isinstance(self.signed, tuple) else (self.signed, self.signed)

    def status(self) -> Availability:
        """Return what `availability` says.

        Raises
        ------
        BackendError
            If it raises anything, or returns something else.
        """
        try:
            said: object = self.availability()
        except Exception as error:  # a plug-in may raise anything
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

    def with_options(self, **changes: Any) -> Self:
        """Return a new instance with some options changed.

        Parameters
        ----------
        **changes
            Options and their new values.
        """
        owner = f"backend {self.name!r}"
        return instantiate(type(self), owner, {**self.options, **changes})
