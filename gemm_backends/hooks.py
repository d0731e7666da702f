"""What an author of a backend writes: one method, and others that have defaults."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits
from accelsim.types import Request, Route
from gemm_backends.actions import Action
from gemm_backends.corrections import Corrections
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


class BackendHooks(ABC):
    """The attributes and methods of a backend that `GemmBackend` calls, described there."""

    name: ClassVar[str]
    bits: int | tuple[int, int]
    accumulator: Accumulator
    signed: bool | tuple[bool, bool] = True
    tile: Tile = Tile()
    alignment: Tile = Tile()
    batched: ClassVar[bool] = False

    @property
    def operand_bits(self) -> tuple[int, int]:
        """Width of the widest digit of A and of B."""
        return self.bits if isinstance(self.bits, tuple) else (self.bits, self.bits)

    @property
    def operand_signed(self) -> tuple[bool, bool]:
        """Whether digits of A and of B may be negative."""
        return self.signed if isinstance(self.signed, tuple) else (self.signed, self.signed)

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
