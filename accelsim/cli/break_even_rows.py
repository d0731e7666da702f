"""The rows of ``accelsim break-even``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from accelsim.analysis.break_even import Integers, float_seconds
from accelsim.arithmetic.rounding import quantize
from accelsim.errors import InputError
from accelsim.settings import Unpacking
from accelsim.types import Rounding
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy
from workloads import Gemm, HeavyHitters, Synthetic, bundle_path, open_bundle, select


def break_even_rows(
    gemms: Iterable[Gemm],
    betas: Iterable[float],
    percentile: float,
    unpacking: Unpacking,
    bits: int,
    speeds: Mapping[str, float],
    bandwidth: float | None,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each GEMM, each beta and each format that b-bit integers are compared with.

    The parameters are those of the command.
    """
    for gemm, beta in product(gemms, betas):
        rounding = Rounding(percentile, beta)
        widths = [_bits(name) for name in speeds]
        ratios = _ratios(gemm, [w for w in widths if w], rounding, unpacking)
        low = Integers(bits, speeds[str(bits)], bandwidth)
        low_s = low.seconds(gemm, ratios[bits])
        for width, (name, tops) in zip(widths, speeds.items(), strict=True):
            if width == bits:
                continue
            if width is None:
                other_s = float_seconds(gemm, tops, bandwidth, name)
            else:
                other_s = Integers(width, tops, bandwidth).seconds(gemm, ratios[width])
            even = low.break_even(gemm, other_s)
            yield {
                "gemm": gemm.name,
                "β": beta,
                "against": name if width is None else f"{width} bits",
                "its r": None if width is None else ratios[width],
                "its ms": other_s * 1e3,
                f"{bits}-bit ms": low_s * 1e3,
                f"{bits}-bit r": ratios[bits],
                "loses from r": even if even >= 1 else None,
                "wins": ratios[bits] < even,
            }


def chosen_gemms(
    bundle: Path | None,
    globs: tuple[str, ...],
    shape: tuple[int, int, int] | None,
    heavy: tuple[float, float] | None,
) -> list[Gemm]:
    """Return the GEMMs of a bundle, or one of the sizes; exactly one of the two must be given."""
    if (bundle is None) == (shape is None):
        raise InputError("name a BUNDLE, or give the sizes with --shape N D H")
    if bundle is not None:
        if heavy is not None:
            raise InputError("--heavy-hitters needs --shape")
        return list(select(open_bundle(bundle_path(Path(), bundle)).gemms, globs or ["*"], bundle))
    assert shape is not None
    if globs:
        raise InputError("--gemm needs a BUNDLE")
    n, d, h = shape
    return [Synthetic(n=n, d=d, h=h, heavy_hitters=_heavy_hitters(heavy)).gemm()]


def _heavy_hitters(heavy: tuple[float, float] | None) -> HeavyHitters | None:
    if heavy is None:
        return None
    share, scale = heavy
    if not (0 <= share <= 1 and 0 < scale <= 1e30):
        raise InputError("--heavy-hitters: expected a share from 0 to 1 and a scale above 0")
    return HeavyHitters(fraction=share, scale=scale)


def _bits(name: str) -> int | None:
    """Return the width that a format's name denotes, or None for a float format."""
    if not name.isdecimal():
        return None
    if not 2 <= int(name) <= 16:
        raise InputError(f"--tops {name}=…: integers have 2 to 16 bits")
    return int(name)


def _ratios(
    gemm: Gemm, widths: list[int], rounding: Rounding, unpacking: Unpacking
) -> dict[int, float]:
    """Return the unpack ratio of a GEMM for each width in place of `unpacking`'s."""
    names = gemm.tensor_names
    a, b = (
        quantize(
            operand,
            rounding.percentile,
            rounding.beta,
            rounding.granularity,
            rounding.zero_alpha,
            f"{gemm.workload}: tensor {name!r}",
        )
        for operand, name in zip(gemm.load(), (names.a, names.b), strict=True)
    )
    strategy = load_strategy(unpacking.strategy, unpacking.block)
    systems = [DigitSystem(unpacking.digits, width) for width in widths]
    return {
        system.bits: strategy.unpack(IntegerOperand(a, system), IntegerOperand(b, system)).ratio
        for system in systems
    }
