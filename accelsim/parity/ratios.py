"""Unpack ratios of the operands of trained models, by kind of GEMM."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from accelsim.errors import InputError
from accelsim.integer_mode import integer_gemms
from accelsim.integer_mode.tally import Tally, Totals
from accelsim.parity.configs import TrainSections
from accelsim.parity.devices import check_device
from accelsim.parity.training import checkpoint_of, make_task
from accelsim.records.experiments import TrainRecord
from accelsim.records.loading import kind_of, load_experiment
from workloads.models.task import Task

FLOAT_BETA = {"default": 31.0, "gradients": 1023.0}
"""How the operands of a model that was trained in floats are rounded."""

_KINDS = (
    ("all", "forward"),
    ("linear", "forward"),
    ("qk", "forward"),
    ("pv", "forward"),
    ("all", "backward"),
    ("linear", "grad_input"),
    ("linear", "grad_weight"),
    ("qk", "grad_input"),
    ("qk", "grad_weight"),
    ("pv", "grad_input"),
    ("pv", "grad_weight"),
)


@dataclass(frozen=True)
class Unpacked:
    """How operands are unpacked.

    Parameters
    ----------
    backend : str
        What multiplies.
    bits : sequence of int
        Widths of the digits; each is tried.
    strategy, digits : str
        As `accelsim.integer_gemms` takes them.
    """

    backend: str
    bits: Sequence[int]
    strategy: str
    digits: str


def trained_ratios(
    folder: Path, how: Unpacked, device: str | None = None, seed: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield rows: the unpack ratio of each kind of GEMM of each trained model at each width.

    The models are the checkpoints that a run of ``accelsim train`` with ``keep: true`` has left;
    the operands are those of the batch that would come next, rounded as they were in training.
    Operands of models that were trained otherwise than in integers are rounded by `FLOAT_BETA`.

    Parameters
    ----------
    folder : Path
        Of the run.
    how : Unpacked
        How operands are unpacked.
    device : str, optional
        Where; by default where the model was trained.
    seed : int, optional
        Of the models that are looked at; by default all.

    Raises
    ------
    InputError
        If the folder is none of a training, or has no checkpoints.
    """
    if kind_of(folder) is not TrainRecord:
        raise InputError(f"{folder}: has no record of accelsim train")
    run = load_experiment(folder, TrainRecord)
    config: dict[str, Any] = {**run.config, **({} if device is None else {"device": device})}
    records = [record for record in run.records if isinstance(record, TrainRecord)]
    sections = TrainSections.model_construct(**config)
    check_device(sections.device)
    task = make_task(sections)
    wanted = [record for record in records if seed is None or record.seed == seed]
    files = {r.key: checkpoint_of(folder, r.treatment, r.seed) for r in wanted}
    kept = [record for record in wanted if files[record.key].is_file()]
    if not kept:
        raise InputError(f"{folder}: has no checkpoint of a trained model; train with `keep: true`")
    for record in kept:
        state = torch.load(files[record.key], map_location=sections.device, weights_only=True)
        model = task.model().to(sections.device)
        model.load_state_dict(state["model"])
        for bits in how.bits:
            tally = _tally(model, task, record, sections.steps, how, bits)
            named = {"task": record.task, "treatment": record.label, "seed": record.seed}
            for row in _rows(tally):
                yield {**named, "beta": _beta(record), "bits": bits, **row}


def wide(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the table of the paper: a row for each kind of GEMM, a column for each width."""
    named = ("task", "treatment", "seed", "beta", "op", "phase")
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        key = json.dumps([row[name] for name in named])
        line = found.setdefault(key, {name: row[name] for name in named})
        line[f"r at b = {row['bits']}"] = row["ratio"]
    return list(found.values())


def _beta(record: TrainRecord) -> Any:
    return record.treatment.get("beta", FLOAT_BETA)


def _tally(
    model: nn.Module, task: Task, record: TrainRecord, step: int, how: Unpacked, bits: int
) -> Tally:
    """Compute the gradients of the next batch and return the counts."""
    treatment: dict[str, Any] = dict(record.treatment)
    rounding = {
        name: treatment[name]
        for name in ("percentile", "granularity", "zero_alpha", "gemms", "skip", "ops")
        if name in treatment
    }
    mode = integer_gemms(
        model,
        _beta(record),
        backend=how.backend,
        bits=bits,
        strategy=how.strategy,
        digits=how.digits,
        **rounding,
    )
    model.zero_grad()
    with mode:
        loss = task.loss(model, task.batch(step, record.seed))
        loss.backward()  # type: ignore[no-untyped-call]
    return mode.tally


def _rows(tally: Tally) -> Iterator[dict[str, Any]]:
    for op, phase in _KINDS:
        counts = sum(
            (
                found
                for (_, of, at), found in tally.by_place.items()
                if op in ("all", of) and phase in (at, "forward" if at == "forward" else "backward")
            ),
            Totals(),
        )
        if counts.gemms:
            beyond = counts.out_of_bound / counts.entries if counts.entries else None
            yield {
                "op": op,
                "phase": phase,
                "gemms": counts.gemms,
                "macs": counts.dense_macs,
                "ratio": counts.ratio,
                "out_of_bound": beyond,
            }
