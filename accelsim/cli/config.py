"""``accelsim config``: the schema of a config, and what a config would run."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.shared import (
    backend_option,
    cost_only_option,
    format_option,
    output_option,
    set_option,
)
from accelsim.errors import InputError
from accelsim.measure.durations import duration
from accelsim.plugins.shipped import shipped_files
from accelsim.report.formats import Format

if TYPE_CHECKING:
    from accelsim.config import RunConfig
    from accelsim.parity.configs import ParityConfig
    from accelsim.runner.cases import Setting
    from accelsim.runner.estimate import RunEstimate
    from workloads import Gemm


_SAMPLE = (64, 64, 64)
"""Shape of the product by which a model is asked to describe itself."""

_MOST_DESIGNS = 16
"""Number of modelled accelerators that are described."""


@click.group("config")
def command() -> None:
    """Help with writing configs."""


@command.command("list", short_help="List the configs that come with accelsim.")
@format_option("the list")
def list_command(style: Format) -> None:
    """List the configs that come with accelsim; commands take them by name."""
    from accelsim.config.config_kind import read_kind
    from accelsim.config.shipped import describe_config
    from accelsim.report.tables import render

    rows = [
        {"name": name, "command": f"accelsim {read_kind(path)}", "what": describe_config(path)}
        for name, path in shipped_files().items()
    ]
    click.echo(_list(rows) if style == "table" else render(rows, None, style), nl=False)


def _list(rows: Sequence[Mapping[str, str]]) -> str:
    """Return a name a line with its command, and what it is about below, in lines of the width."""
    width = shutil.get_terminal_size((80, 24)).columns
    widest = max(len(row["name"]) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{row['name']:{widest}}  {row['command']}")
        lines += textwrap.wrap(row["what"], width, initial_indent="  ", subsequent_indent="  ")
    return "".join(f"{line}\n" for line in lines)


@command.command()
@click.argument("name")
@output_option("The file to write [default: NAME.yaml]")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def copy(name: str, output: Path | None, overwrite: bool) -> None:
    """Write a copy of the shipped config NAME, to start from.

    Its first line names the schema by which editors complete keys.
    """
    from accelsim.config.config_kind import read_kind
    from accelsim.config.shipped import copied_config

    target = output or Path(f"{name}.yaml")
    text = copied_config(name, target)
    try:
        with target.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{target} is there already; use --overwrite, or -o FILE") from None
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}") from error
    click.echo(target)
    click.echo(f"\nNext:\n  accelsim {read_kind(target)} {target}", err=True)


@command.command(short_help="Print the JSON Schema of configs.")
@click.argument("kind", type=click.Choice(("run", "eval", "train", "plan")), default="run")
def schema(kind: str) -> None:
    """Print the JSON Schema of a config of `accelsim run`, `eval` or `train`, or of a plan.

    Save it, and name it in the first line of a config, so that editors with a YAML language server
    complete keys: # yaml-language-server: $schema=accelsim.schema.json
    """
    if kind == "run":
        from accelsim.config.schema import config_schema

        found = config_schema()
    elif kind == "plan":
        from accelsim.config.plan_schema import plan_schema

        found = plan_schema()
    else:
        from accelsim.parity.schema import parity_schema

        found = parity_schema(kind)
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))


@command.command(short_help="Check a config, and say what it would do.")
@click.argument("file", type=click.Path(path_type=Path))
@set_option
@backend_option
@cost_only_option
def check(
    file: Path, overrides: tuple[str, ...], backends: tuple[str, ...], cost_only: bool
) -> None:
    """Check the config FILE, of `accelsim run`, `eval` or `train`, and show what it would do.

    Nothing is written. For `run`, time and memory are extrapolated from a sample of backends and
    settings on a part of a medium-sized GEMM, with the machine's present load: expect an error of
    up to a factor of two, also where nothing is multiplied (--cost-only, product: none).
    """
    from accelsim.config.config_kind import read_kind

    kind = read_kind(file, overrides)
    if cost_only and kind != "run":
        raise InputError(f"--cost-only is for configs of `accelsim run`; {file} is one of `{kind}`")
    if kind == "run":
        overrides = (*overrides, *(["product=none"] if cost_only else []))
        lines = _run(file, overrides, backends)
    elif backends:
        raise InputError(f"--backend is for configs of `accelsim run`; {file} is one of `{kind}`")
    else:
        lines = _evaluation(file, overrides) if kind == "eval" else _training(file, overrides)
    for line in lines:
        click.echo(line)


def _run(file: Path, overrides: Sequence[str], backends: Sequence[str]) -> Iterator[str]:
    from accelsim.config import load_config
    from accelsim.runner.cases import list_settings
    from accelsim.runner.estimate import estimate

    config = load_config(file, overrides, backends)
    gemms, settings = config.gemms(), list_settings(config)
    yield from _plan(config, gemms, len(gemms) * len(settings))
    yield from _designs(settings)
    yield f"  results in {config.output}"
    yield from _cost(estimate(config, gemms, settings), config.product == "none")


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _plan(config: RunConfig, gemms: Sequence[Gemm], records: int) -> Iterator[str]:
    """Print what would run."""
    from accelsim.runner.bench import CaseBench
    from accelsim.runner.estimate import sizes

    workloads = Counter(gemm.workload for gemm in gemms)
    small, large = sizes(gemms)
    bench = CaseBench(config)
    yield f"{config.path} is valid for accelsim run: {records} records"
    yield (
        f"  {len(gemms)} GEMMs ({', '.join(f'{n} of {name}' for name, n in workloads.items())}), "
        f"from {small.n}×{small.d}×{small.h} to {large.n}×{large.d}×{large.h}"
    )
    yield (
        f"  {_counted(len(config.quantize_points()), 'way')} to round, "
        f"{len(config.unpack_points())} to unpack, {_counted(len(config.backends), 'backend')}"
    )
    states: Counter[str] = Counter()
    for choice in config.backends:
        found = bench.availability(choice)
        state = f"on {found.device}" if found.available else f"unavailable: {found.reason}"
        states[f"{choice.name}: {state}"] += 1
    for state, times in states.items():
        yield f"  {state}" if times == 1 else f"  {times} × {state}"


def _designs(settings: Sequence[Setting]) -> Iterator[str]:
    """Print a line for each modelled accelerator, as its model describes it."""
    from accelsim.report.cells import text
    from gemm_backends import GemmSpec

    designs: dict[str, None] = {}
    for _, unpacking, _, backend, _ in settings:
        bits = unpacking.bits
        spec = GemmSpec(bits.a, bits.b, *_SAMPLE)
        cost = backend.cost(spec) if backend.supports(spec) else None
        if cost is not None and cost.model:
            width = f"{text(bits.to_record())}-bit {backend.name}"
            sums = f"{backend.accumulator.bits}-bit accumulators"
            designs.setdefault(f"  {width}, {sums}: {cost.model}")
    yield from list(designs)[:_MOST_DESIGNS]
    if len(designs) > _MOST_DESIGNS:
        yield f"  … and {len(designs) - _MOST_DESIGNS} more designs"


def _cost(found: RunEstimate, counted: bool) -> Iterator[str]:
    more = "nothing is multiplied" if counted else "with timing.target_error it may be longer"
    yield (
        f"about {duration(found.seconds)} and {found.memory_bytes / 2**30:.1f} GiB of memory "
        f"(from samples of {found.sampled} of {found.settings} settings; {more})"
    )


def _evaluation(file: Path, overrides: Sequence[str]) -> Iterator[str]:
    from accelsim.parity.configs import load_eval_config

    config = load_eval_config(file, overrides)
    sections = config.sections
    yield f"{file} is valid for accelsim eval: {len(config.treatments)} records"
    yield f"  {sections.model}, {sections.windows} windows of {sections.tokens} tokens"
    yield from _treatments(config)


def _training(file: Path, overrides: Sequence[str]) -> Iterator[str]:
    from accelsim.parity.configs import load_train_config

    config = load_train_config(file, overrides)
    sections = config.sections
    records = len(config.treatments) * len(sections.seeds)
    yield f"{file} is valid for accelsim train: {records} records"
    yield (
        f"  {sections.task}, {sections.layers} layers {sections.width} wide, {sections.steps} "
        f"steps, {len(sections.seeds)} seeds, on {sections.device}"
    )
    yield from _treatments(config)


def _treatments(config: ParityConfig[Any]) -> Iterator[str]:
    for treatment in config.treatments:
        yield f"  {treatment.label}"
    yield f"  results in {config.output}"
