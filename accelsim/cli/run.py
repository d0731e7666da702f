"""``accelsim run``: run a config and print its table."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim.cli.shared import (
    backend_option,
    cost_only_option,
    format_option,
    output_option,
    run_folder_options,
    set_option,
)
from accelsim.errors import InputError, NothingCouldRunError
from accelsim.plugins.registry import split_reference
from accelsim.report.formats import Format

if TYPE_CHECKING:
    from accelsim.config import RunConfig
    from accelsim.runner import Maker


@click.command("run")
@click.argument("config", type=click.Path(path_type=Path))
@set_option
@backend_option
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Round and unpack by this plan where it differs from the config.",
)
@output_option("The folder of the results")
@run_folder_options
@cost_only_option
@click.option(
    "--details",
    is_flag=True,
    help="Print table.txt: every GEMM, or of many the sums over those of a kind.",
)
@click.option("--isolate", is_flag=True, help="Run each backend in a separate process.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="With --isolate: the time limit of one record [default: 600].",
)
@click.option(
    "--memory-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GIB",
    help="With --isolate: the memory limit of one process [default: nine tenths of what is free].",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Make the records on the workers of this Dask scheduler; local starts workers here.",
)
@format_option("the result: sums as a table, or all records")
def command(
    config: Path,
    overrides: tuple[str, ...],
    backends: tuple[str, ...],
    plan: Path | None,
    output: Path | None,
    resume: bool,
    overwrite: bool,
    cost_only: bool,
    details: bool,
    isolate: bool,
    timeout: float | None,
    memory_limit: float | None,
    scheduler: str | None,
    style: Format,
) -> int:
    """Run the YAML file CONFIG and print exactness, operation counts and times.

    Prints the sums over all GEMMs and the verdict; table.txt in the results' folder has every GEMM,
    or the sums over those of a kind if they are many, and --details prints it. `accelsim compare
    RUN --rows gemm` prints every GEMM of any run.

    Ctrl-C ends the run after the current record; --resume continues it. With --isolate a backend
    that crashes, hangs or runs out of memory costs one record, not the run.
    """
    from rich.console import Console

    from accelsim.cli.progress import showing
    from accelsim.config import load_config
    from accelsim.records import Record, RunFolder
    from accelsim.report.brief import brief, next_steps, terminal_width
    from accelsim.report.summary import summary
    from accelsim.report.tables import render
    from accelsim.runner import Here, Isolated, Limits, operand_hashes, run
    from accelsim.runner.cases import list_cases

    if not isolate and (timeout is not None or memory_limit is not None):
        raise InputError("--timeout and --memory-limit need --isolate")
    if isolate and scheduler:
        raise InputError("--isolate and --scheduler exclude each other: workers are processes too")
    maker: Callable[[RunConfig], Maker] = Here
    if isolate:
        limits = Limits(timeout or 600, int(memory_limit * 2**30) if memory_limit else None)
        maker = partial(Isolated, limits)
    elif scheduler:
        from accelsim.runner.makers.dask import Dask

        maker = partial(Dask, scheduler)
    if cost_only:
        overrides = (*overrides, "product=none")
    if plan is not None:
        overrides = (*overrides, f"plan={json.dumps(str(plan.absolute()))}")
    resolved = load_config(config, overrides, backends)
    path = output or resolved.output
    cases = list_cases(resolved, resolved.gemms())
    nothing: NothingCouldRunError | None = None
    hashes: dict[str, str] = {}
    with RunFolder.open(
        path,
        resolved.to_dict(),
        resolved.config_hash,
        resume,
        overwrite,
        Record,
        check=lambda: hashes.update(operand_hashes(resolved)),
    ) as folder:
        try:
            with showing(cases, Console(stderr=True)) as progress:
                records = run(resolved, folder, progress, maker, hashes)
        except NothingCouldRunError as error:
            nothing, records = error, list(folder.records)
        every = summary(records, path)
        kept = not folder.begun
        folder.finish(every)
    if style != "table":
        click.echo(render([record.to_dict() for record in records], None, style), nl=False)
    elif details:
        click.echo(every, nl=False)
    else:
        own = [backend.target for backend in resolved.backends if split_reference(backend.target)]
        prepared, drawn = resolved.timing.prepared, resolved.profiles
        shown = brief(records, path, terminal_width(), prepared, own, drawn)
        click.echo(shown, nl=False)
    if not kept and style == "table":
        where, *commands = next_steps(records, path)
        ran = any(record.status.ran for record in records)
        click.echo("\n".join([where, *(commands if ran else ())]))
    elif not kept:
        click.echo(f"{len(records)} records in {path}", err=True)
    if nothing is not None:
        raise nothing
    failed = any(record.status.failed for record in records)
    if records and not failed and not any(record.status.ran for record in records):
        first = records[0]
        raise NothingCouldRunError(
            f"nothing could run: {first.gemm} on {first.backend} is {first.status}: {first.reason}"
        )
    return int(failed)
