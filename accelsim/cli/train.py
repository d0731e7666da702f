"""``accelsim train``: whether integers are enough to train a model from scratch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from accelsim.cli.parity import carry_out, options, with_device


@click.command("train")
@click.option(
    "--treatment",
    "treatments",
    type=int,
    multiple=True,
    metavar="N",
    help="Train only by the N-th treatment of the config, from 1; may be repeated.",
)
@click.option(
    "--seed", "seeds", type=int, multiple=True, help="Train only with this seed; may be repeated."
)
@options
def command(
    config: Path,
    overrides: tuple[str, ...],
    device: str | None,
    plans: tuple[Path, ...],
    treatments: tuple[int, ...],
    seeds: tuple[int, ...],
    **how: Any,
) -> int:
    """Train the small model of the YAML file CONFIG in floats and in integers.

    Every treatment starts from the same weights and sees the same data in the same order. With
    --resume, an interrupted run continues from its last checkpoint, and further runs of the config,
    chosen by --treatment and --seed, are added to the folder.
    """
    from accelsim.parity.configs import load_train_config
    from accelsim.parity.training import Wanted, train
    from accelsim.records.experiments import TrainRecord
    from accelsim.report.experiments import training_rows
    from accelsim.report.figures.experiments import draw_training

    resolved = load_train_config(config, with_device(overrides, device), plans)
    work = partial(train, wanted=Wanted(treatments, seeds))
    return carry_out(resolved, TrainRecord, work, "step", training_rows, draw_training, **how)
