"""``accelsim break-even``: the unpack ratio at which low-bit loses to another format."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import click

from accelsim.analysis.break_even import Integers, float_seconds
from accelsim.arithmetic.rounding import quantize
from accelsim.cli.shared import beta_option, format_option, gemm_option
from accelsim.errors import InputError
from accelsim.report.tables import Format, render
from accelsim.settings import Unpacking
from accelsim.types import PerOperand, Rounding, StrategyChoice
from accelsim.unpack import (
    DIGIT_SYSTEMS,
    DigitSystem,
    IntegerOperand,
    load_strategy,
    split_options,
)
from workloads import Gemm, HeavyHitters, Synthetic, bundle_path, open_bundle, select

Speeds = dict[str, float]

_positive = click.FloatRange(min=0, min_open=True)


def _speeds(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> Speeds:
    speeds: Speeds = {}
    for value in values:
        name, _, number = value.partition("=")
        try:
            tops = float(number)
        except ValueError:
            tops = 0.0
        if not name or not 0 < tops < float("inf"):
            raise InputError(f"--tops {value!r}: expected FORMAT=TOPS such as 4=1300 or bf16=800")
        if name in speeds:
            raise InputError(f"--tops gives the speed of {name!r} twice")
        speeds[name] = tops
    return speeds


@click.command("break-even")
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@gemm_option
@click.option(
    "--shape",
    nargs=3,
    type=click.IntRange(min=1),
    metavar="N D H",
    help="Without BUNDLE: normal operands of these sizes, A [N, D] and B [H, D].",
)
@click.option(
    "--heavy-hitters",
    nargs=2,
    type=float,
    metavar="SHARE SCALE",
    help="With --shape: this share of the entries is SCALE times as large.",
)
@click.option("--bits", type=click.IntRange(2, 16), required=True, help="Width of a digit.")
@beta_option([15])
@click.option(
    "--percentile",
    type=click.FloatRange(min=0, min_open=True, max=100),
    default=95,
    show_default=True,
)
@click.option("--strategy", default="mix", show_default=True, help="How integers are unpacked.")
@click.option("--block", type=click.IntRange(min=1), help="Columns of a K-block.")
@click.option("--digits", type=click.Choice(DIGIT_SYSTEMS), default="balanced", show_default=True)
@click.option(
    "--tops",
    "speeds",
    multiple=True,
    callback=_speeds,
    metavar="FORMAT=TOPS",
    help="Speed of a format in 10^12 operations a second, a multiply-add being two. FORMAT is a "
    "width of integers, such as 4, or the name of a float format, such as bf16; may be repeated.",
)
@click.option(
    "--bandwidth",
    type=_positive,
    metavar="GB/S",
    help="Memory speed; counts what the integers' front end and the floats must move. Without it "
    "memory costs nothing.",
)
@format_option("the result")
def command(
    bundle: Path | None,
    globs: tuple[str, ...],
    shape: tuple[int, int, int] | None,
    heavy_hitters: tuple[float, float] | None,
    bits: int,
    betas: tuple[float, ...],
    percentile: float,
    strategy: str,
    block: int | None,
    digits: str,
    speeds: Speeds,
    bandwidth: float | None,
    style: Format,
) -> None:
    """Find the unpack ratio at which B-bit integers lose to wider ones or to floats.

    The integers take t(b, r) = 2 M r / S + (8 E + r (E b/8 + 4 O) + 8 O) / W, with M = n d h,
    E = (n + h) d, O = n h, S operations and W bytes a second; a float format of w bytes takes
    2 M / S + (w E + max(w, 2) O) / W. A wider integer format is unpacked too, at a ratio of its
    own. The ratios are those of the GEMMs of BUNDLE, or of normal operands of --shape.

    For example: accelsim break-even --shape 1024 4096 4096 --bits 4 --tops 4=2000 --tops 8=1000
    --tops bf16=500 --bandwidth 3000
    """
    if str(bits) not in speeds or len(speeds) < 2:
        raise InputError(f"--tops must give the speed of {bits} bits and of another format")
    unpacking = Unpacking(
        PerOperand.both(bits), digits, StrategyChoice(*split_options(strategy)), block
    )
    rows = []
    for gemm, beta in product(_gemms(bundle, globs, shape, heavy_hitters), betas):
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
            rows.append(
                {
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
            )
    click.echo(render(rows, None, style), nl=False)
    if style == "table":
        click.echo(
            "A dash under 'loses from r': it loses even at r = 1, where nothing is unpacked."
        )


def _gemms(
    bundle: Path | None,
    globs: tuple[str, ...],
    shape: tuple[int, int, int] | None,
    heavy: tuple[float, float] | None,
) -> list[Gemm]:
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
