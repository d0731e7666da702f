"""``accelsim train``: a model from scratch under each treatment of its GEMMs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.errors import AccelsimError, DataError, InputError
from accelsim.measure.durations import duration
from accelsim.parity.configs import ParityConfig, TrainSections
from accelsim.parity.devices import check_device
from accelsim.parity.forecast import BUDGET_S, seconds_of
from accelsim.parity.progress import Course, ExpectedTime, Part, Show, unseen
from accelsim.parity.repeatable import repeatable, weights_hash
from accelsim.parity.steps import Run
from accelsim.parity.treatments import Treatment
from accelsim.records import RunFolder
from accelsim.records.experiments import TrainRecord, training_key
from accelsim.records.folder import CHECKPOINTS
from workloads.models.task import Task
from workloads.models.tasks import TASKS

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """Which runs of a config are to be made now; the others are left for later.

    Parameters
    ----------
    treatments : sequence of int
        Places in the config's list of treatments, from 1; empty for all.
    seeds : sequence of int
        Empty for all.
    """

    treatments: Sequence[int] = ()
    seeds: Sequence[int] = ()

    def check(self, config: ParityConfig[TrainSections]) -> None:
        """See that the config has them.

        Raises
        ------
        InputError
            If it has not.
        """
        for number in self.treatments:
            if not 1 <= number <= len(config.treatments):
                raise InputError(
                    f"--treatment {number}: the config has {len(config.treatments)} treatments"
                )
        known = {seed for seed, _ in _all_runs(config)}
        for seed in self.seeds:
            if seed not in known:
                raise InputError(
                    f"--seed {seed}: the config has {', '.join(map(str, sorted(known)))}"
                )

    def has(self, number: int, seed: int) -> bool:
        """Whether a run is wanted, by the place of its treatment and its seed."""
        return (not self.treatments or number in self.treatments) and (
            not self.seeds or seed in self.seeds
        )


ALL_RUNS = Wanted()


def make_task(sections: TrainSections) -> Task:
    """Return the task that a config describes.

    Raises
    ------
    InputError
        If its data are not there.
    """
    sizes = {"width": sections.width, "layers": sections.layers, "heads": sections.heads}
    given = {name: getattr(sections, name) for name in ("batch", "context", "data", "vocabulary")}
    return TASKS[sections.task](**sizes, **{k: v for k, v in given.items() if v is not None})


def checkpoint_of(folder: Path, treatment: dict[str, Any], seed: int) -> Path:
    """Return the file of a run's checkpoint in the folder of the results."""
    key = training_key(treatment, seed)
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    return folder / CHECKPOINTS / f"{digest}.pt"


def train(
    config: ParityConfig[TrainSections],
    folder: RunFolder[TrainRecord],
    say: Say,
    show: Show = unseen,
    wanted: Wanted = ALL_RUNS,
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
    wanted : Wanted, optional
        Which of these runs.

    Raises
    ------
    InputError
        If the device or the data are missing, a backend does not run here, or there are no such
        runs.
    """
    wanted.check(config)
    task = make_task(config.sections)
    folder.note(data=task.source)
    done = folder.done_keys()
    runs = [
        _Planned(how, seed, checkpoint_of(folder.path, how.to_record(), seed))
        for seed, number in _all_runs(config)
        if training_key((how := config.treatments[number - 1]).to_record(), seed) not in done
        and wanted.has(number, seed)
    ]
    device = config.sections.device
    if runs:
        check_device(device)
    with repeatable(device):
        course = Course(_parts(task, config, runs), show)
        if runs:
            about = duration(course.seconds)
            steps = config.sections.steps
            say(f"models to train: {len(runs)}, {steps} steps each; about {about} in all")
        for place, planned in enumerate(runs):
            folder.append(_train(task, config, planned, folder, say, course, place))
            if not config.sections.keep:
                planned.checkpoint.unlink(missing_ok=True)
    return list(folder.records)


def _all_runs(config: ParityConfig[TrainSections]) -> list[tuple[int, int]]:
    """Return the seed and the place of the treatment, from 1, of every run: seed by seed."""
    of = [config.sections.seeds if own is None else own for own in config.seeds]
    seeds = dict.fromkeys([*config.sections.seeds, *(seed for own in of for seed in own)])
    return [(seed, n) for seed in seeds for n, own in enumerate(of, start=1) if seed in own]


@dataclass(frozen=True)
class _Planned:
    """A training run that is to be made, and the file of its checkpoint."""

    treatment: Treatment
    seed: int
    checkpoint: Path

    @property
    def label(self) -> str:
        return f"{self.treatment.label}, seed {self.seed}"


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
    run = Run(task, sections, treatment, seed=0)
    step, evaluation = 0.0, 0.0
    with suppress(AccelsimError):  # what fails here fails in the experiment, with its message
        for _ in range(2):
            step = seconds_of(run.backward)
            evaluation = seconds_of(run.evaluate)
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
    run = Run(task, sections, treatment, seed, config.probe)
    if folder.begun and planned.checkpoint.is_file():
        run.restore(planned.checkpoint)
        say(f"{planned.label}: going on after step {run.curves['step']}")
    curves, reason = run.curves, ""

    def evaluated(loss: float, value: float) -> None:
        folder.begin()
        run.save(planned.checkpoint)
        say(
            f"{planned.label}, step {curves['step']}/{sections.steps}: "
            f"loss {loss:.4f}, {task.metric} {value:.4f}"
        )

    course.begin(place, curves["step"])
    try:
        run.go_on(course.reach, evaluated)
    except DataError as error:
        reason = f"step {curves['step']}: {error}"
    evaluations = curves["evaluations"]
    count, seconds = curves["plain"]
    return TrainRecord(
        task=sections.task,
        treatment=treatment.to_record(),
        label=treatment.label,
        seed=seed,
        parameters=sum(x.numel() for x in run.model.parameters()),
        metric=task.metric,
        final=evaluations[-1][1] if evaluations and not reason else None,
        losses=curves["losses"],
        evaluations=evaluations,
        probes=curves["probes"],
        seconds=curves["seconds"],
        seconds_per_step=seconds / count if count else None,
        reason=reason,
        tally=curves["tally"],
        checked_steps=[step for step in run.checked if step < curves["step"]],
        weights_sha256=weights_hash(run.model),
    )
