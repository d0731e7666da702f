"""``accelsim config``: the schema of a config, and what a config would run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from accelsim.config import RunConfig
    from accelsim.runner.cases import Case
    from accelsim.runner.estimate import Estimate


@click.group("config")
def command() -> None:
    """Help with writing configs."""


@command.command()
def schema() -> None:
    """Print the JSON Schema of a config.

    Save it, and name it in the first line of a config, so that editors with a YAML language server
    complete keys: # yaml-language-server: $schema=accelsim.schema.json
    """
    from accelsim.config.schema import config_schema

    click.echo(json.dumps(config_schema(), indent=2, ensure_ascii=False))


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option("--backend", "backends", multiple=True, help="Check with these instead.")
def check(file: Path, overrides: tuple[str, ...], backends: tuple[str, ...]) -> None:
    """Check the config FILE and say what it would run, how long and with how much memory.

    Nothing is written. Time and memory are scaled up from a sample of every backend and setting, on
    a crop of a GEMM of middling size, on this machine as busy as it is now: expect a factor of two.
    """
    from accelsim.config import load_config
    from accelsim.runner.cases import list_cases
    from accelsim.runner.estimate import estimate

    config = load_config(file, overrides, backends)
    cases = list_cases(config, config.gemms())
    for line in _plan(config, cases):
        click.echo(line)
    for line in _cost(estimate(config, cases)):
        click.echo(line)


def _plan(config: RunConfig, cases: Sequence[Case]) -> list[str]:
    """Say what would run."""
    from accelsim.runner.bench import Bench
    from accelsim.runner.estimate import sizes

    gemms = config.gemms()
    workloads = Counter(gemm.workload for gemm in gemms)
    small, large = sizes(gemms)
    bench = Bench(config)
    lines = [
        f"{config.path} is valid: {len(cases)} records",
        f"  {len(gemms)} GEMMs ({', '.join(f'{n} of {name}' for name, n in workloads.items())}), "
        f"from {small.n}×{small.d}×{small.h} to {large.n}×{large.d}×{large.h}",
        f"  {len(config.quantize_points())} ways to round, {len(config.unpack_points())} to "
        f"unpack, {len(config.backends)} backends",
    ]
    for choice in config.backends:
        found = bench.availability(choice)
        state = f"on {found.device}" if found.available else f"unavailable: {found.reason}"
        lines.append(f"  {choice.name}: {state}")
    return [*lines, f"  results in {config.output}"]


def _cost(found: Estimate) -> list[str]:
    return [
        f"about {_duration(found.seconds)} and {found.memory_bytes / 2**30:.1f} GiB of memory "
        "(from a sample; with timing.target_error it may be longer)"
    ]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
