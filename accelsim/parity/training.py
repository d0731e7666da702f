"""``accelsim train``: a small model from scratch under each treatment of its GEMMs."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.optim import AdamW

from accelsim.errors import DataError
from accelsim.files import commit, stage_by
from accelsim.parity.configs import ParityConfig, Probe, TrainSections
from accelsim.parity.coverage import add_tally
from accelsim.parity.devices import check_device
from accelsim.parity.treatments import NOTHING_REPLACED, Treatment
from accelsim.records import RunFolder
from accelsim.records.experiments import TrainRecord, training_key
from accelsim.records.folder import CHECKPOINTS
from workloads.models.tasks import TASKS, Task

Say = Callable[[str], None]


class _Run:
    """A training run on its way: everything that a checkpoint holds."""

    def __init__(self, task: Task, sections: TrainSections, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = task.model().to(sections.device)
        self.optimizer = AdamW(self.model.parameters(), lr=sections.learning_rate)
        self.curves: dict[str, Any] = {
            "step": 0,
            "losses": [],
            "evaluations": [],
            "probes": [],
            "tally": {},
            "seconds": 0.0,
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint; a crash leaves the old one or the new one."""
        path.parent.mkdir(exist_ok=True)
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        state["curves"] = self.curves
        commit(stage_by(path, lambda temporary: torch.save(state, temporary)), path)

    def restore(self, path: Path, device: str) -> None:
        """Continue from a checkpoint."""
        state = torch.load(path, map_location=device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.curves = {**self.curves, **state["curves"]}


def train(
    config: ParityConfig[TrainSections], folder: RunFolder[TrainRecord], say: Say
) -> list[TrainRecord]:
    """Train under every treatment with every seed that the folder does not have yet.

    An interrupted run continues from its last checkpoint, with the same result.

    Raises
    ------
    InputError
        If the device is missing or a backend does not run here.
    """
    sections = config.sections
    sizes = {"width": sections.width, "layers": sections.layers, "heads": sections.heads}
    given = {"batch": sections.batch, "context": sections.context}
    task = TASKS[sections.task](**sizes, **{k: v for k, v in given.items() if v is not None})
    folder.note(data=task.source)
    done = folder.done_keys()
    for seed in sections.seeds:
        for treatment in config.treatments:
            key = training_key(treatment.to_record(), seed)
            if key in done:
                continue
            check_device(sections.device)
            name = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
            checkpoint = folder.path / CHECKPOINTS / f"{name}.pt"
            folder.append(_train(task, config, treatment, seed, folder, checkpoint, say))
            checkpoint.unlink(missing_ok=True)
    return list(folder.records)


def _train(
    task: Task,
    config: ParityConfig[TrainSections],
    treatment: Treatment,
    seed: int,
    folder: RunFolder[TrainRecord],
    checkpoint: Path,
    say: Say,
) -> TrainRecord:
    sections = config.sections
    run = _Run(task, sections, seed)
    if folder.begun and checkpoint.is_file():
        run.restore(checkpoint, sections.device)
        say(f"{treatment.label}, seed {seed}: going on after step {run.curves['step']}")
    curves, reason = run.curves, ""
    try:
        _steps(run, task, config, treatment, seed, folder, checkpoint, say)
    except DataError as error:
        reason = f"step {curves['step']}: {error}"
    evaluations = curves["evaluations"]
    final = evaluations[-1][1] if evaluations and not reason else None
    return TrainRecord(
        task=sections.task,
        treatment=treatment.to_record(),
        label=treatment.label,
        seed=seed,
        parameters=sum(x.numel() for x in run.model.parameters()),
        metric=task.metric,
        final=final,
        losses=curves["losses"],
        evaluations=evaluations,
        probes=curves["probes"],
        seconds=curves["seconds"],
        reason=reason,
        tally=curves["tally"],
    )


def _steps(
    run: _Run,
    task: Task,
    config: ParityConfig[TrainSections],
    treatment: Treatment,
    seed: int,
    folder: RunFolder[TrainRecord],
    checkpoint: Path,
    say: Say,
) -> None:
    sections, curves = config.sections, run.curves
    start = time.perf_counter() - curves["seconds"]
    losses: list[float] = []
    while curves["step"] < sections.steps:
        losses.append(_step(run, task, treatment, config.probe, seed))
        curves["step"] += 1
        if not math.isfinite(losses[-1]):
            raise DataError(f"the loss is {losses[-1]}")
        if curves["step"] % sections.evaluate_every == 0 or curves["step"] == sections.steps:
            with treatment.context(run.model):
                value = task.evaluate(run.model)
            curves["losses"].append([curves["step"], sum(losses) / len(losses)])
            curves["evaluations"].append([curves["step"], value])
            curves["seconds"] = time.perf_counter() - start
            folder.begin()
            run.save(checkpoint)
            say(
                f"{treatment.label}, seed {seed}, step {curves['step']}/{sections.steps}: "
                f"loss {curves['losses'][-1][1]:.4f}, {task.metric} {value:.4f}"
            )
            losses = []


def _step(run: _Run, task: Task, treatment: Treatment, probe: Probe | None, seed: int) -> float:
    """Take one step of the optimizer and return the loss before it."""
    number = run.curves["step"]
    mode: Any = treatment.context(run.model)
    probing = probe is not None and treatment.method == "integers" and number % probe.every == 0
    if probe is not None and probing:
        probed = replace(treatment, backend=probe.backend, unpacking=probe.unpacking, check=False)
        mode = probed.integers(run.model)
    run.optimizer.zero_grad()
    with mode:
        loss = task.loss(run.model, task.batch(number, seed))
        loss.backward()  # type: ignore[no-untyped-call]
    if treatment.method == "integers":
        if not mode.tally.total.gemms:
            raise DataError(NOTHING_REPLACED)
        run.curves["tally"] = add_tally(run.curves["tally"], mode.tally.summary())
    run.optimizer.step()
    if probing:
        run.curves["probes"].append({"step": number, **_found(mode.tally)})
    return float(loss.detach())


def _found(tally: Any) -> dict[str, float | None]:
    """Return the unpack ratio and the out-of-bound share, of both passes."""
    found: dict[str, float | None] = {}
    for name, forward in (("forward", True), ("backward", False)):
        counts = tally.sum(lambda phase, f=forward: (phase == "forward") == f)
        share = counts.out_of_bound / counts.entries if counts.entries else None
        found |= {f"{name}_ratio": counts.ratio, f"{name}_out_of_bound": share}
    return found
