"""``accelsim break-even``: the unpack ratio at which low-bit loses to another format."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.arithmetic.digit_systems import RULES
from accelsim.cli.shared import beta_option, format_option, gemm_option
from accelsim.errors import InputError
from accelsim.report.formats import Format

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
@click.option("--digits", type=click.Choice(list(RULES)), default="balanced", show_default=True)
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
    from accelsim.cli.break_even_rows import break_even_rows, chosen_gemms
    from accelsim.report.tables import render
    from accelsim.settings import Unpacking
    from accelsim.types import PerOperand, StrategyChoice
    from accelsim.unpack import split_options

    unpacking = Unpacking(
        PerOperand.both(bits), digits, StrategyChoice(*split_options(strategy)), block
    )
    gemms = chosen_gemms(bundle, globs, shape, heavy_hitters)
    rows = break_even_rows(gemms, betas, percentile, unpacking, bits, speeds, bandwidth)
    click.echo(render(list(rows), None, style), nl=False)
    if style == "table":
        click.echo(
            "A dash under 'loses from r': it loses even at r = 1, where nothing is unpacked."
        )
