"""What users call to run a model's GEMMs on integers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn

from accelsim.config.plans import Plan, load_plan
from accelsim.errors import InputError, unknown_name
from accelsim.integer_mode.kinds import by_kind
from accelsim.integer_mode.mode import IntegerGemms
from accelsim.integer_mode.pinned import Pinning, splitting
from accelsim.integer_mode.planned import Planned
from accelsim.integer_mode.replacing import Selection
from accelsim.integer_mode.routes import Opener, opener_of
from accelsim.settings import KINDS, PerKind
from accelsim.types import PerOperand, StrategyChoice
from accelsim.unpack import Strategy
from gemm_backends import GemmBackend, load_backend
from workloads.gemm import OPS

GRANULARITIES = ("tensor", "row")
NONFINITE = ("error", "pass")


def integer_gemms(
    model: nn.Module,
    beta: float | Mapping[str, float] | None = None,
    percentile: float | Mapping[str, float] = 95,
    *,
    plan: str | Path | Plan | None = None,
    granularity: str = "tensor",
    backend: str | GemmBackend | None = None,
    bits: int | PerOperand[int] | None = None,
    strategy: str | StrategyChoice | Strategy | None = None,
    digits: str = "balanced",
    block: int | None = None,
    exact: Literal["auto", "backend", "simulate"] = "auto",
    gemms: Sequence[str] = ("*",),
    skip: Sequence[str] = (),
    ops: Sequence[str] = OPS,
    zero_alpha: str = "nonzero",
    nonfinite: Literal["error", "pass"] | None = None,
    check: bool = False,
    invariant: bool = False,
    group: Any = None,
) -> IntegerGemms:
    """Run the GEMMs of a model on integers, forward and backward.

    Each operand is rounded to integers without clipping, unpacked into digits of b bits, multiplied
    on the backend, packed exactly, and dequantized with one rounding. Weights are rounded and
    unpacked once, until something writes to them. Leaving the context leaves the model as it was.

    Parameters
    ----------
    model : nn.Module
        Any model: plain, Hugging Face or timm, for inference, generation or training.
    beta, percentile : float or mapping
        How finely operands are rounded: `percentile` of the magnitudes becomes ``beta / 2``. One
        number, or by kind: ``weights``,
        ``activations``, ``attention`` and ``gradients``, and ``default`` for the rest. A `plan` may
        give every β that is needed.
    plan : str, Path or Plan, optional
        A plan, or its file; see `accelsim.config.plans`. What it says of a GEMM goes before the
        other arguments; what it says of unpacking holds where there is a backend.
    granularity : {"tensor", "row"}
        One scale for a tensor, or one for each row of both operands of a product: for each token
        and each output channel. In backward products operands are rounded along their own rows.
    backend : str, GemmBackend or None
        What multiplies; see `gemm_backends.load_backend`. Without one, the fused route of a backend
        if the operands are on a GPU that has one, and otherwise floats as with
        ``exact="simulate"``; the integers are the same.
    bits : int or PerOperand of int, optional
        Width of the digits, 2 to 16; of A and of B where they differ. 8 by default. A warning says
        so where a width has no effect, because nothing is unpacked without a backend.
    strategy : str, StrategyChoice, Strategy or None
        How operands are unpacked; see `accelsim.unpack.load_strategy`. ``fused`` is the backend's
        own way from floats to the product. By default ``mix`` with a backend.
    digits : {"balanced", "paper"}
        The digit system.
    block : int or None
        Columns of a K-block, for strategies that cut any; None for their default.
    exact : {"auto", "backend", "simulate"}
        ``simulate`` multiplies the same integers in floating point, in a type that is proved to
        hold every sum exactly: the same results, bit for bit, without a backend. ``backend`` uses
        only the named backend.
    gemms, skip, ops : sequence of str
        Which GEMMs; see `Selection`.
    zero_alpha : {"nonzero", "error"}
        What to do where more than `percentile` of an operand is zeros.
    nonfinite : {"error", "pass"}, optional
        What to do where an operand holds NaN or infinity: ``pass`` leaves the product in floating
        point, as the model has it, and counts it in ``tally.skipped``. By default it is an error,
        except for infinite gradients and the NaN that follow from them in the backward pass: a
        GradScaler checks for those.
    check : bool
        Compare every integer with an independent oracle's, and every float with the exact quotient;
        both are made from the operands as they are then, not from what was prepared of them. Every
        product is computed once more for it.
    invariant : bool
        Compute everything between the GEMMs by functions and sums that are the same on every
        device and in any batch; see `accelsim.invariant`. Needs one scale for each row.
    group : ProcessGroup, optional
        Processes of `torch.distributed` over which K of every product with a weight is cut: the
        partial sums are added as integers, so that the bits are those of one process. All run the
        same model on the same data, and hold all weights. Needs one scale for each row.

    Returns
    -------
    IntegerGemms
        A context manager with a `tally`.

    Raises
    ------
    InputError
        If an option is wrong; when the context opens, if a glob matches nothing in the model, or
        when it closes, if what it matches had no GEMM; when the model runs, if the backend refuses
        a product.
    DataError
        When the model runs, if an operand holds NaN or infinity that may not pass; the message
        names its GEMM.

    Notes
    -----
    Zeng, Sankaralingam, Singh, "IM-Unpack: Training and Inference with Arbitrarily Low Precision
    Integers", ICML 2024.

    Examples
    --------
    >>> import accelsim
    >>> import torch
    >>> model = torch.nn.Linear(4, 2, bias=False)
    >>> with accelsim.integer_gemms(model, beta=127) as mode:
    ...     model(torch.ones(3, 4)).sum().backward()
    >>> mode.tally.summary()["gemms"]
    2
    """
    if granularity not in GRANULARITIES:
        raise InputError(f"granularity: {unknown_name('value', granularity, GRANULARITIES)}")
    if nonfinite not in (None, *NONFINITE):
        raise InputError(f"nonfinite: {unknown_name('value', nonfinite, NONFINITE)}")
    if invariant and granularity != "row":
        raise InputError(
            f"invariant: found granularity {granularity!r}, whose scales span the batch; "
            "expected 'row'"
        )
    if group is not None and granularity != "row":
        raise InputError(f"group: found granularity {granularity!r}; expected 'row'")
    if beta is None and plan is None:
        raise InputError("give beta, or a plan")
    percentiles = by_kind(percentile, "percentile", at_most=100)
    betas = None if beta is None else by_kind(beta, "beta")
    rounding = PerKind[Mapping[str, Any]](
        *(
            {
                "percentile": percentiles.of(kind),
                "granularity": granularity,
                "zero_alpha": zero_alpha,
                **({} if betas is None else {"beta": betas.of(kind)}),
            }
            for kind in KINDS
        )
    )
    if bits is not None and backend is None and strategy is None:
        on_cpu = {x.device.type for x in model.parameters()} <= {"cpu"}
        if on_cpu or exact == "simulate":
            warnings.warn(
                f"bits={bits} has no effect: without a backend nothing is unpacked; name one, such "
                "as backend='emulator'",
                stacklevel=2,
            )
    given = 8 if bits is None else bits
    widths = given if isinstance(given, PerOperand) else PerOperand.both(given)
    loaded = load_backend(backend) if isinstance(backend, str) else backend

    def opener(how: Mapping[str, Any]) -> Opener:
        chosen = strategy if loaded is None else how["strategy"]
        whole = opener_of(exact, loaded, how["bits"], chosen, how["block"], check)
        return whole if group is None else splitting(whole, group)

    unpacking = {"bits": widths, "digits": digits, "strategy": strategy, "block": block}
    planned = Planned(
        load_plan(plan) if isinstance(plan, str | Path) else plan, rounding, unpacking, opener
    )
    planned.check()
    return IntegerGemms(
        model,
        planned,
        Selection(gemms, skip, ops),
        check,
        nonfinite,
        Pinning() if invariant else None,
    )


def invariant(
    model: nn.Module,
    beta: float | Mapping[str, float] | None = None,
    percentile: float | Mapping[str, float] = 95,
    **options: Any,
) -> IntegerGemms:
    """Run a model so that the bits of a token's results depend on the token's sequence alone.

    They are the same whatever else is in the batch, for any padding, whether the prompt comes at
    once, in chunks or token by token with a cache, for any number of threads and with every
    backend. GEMMs are exact integers with one scale for each row; everything between them is
    computed from operations that IEEE 754 defines to the last bit, in an order that does not
    matter.

    Parameters
    ----------
    model : nn.Module
        Any model. Backward passes run, but what sums over tokens in them depends on the batch.
    beta, percentile : float or mapping
        As `accelsim.integer_gemms` takes them.
    **options
        The other arguments of `accelsim.integer_gemms`, except `granularity`, which is ``row``.

    Returns
    -------
    IntegerGemms
        A context manager with a `tally`, whose summary has the ``level`` that is promised, 2, and
        the calls of its operators that are ``unpinned``. If there are any, the level is 0.

    Raises
    ------
    InputError
        If an option is wrong.

    Examples
    --------
    >>> import accelsim
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU())
    >>> x = torch.randn(8, 64)
    >>> with torch.no_grad(), accelsim.invariant(model, beta={"weights": 127, "default": 63}) as m:
    ...     bool((model(x)[:1] == model(x[:1])).all())
    True
    >>> m.tally.summary()["level"]
    2
    """
    return integer_gemms(
        model, beta, percentile, **{"granularity": "row", **options}, invariant=True
    )
