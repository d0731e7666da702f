"""``accelsim eval``: whether integers are enough for a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from accelsim.cli.parity import carry_out, options, with_device
from accelsim.plugins.extras import need


@click.command("eval")
@options
def command(
    config: Path,
    overrides: tuple[str, ...],
    device: str | None,
    plans: tuple[Path, ...],
    **how: Any,
) -> int:
    """Evaluate the model of CONFIG with its GEMMs in floats, in integers, and clipped.

    A causal language model gets its perplexity on a text, an encoder the cosine of its embeddings
    to those in floating point. Needs the extra models.

    The model of CONFIG is a name of `accelsim workloads models`, or a local Hugging Face folder
    with its tokenizer. For a module of your own use accelsim.integer_gemms
    (docs/guide-researcher.md).
    """
    from accelsim.parity.configs import load_eval_config
    from accelsim.parity.evaluation import evaluate
    from accelsim.records.experiments import EvalRecord
    from accelsim.report.experiments import quality_rows
    from accelsim.report.figures.experiments import draw_quality

    resolved = load_eval_config(config, with_device(overrides, device), plans)
    need("transformers", "models")  # before the folder is touched
    return carry_out(resolved, EvalRecord, evaluate, "window", quality_rows, draw_quality, **how)
