"""``accelsim train``: a small model from scratch under each treatment of its GEMMs."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.optim import AdamW

from accelsim.errors import AccelsimError, DataError
from accelsim.files import commit, stage_by
from accelsim.integer_mode import IntegerGemms
from accelsim.measure.durations import duration
from accelsim.parity.configs import ParityConfig, Probe, TrainSections
from accelsim.parity.coverage import add_tally
from accelsim.parity.devices import check_device
from accelsim.parity.forecast import BUDGET_S, seconds_of
from accelsim.parity.progress import Course, ExpectedTime, Part, Show, unseen
from accelsim.parity.treatments import NOTHING_REPLACED, Treatment
from accelsim.records import RunFolder
from accelsim.records.experiments import TrainRecord, training_key
from accelsim.records.folder import CHECKPOINTS
from workloads.models.task import Task
from workloads.models.tasks import TASKS

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
    config: ParityConfig[TrainSections],
    folder: RunFolder[TrainRecord],
    say: Say,
    show: Show = unseen,
) -> list[TrainRecord]:
    """Train under every treatment with every seed that the folder does not have yet.

    An interrupted run continues from its last checkpoint, with the same result.

    Parameters
    ----------
    config : ParityConfig
        What is trained.
    folder : RunFolder
        Gets a record as soon as it is known, and checkpoints.
    say : callable
        Called with lines that are worth keeping.
    show : callable, optional
        Called with the progress.

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
    runs = [
        _Planned(treatment, seed, folder.path / CHECKPOINTS / f"{_digest(key)}.pt")
        for seed in sections.seeds
        for treatment in config.treatments
        if (key := training_key(treatment.to_record(), seed)) not in done
    ]
    if runs:
        check_device(sections.device)
    course = Course(_parts(task, config, runs), show)
    if runs:
        about = duration(course.seconds)
        say(f"models to train: {len(runs)}, {sections.steps} steps each; about {about} in all")
    for place, planned in enumerate(runs):
        folder.append(_train(task, config, planned, folder, say, course, place))
        planned.checkpoint.unlink(missing_ok=True)
    return list(folder.records)


@dataclass(frozen=True)
class _Planned:
    """A training run that is to be made, and the file of its checkpoint."""

    treatment: Treatment
    seed: int
    checkpoint: Path

    @property
    def label(self) -> str:
        return f"{self.treatment.label}, seed {self.seed}"


def _digest(key: tuple[str, ...]) -> str:
    return hashlib.sha256(repr(key).encode()).hexdigest()[:16]


def _parts(task: Task, config: ParityConfig[TrainSections], runs: Sequence[_Planned]) -> list[Part]:
    """Return the training runs with their expected time, from two steps of each treatment."""
    costs: dict[str, ExpectedTime] = {}
    start = time.perf_counter()
    for planned in runs:
        label = planned.treatment.label
        if label not in costs:
            late = time.perf_counter() - start > BUDGET_S
            each = (
                sum(cost.each for cost in costs.values()) / len(costs)
                if late
                else _seconds_per_step(task, config.sections, planned.treatment)
            )
            costs[label] = ExpectedTime(each)
    return [Part(run.label, config.sections.steps, costs[run.treatment.label]) for run in runs]


def _seconds_per_step(task: Task, sections: TrainSections, treatment: Treatment) -> float:
    """Time a step and an evaluation of a model that is thrown away, after a first of each."""
    run = _Run(task, sections, 0)
    step, evaluation = 0.0, 0.0
    with suppress(AccelsimError):  # what fails here fails in the experiment, with its message
        for _ in range(2):
            step = seconds_of(lambda: _backward(run, task, treatment.context(run.model), 0))
            evaluation = seconds_of(lambda: _evaluated(run, task, treatment))
    return step + evaluation / sections.evaluate_every


def _train(
    task: Task,
    config: ParityConfig[TrainSections],
    planned: _Planned,
    folder: RunFolder[TrainRecord],
    say: Say,
    course: Course,
    place: int,
) -> TrainRecord:
    sections, treatment, seed = config.sections, planned.treatment, planned.seed
    run = _Run(task, sections, seed)
    if folder.begun and planned.checkpoint.is_file():
        run.restore(planned.checkpoint, sections.device)
        say(f"{planned.label}: going on after step {run.curves['step']}")
    curves, reason = run.curves, ""
    course.begin(place, curves["step"])
    try:
        _steps(run, task, config, planned, folder, say, course)
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
    planned: _Planned,
    folder: RunFolder[TrainRecord],
    say: Say,
    course: Course,
) -> None:
    sections, curves = config.sections, run.curves
    start = time.perf_counter() - curves["seconds"]
    losses: list[float] = []
    while curves["step"] < sections.steps:
        losses.append(_step(run, task, planned.treatment, config.probe, planned.seed))
        curves["step"] += 1
        course.reach(curves["step"])
        if not math.isfinite(losses[-1]):
            raise DataError(f"the loss is {losses[-1]}")
        if curves["step"] % sections.evaluate_every == 0 or curves["step"] == sections.steps:
            value = _evaluated(run, task, planned.treatment)
            curves["losses"].append([curves["step"], sum(losses) / len(losses)])
            curves["evaluations"].append([curves["step"], value])
            curves["seconds"] = time.perf_counter() - start
            folder.begin()
            run.save(planned.checkpoint)
            say(
                f"{planned.label}, step {curves['step']}/{sections.steps}: "
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
    loss = _backward(run, task, mode, seed)
    if isinstance(mode, IntegerGemms):
        if not mode.tally.total.gemms:
            raise DataError(NOTHING_REPLACED)
        run.curves["tally"] = add_tally(run.curves["tally"], mode.tally.summary())
    run.optimizer.step()
    if probing:
        run.curves["probes"].append({"step": number, **_found(mode.tally)})
    return loss


def _backward(run: _Run, task: Task, mode: AbstractContextManager[Any], seed: int) -> float:
    """Compute the gradients of the step's batch and return the loss."""
    run.optimizer.zero_grad()
    with mode:
        loss = task.loss(run.model, task.batch(run.curves["step"], seed))
        loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _evaluated(run: _Run, task: Task, treatment: Treatment) -> float:
    with treatment.context(run.model):
        return task.evaluate(run.model)


def _found(tally: Any) -> dict[str, float | None]:
    """Return the unpack ratio and the out-of-bound share, of both passes."""
    found: dict[str, float | None] = {}
    for name, forward in (("forward", True), ("backward", False)):
        counts = tally.sum(lambda phase, f=forward: (phase == "forward") == f)
        share = counts.out_of_bound / counts.entries if counts.entries else None
        found |= {f"{name}_ratio": counts.ratio, f"{name}_out_of_bound": share}
    return found
