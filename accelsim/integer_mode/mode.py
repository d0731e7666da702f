"""The context manager in which a model's GEMMs are integer GEMMs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from accelsim.arithmetic.dequantize import dequantize
from accelsim.arithmetic.rounding import quantize
from accelsim.errors import InputError
from accelsim.integer_mode.kinds import PerKind, kinds
from accelsim.integer_mode.multipliers import Multiplier, Simulated, Unpacked
from accelsim.integer_mode.replacing import ALL, Replacing, Selection
from accelsim.integer_mode.rounded import Rounded, Weights
from accelsim.integer_mode.tally import Tally
from accelsim.types import PerOperand
from accelsim.unpack import DigitSystem, load_strategy
from gemm_backends import GemmBackend, load_backend
from workloads.gemm import OPS
from workloads.tracing import GemmCall


class IntegerGemms(Replacing):
    """Quantizes the operands of every chosen GEMM, multiplies integers, and dequantizes.

    Parameters
    ----------
    model : nn.Module
        Any model; see `workloads.tracing.Tracer`.
    beta, percentile : PerKind
        Of the quantization of each kind of operand; one scale per tensor.
    multiplier : Multiplier
        Gives the exact integer product.
    selection : Selection
        Which GEMMs.
    zero_alpha : {"error", "nonzero"}
        See `accelsim.arithmetic.rounding.quantize`.

    Attributes
    ----------
    tally : Tally
        What was multiplied so far.
    """

    def __init__(
        self,
        model: nn.Module,
        beta: PerKind,
        percentile: PerKind,
        multiplier: Multiplier,
        selection: Selection = ALL,
        zero_alpha: str = "nonzero",
    ) -> None:
        super().__init__(model, selection)
        self.tally = Tally()
        self._beta, self._percentile = beta, percentile
        self._multiplier, self._zero_alpha = multiplier, zero_alpha

    def __enter__(self) -> Self:
        # Outside of the context nobody saw what was written to the weights.
        self._weights = Weights(self.model)
        return super().__enter__()

    def product(self, call: GemmCall) -> Tensor:
        """Return the integer product of a GEMM, dequantized into the type of A."""
        made_of_weights = PerOperand(*(self._lineage.of(x).weight for x in (call.a, call.b)))
        kind = kinds(call, made_of_weights)
        a, b = (
            self._rounded(operand, kind_of, call)
            for operand, kind_of in ((call.a, kind.a), (call.b, kind.b))
        )
        integers, counts = self._multiplier(a, b)
        self.tally.add(call, **counts)
        return dequantize(integers, 1.0 / (a.scale * b.scale), call.a.dtype)

    def _rounded(self, operand: Tensor, kind: str, call: GemmCall) -> Rounded:
        percentile, beta = self._percentile[kind], self._beta[kind]

        def make(is_weight: bool) -> Rounded:
            short = operand.float() if operand.dtype == torch.float64 else operand
            name = f"{call.name} ({call.phase}): {kind}"
            return Rounded(
                quantize(short, percentile, beta, zero_alpha=self._zero_alpha, name=name), is_weight
            )

        return self._weights.get(operand, (percentile, beta), make)

    def _dispatch(self, mode: Any, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        self._weights.watch(func, args, kwargs)
        return super()._dispatch(mode, func, args, kwargs)


def integer_gemms(
    model: nn.Module,
    beta: float | Mapping[str, float],
    percentile: float | Mapping[str, float] = 95,
    *,
    backend: str | GemmBackend | None = None,
    bits: int = 8,
    strategy: str = "mix",
    digits: str = "balanced",
    exact: Literal["backend", "simulate"] = "backend",
    gemms: Sequence[str] = ("*",),
    skip: Sequence[str] = (),
    ops: Sequence[str] = OPS,
    zero_alpha: str = "nonzero",
    check: bool = False,
) -> IntegerGemms:
    """Run the GEMMs of a model on integers, forward and backward.

    ::

        with integer_gemms(model, beta=127, backend="emulator", bits=4) as mode:
            model(batch).loss.backward()
        print(mode.tally.total)

    Each operand is rounded to integers without clipping (one scale per tensor), unpacked into
    digits of b bits, multiplied on the backend, packed exactly, and dequantized with one rounding.
    Weights are rounded and unpacked once, until something writes to them. Leaving the context
    leaves the model as it was.

    Parameters
    ----------
    model : nn.Module
        Any model: plain, Hugging Face or timm, for inference, generation or training.
    beta, percentile : float or mapping
        Of the quantization (DESIGN: RTN), for all operands or by kind: ``weights``,
        ``activations``, ``attention`` and ``gradients``, and ``default`` for the rest.
    backend : str or GemmBackend
        What multiplies; see `gemm_backends.load_backend`.
    bits : int
        Width of the digits, 2 to 16.
    strategy : str
        How operands are unpacked; see `accelsim.unpack.load_strategy`.
    digits : {"balanced", "paper"}
        The digit system.
    exact : {"backend", "simulate"}
        ``simulate`` multiplies the same integers in floating point, in a type that is proved to
        hold every sum exactly: the same results, bit for bit, without a backend, and faster.
    gemms, skip, ops : sequence of str
        Which GEMMs; see `Selection`.
    zero_alpha : {"nonzero", "error"}
        What to do where more than `percentile` of an operand is zeros.
    check : bool
        Compare every integer that the backend gives with an independent oracle.

    Returns
    -------
    IntegerGemms
        A context manager with a `tally`.

    Raises
    ------
    InputError
        If an option is wrong, or, when the model runs, if the backend refuses a product.
    DataError
        When the model runs, if an operand holds NaN or infinity; the message names its GEMM.

    Notes
    -----
    Zeng, Sankaralingam, Singh, "IM-Unpack: Training and Inference with Arbitrarily Low Precision
    Integers", ICML 2024.
    """
    return IntegerGemms(
        model,
        PerKind.of(beta, "beta"),
        PerKind.of(percentile, "percentile", at_most=100),
        _multiplier(exact, backend, bits, strategy, digits, check),
        Selection(gemms, skip, ops),
        zero_alpha,
    )


def _multiplier(
    exact: str,
    backend: str | GemmBackend | None,
    bits: int,
    strategy: str,
    digits: str,
    check: bool,
) -> Multiplier:
    if exact == "simulate":
        return Simulated()
    if exact != "backend":
        raise InputError(f"exact: found {exact!r}; expected 'backend' or 'simulate'")
    if backend is None:
        raise InputError("name a backend, or set exact='simulate'")
    loaded = load_backend(backend) if isinstance(backend, str) else backend
    availability = loaded.status()
    if not availability.available:
        raise InputError(f"backend {loaded.name!r} cannot run here: {availability.reason}")
    return Unpacked(
        loaded.for_bits(bits, bits),
        PerOperand.both(DigitSystem(digits, bits)),
        load_strategy(strategy),
        check,
    )
