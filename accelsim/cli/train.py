"""``accelsim train``: whether integers are enough to train a model from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from accelsim.cli.parity import carry_out, options, with_device


@click.command("train")
@options
def command(
    config: Path,
    overrides: tuple[str, ...],
    device: str | None,
    plans: tuple[Path, ...],
    **how: Any,
) -> int:
    """Train the small model of the YAML file CONFIG in floats and in integers.

    Every treatment starts from the same weights and sees the same data in the same order. With
    --resume, an interrupted run continues from its last checkpoint.
    """
    from accelsim.parity.configs import load_train_config
    from accelsim.parity.training import train
    from accelsim.records.experiments import TrainRecord
    from accelsim.report.experiments import training_rows
    from accelsim.report.figures.experiments import draw_training

    resolved = load_train_config(config, with_device(overrides, device), plans)
    return carry_out(resolved, TrainRecord, train, "step", training_rows, draw_training, **how)
