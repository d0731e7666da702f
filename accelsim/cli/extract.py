"""``accelsim extract``: capture a model's GEMMs into a bundle."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from accelsim.cli.shared import gemm_option, output_option, say_next
from accelsim.errors import InputError

if TYPE_CHECKING:
    from workloads.models.extraction import BundleEstimate
    from workloads.models.runnable import Runnable

PHASES = {"forward": ("forward",), "backward": ("grad_input", "grad_weight")}


@click.command("extract")
@click.argument("name", required=False)
@click.option("--model", metavar="MODULE:NAME", help="Your model, or a function that makes it.")
@click.option("--onnx", type=click.Path(path_type=Path), metavar="FILE", help="An ONNX model.")
@click.option(
    "--input",
    "batch_of",
    metavar="MODULE:NAME",
    help="Its input, or a function that makes it; of an ONNX model a .npz file.",
)
@click.option(
    "--loss", metavar="MODULE:NAME", help="A function of its output, for the backward pass."
)
@click.option(
    "--hf", type=click.Path(path_type=Path), metavar="PATH", help="A local Hugging Face folder."
)
@click.option("--gguf", metavar="FILE", help="The GGUF file in that folder.")
@click.option(
    "--text",
    type=click.Path(path_type=Path),
    help="The text that a language model reads: a UTF-8 file.",
)
@click.option(
    "--phase",
    "phases",
    type=click.Choice(list(PHASES)),
    multiple=True,
    default=["forward"],
    show_default=True,
    help="Which pass; may be repeated.",
)
@gemm_option
@click.option("--batch", type=click.IntRange(min=1), help="Number of sequences.")
@click.option("--tokens", type=click.IntRange(min=1), help="Number of tokens in each.")
@click.option(
    "--rows", type=click.IntRange(min=1), help="Keep at most this many rows of A and of B."
)
@click.option("--heads", type=click.IntRange(min=1), help="Keep at most this many attention heads.")
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GB",
    help="Skip GEMMs beyond this many GB of operands.",
)
@output_option("The bundle to write", required=True)
def command(
    name: str | None,
    model: str | None,
    onnx: Path | None,
    batch_of: str | None,
    loss: str | None,
    hf: Path | None,
    gguf: str | None,
    text: Path | None,
    phases: tuple[str, ...],
    globs: tuple[str, ...],
    batch: int | None,
    tokens: int | None,
    rows: int | None,
    heads: int | None,
    budget: float | None,
    output: Path,
) -> None:
    """Capture the GEMMs of a model into a .safetensors bundle.

    The model is one of the catalog (NAME; `accelsim workloads models` lists it), a local Hugging
    Face folder (--hf), or your own (--model and --input). It runs twice: to determine the size of
    the bundle, and to capture. Of an ONNX model (--onnx and --input FILE.npz) the operands of every
    MatMul and Gemm are taken, as onnxruntime computes them.
    """
    from workloads.capture import Sampling
    from workloads.models.extraction import check_space, estimate, extract

    if sum(choice is not None for choice in (name, model, hf, onnx)) != 1:
        raise InputError("give one of a NAME of the catalog, --model, --hf and --onnx")
    if output.suffix != ".safetensors":
        raise InputError(f"--output {output}: expected a name that ends with .safetensors")
    if onnx is not None:
        _refuse("another model than --onnx", {"--loss": loss, "--gguf": gguf, "--text": text})
        sizes = {"--batch": batch, "--tokens": tokens, "--rows": rows, "--heads": heads}
        _refuse("another model than --onnx", {**sizes, "--budget": budget})
        _extract_onnx(onnx, batch_of, phases, globs, output)
        return
    chosen = tuple(phase for option in dict.fromkeys(phases) for phase in PHASES[option])
    sampling = Sampling(globs or ("*",), chosen, rows, heads)
    runnable = _runnable(name, model, batch_of, loss, hf, gguf, text, batch, tokens)
    size = estimate(runnable, sampling)
    limit = None if budget is None else int(budget * 1e9)
    needed = size.bytes if limit is None else min(limit, size.bytes)
    check_space(output, needed)
    _say(f"{size.gemms} GEMMs, {size.bytes / 1e9:.3g} GB of operands, to {output}")
    done = extract(runnable, output, sampling, limit, _Progress(size))
    _say_skipped(done.skipped)
    _say_done(len(done.gemms), output)


def _extract_onnx(
    path: Path,
    inputs: str | None,
    phases: tuple[str, ...],
    globs: tuple[str, ...],
    output: Path,
) -> None:
    """Write the GEMMs of an ONNX model, with the operands of one run."""
    from workloads.bundle_writer import write_bundle
    from workloads.models.onnx_operands import onnx_gemms

    if inputs is None:
        raise InputError("--onnx needs --input FILE.npz, with an array for each input of the model")
    if set(phases) != {"forward"}:
        raise InputError("--phase: an ONNX model has a forward pass alone")
    gemms, skipped = onnx_gemms(path, Path(inputs), globs or ("*",))
    write_bundle(output, gemms, {"model": path.name, "input": Path(inputs).name})
    _say_skipped(skipped)
    _say_done(len(gemms), output)


def _say_done(gemms: int, bundle: Path) -> None:
    """Say what was written, and which commands take it."""
    click.echo(f"{gemms} GEMMs in {bundle}")
    workload = quote(f"workloads={{bundle: {json.dumps(str(bundle.resolve()))}}}")
    folder = quote(f"runs/{bundle.stem}")
    say_next(
        (f"accelsim workloads stats {quote(str(bundle))}", "how heavy its heavy hitters are"),
        (f"accelsim run quickstart --set {workload} -o {folder}", "exactness, r and times"),
        ("accelsim config copy quickstart -o my.yaml", "a config of your own, for `bundle: FILE`"),
    )


def _say_skipped(skipped: Mapping[str, int]) -> None:
    for reason, count in skipped.items():
        _say(f"skipped {count}: {reason}")


def _runnable(
    name: str | None,
    model: str | None,
    batch_of: str | None,
    loss: str | None,
    hf: Path | None,
    gguf: str | None,
    text: Path | None,
    batch: int | None,
    tokens: int | None,
) -> Runnable:
    """Open the model that the options name, and refuse options of another kind of model."""
    from workloads.models.opening import open_folder, open_model
    from workloads.models.references import user_runnable
    from workloads.models.text import read_text

    if model is None:
        _refuse("--model", {"--input": batch_of, "--loss": loss})
    else:
        given = {"--text": text, "--batch": batch, "--tokens": tokens}
        _refuse("NAME or --hf", given)
        if batch_of is None:
            raise InputError("--model needs --input MODULE:NAME")
        return user_runnable(model, batch_of, loss)
    if hf is not None:
        return open_folder(hf, gguf, read_text(text), batch, tokens)
    _refuse("--hf", {"--gguf": gguf})
    assert name is not None
    return open_model(name, read_text(text) if text else None, batch, tokens, _say)


def _refuse(owner: str, options: Mapping[str, object]) -> None:
    for option, value in options.items():
        if value is not None:
            raise InputError(f"{option} goes with {owner}")


class _Progress:
    """Prints from time to time how many GEMMs have been captured."""

    def __init__(self, size: BundleEstimate) -> None:
        self._total, self._done = size.gemms, 0

    def __call__(self, name: str) -> None:
        self._done += 1
        if self._done % 50 == 0 or self._done == self._total:
            _say(f"[{self._done}/{self._total}] {name}")


def _say(message: str) -> None:
    click.echo(f"accelsim: {message}", err=True)
    sys.stderr.flush()
