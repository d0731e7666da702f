"""``accelsim invariance``: whether a model's bits depend on how its prompts are run."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.shared import format_option, output_option
from accelsim.report.formats import Format

if TYPE_CHECKING:
    from accelsim.parity.invariance import LevelVerdict, WayOutcome

SHOWN = 10
"""Digits of a hash in the table."""


@click.command("invariance")
@click.argument("model")
@click.option(
    "--level",
    type=click.IntRange(1, 3),
    default=1,
    show_default=True,
    help="1: one device; 2: CPU and CUDA; 3: K cut over two processes.",
)
@click.option(
    "--prompts", type=click.IntRange(2), default=8, show_default=True, help="How many prompts."
)
@click.option(
    "--tokens",
    type=click.IntRange(3),
    default=24,
    show_default=True,
    help="Tokens of the longest prompt; each further one has a token less.",
)
@click.option(
    "--fill",
    type=click.IntRange(2),
    default=16,
    show_default=True,
    help="Rows of the batch that is filled up with others.",
)
@click.option(
    "--activations-beta",
    "beta",
    type=click.FloatRange(min=0, min_open=True),
    default=63,
    show_default=True,
    help="β of activations and attention.",
)
@click.option(
    "--weights-beta",
    type=click.FloatRange(min=0, min_open=True),
    default=127,
    show_default=True,
    help="β of weights.",
)
@click.option(
    "--percentile",
    type=click.FloatRange(min=0, min_open=True, max=100),
    default=95,
    show_default=True,
    help="Which magnitude becomes beta / 2.",
)
@click.option(
    "--text",
    type=click.Path(path_type=Path),
    help="A text that prompts are cut from; one that comes with the suite by default.",
)
@click.option("--gguf", metavar="FILE", help="The name of the GGUF file in the folder MODEL.")
@output_option("Write all outcomes there as JSON")
@format_option("the table")
def command(
    model: str,
    level: int,
    prompts: int,
    tokens: int,
    fill: int,
    beta: float,
    weights_beta: float,
    percentile: float,
    text: Path | None,
    gguf: str | None,
    output: Path | None,
    style: Format,
) -> int:
    """Run the same prompts of MODEL in many ways and compare the bits of its logits.

    MODEL is a language model's name in the catalog, or a local folder of Hugging Face's format. The
    prompts run alone, in batches, shuffled, padded, in chunks with a cache, with one thread and
    two, and on other backends, in floats and in integers. Exit status: 0 only if every way of the
    level ran and gave the same integers' bits. Needs the extra models.
    """
    import torch

    from accelsim.errors import InputError
    from accelsim.parity.invariance import cut_prompts, hashes, measure, verdict
    from accelsim.report.tables import render
    from workloads.models.huggingface import load
    from workloads.models.opening import load_catalog_model
    from workloads.models.text import read_text

    def tell(line: str) -> None:
        click.echo(line, err=True)

    if output is not None and not output.parent.is_dir():
        raise InputError(f"--output: there is no folder {output.parent}")
    folder = Path(model)
    loaded = load(folder, gguf) if folder.is_dir() else load_catalog_model(model, tell)
    if not loaded.generates:
        raise InputError(f"{model} is an encoder; expected a causal language model")
    source = read_text(text)
    ids = loaded.tokenizer(source.content, add_special_tokens=False, verbose=False)["input_ids"]
    options = {"beta": {"weights": weights_beta, "default": beta}, "percentile": percentile}
    cut = cut_prompts(ids, prompts, tokens)
    outcomes = measure(loaded.model, cut, level, max(fill, prompts), options, tell)
    verdicts = [verdict(outcomes, each) for each in range(1, level + 1)]
    counts = {
        name: hashes(outcomes, name) for name in dict.fromkeys(o.arithmetic for o in outcomes)
    }
    if output is not None:
        found: dict[str, Any] = {
            "model": folder.name,
            "torch": torch.__version__,
            "machine": platform.machine(),
            "processor": torch.backends.cpu.get_cpu_capability(),
            "prompts": prompts,
            "tokens": tokens,
            **options,
            "hashes": counts,
            "levels": [each.to_record() for each in verdicts],
            "outcomes": [outcome.to_record() for outcome in outcomes],
        }
        output.write_text(json.dumps(found, indent=1) + "\n")
    rows = [_row(outcome) for outcome in outcomes]
    if style == "json":
        rows = [outcome.to_record() for outcome in outcomes]
    click.echo(render(rows, None, style), nl=False)
    _conclude(counts, verdicts)
    return int(not verdicts[-1].holds)


def _row(outcome: WayOutcome) -> dict[str, Any]:
    first = None
    if outcome.prompt is not None:
        first = f"prompt {outcome.prompt + 1}, token {(outcome.token or 0) + 1}"
    return {
        "arithmetic": outcome.arithmetic,
        "way": outcome.way,
        "tokens": outcome.tokens or None,
        "sha256": outcome.sha256[:SHOWN] or None,
        "same bits": outcome.same,
        "first difference": first,
        "largest": outcome.largest,
        "first operator": outcome.operator or outcome.reason or None,
        "seconds": outcome.seconds if outcome.same is not None else None,
    }


def _conclude(counts: dict[str, int], verdicts: list[LevelVerdict]) -> None:
    for name, count in counts.items():
        click.echo(f"{name}: {count} different result{'s' if count > 1 else ''}", err=True)
    for each in verdicts:
        why = "holds" if each.holds else f"is not established: {'; '.join(each.reasons)}"
        click.echo(f"level {each.level} {why}", err=True)
