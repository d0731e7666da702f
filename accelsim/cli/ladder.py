"""``accelsim ladder``: from coarse integers to the accuracy of float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from accelsim.cli.shared import (
    beta_option,
    format_option,
    gemm_option,
    output_option,
    rounding_options,
    run_folder_options,
    say_next,
    unpacking_options,
)
from accelsim.report.formats import Format

BETAS = (15.0, 63.0, 255.0, 1023.0, 4095.0, 2.0**14, 2.0**16, 2.0**18, 2.0**20, 2.0**22)


@click.command("ladder")
@click.argument("file", type=click.Path(path_type=Path))
@output_option("The folder of the results [default: runs/ladder-FILE]")
@gemm_option
@beta_option(BETAS)
@rounding_options
@click.option(
    "--bits", type=click.IntRange(2, 16), default=8, show_default=True, help="Width of a digit."
)
@unpacking_options
@click.option("--backend", default="int64", show_default=True, help="What multiplies.")
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
@run_folder_options
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw error against r into this file (.svg, .pdf or .png); needs the extra report.",
)
@format_option("the table")
def command(
    file: Path,
    output: Path | None,
    globs: tuple[str, ...],
    betas: tuple[float, ...],
    percentile: float,
    granularity: str,
    bits: int,
    strategy: str,
    block: int,
    backend: str,
    repeats: int,
    resume: bool,
    overwrite: bool,
    figure: Path | None,
    style: Format,
) -> None:
    """Compute the GEMMs of FILE in integers at growing β, and in fp32, tf32 and bf16.

    FILE is a bundle or a config, by path or name. Errors are relative to the product in float64, in
    the Frobenius norm. Integers are exact at every β: digits are added as they are needed. tf32
    is emulated: its operands are rounded, and multiplied in float32.
    """
    from accelsim.analysis.ladder import Ladder
    from accelsim.cli.gemms import gemms_of
    from accelsim.config.document import content_hash
    from accelsim.errors import InputError
    from accelsim.records import RunFolder
    from accelsim.records.ladder import LadderRecord
    from accelsim.report.figures.experiments import check_figure
    from accelsim.report.figures.ladder import draw_ladder
    from accelsim.report.ladder import ladder_rows
    from accelsim.report.tables import render
    from accelsim.settings import Unpacking
    from accelsim.types import PerOperand, StrategyChoice
    from accelsim.unpack import load_strategy, split_options
    from gemm_backends import load_backend
    from workloads import select

    if figure is not None:
        check_figure(figure)
    choice = StrategyChoice(*split_options(strategy))
    load_strategy(choice, block)
    loaded = load_backend(backend)
    status = loaded.status()
    if not status.available:
        raise InputError(f"backend {backend!r} cannot run here: {status.reason}")
    unpacking = Unpacking(PerOperand.both(bits), "balanced", choice, block)
    ladder = Ladder(tuple(betas), percentile, granularity, unpacking, loaded, repeats)
    gemms = list(select(gemms_of(file), globs, str(file)) if globs else gemms_of(file))
    settings: dict[str, Any] = {
        "command": "ladder",
        "gemms": [gemm.id for gemm in gemms],
        "beta": list(betas),
        "percentile": percentile,
        "granularity": granularity,
        "bits": bits,
        "strategy": choice.to_record(),
        "block": block,
        "backend": backend,
        "repeats": repeats,
    }
    path = output or Path(f"runs/ladder-{file.stem}")
    with RunFolder.open(
        path, settings, content_hash(settings), resume, overwrite, LadderRecord
    ) as folder:
        folder.begin()
        done = {
            (record.workload, record.gemm, record.way, record.beta) for record in folder.records
        }
        for number, gemm in enumerate(gemms, start=1):
            if (gemm.workload, gemm.name, "bf16", None) in done:  # the last rung of each
                continue
            for rung in ladder.rungs(gemm):
                if (gemm.workload, gemm.name, rung.way, rung.beta) not in done:
                    folder.append(
                        LadderRecord(
                            workload=gemm.workload,
                            gemm=gemm.name,
                            batch=gemm.batch,
                            n=gemm.n,
                            d=gemm.d,
                            h=gemm.h,
                            way=rung.way,
                            beta=rung.beta,
                            relative_error=rung.error,
                            ratio=rung.ratio,
                            seconds=rung.seconds,
                        )
                    )
            click.echo(f"[{number}/{len(gemms)}] {gemm.id}", err=True)
        records = list(folder.records)
        rows = ladder_rows(records)
        folder.finish(render(rows))
    click.echo(render(rows, None, style), nl=False)
    if figure is not None:
        draw_ladder(records, figure)
    click.echo(f"{len(records)} records in {path}", err=True)
    say_next((f"accelsim report {path}", "a page with the table and the figure"))
