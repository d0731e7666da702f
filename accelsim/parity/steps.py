"""The steps of one training run, and everything that a checkpoint holds."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.optim import AdamW

from accelsim.errors import DataError
from accelsim.files import commit, stage_by
from accelsim.integer_mode import IntegerGemms
from accelsim.parity.configs import Probe, TrainSections
from accelsim.parity.coverage import add_tally
from accelsim.parity.observing import Observed
from accelsim.parity.treatments import NOTHING_REPLACED, Treatment
from workloads.models.task import Task


class Run:
    """A training run on its way.

    Parameters
    ----------
    task : Task
        What is learnt.
    sections : TrainSections
        How.
    treatment : Treatment
        What is done with the model's GEMMs.
    seed : int
        Of the weights and of the data.
    probe : Probe or None
        Steps that run on a backend.

    Attributes
    ----------
    model : nn.Module
        The model.
    curves : dict
        What is known of the steps so far.
    checked : list of int
        The steps whose products are compared with the oracle.
    """

    def __init__(
        self,
        task: Task,
        sections: TrainSections,
        treatment: Treatment,
        seed: int,
        probe: Probe | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self._task, self._sections, self._treatment, self._seed = task, sections, treatment, seed
        self._probe = probe if treatment.method == "integers" else None
        self.checked = _drawn(sections, seed) if treatment.method == "integers" else []
        self._checked = frozenset(self.checked)
        self.model = task.model().to(sections.device)
        self._optimizer = AdamW(self.model.parameters(), lr=sections.learning_rate)
        self.curves: dict[str, Any] = {
            "step": 0,
            "losses": [],
            "evaluations": [],
            "probes": [],
            "tally": {},
            "seconds": 0.0,
            "plain": [0, 0.0],
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint; a crash leaves the old one or the new one."""
        path.parent.mkdir(exist_ok=True)
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        state["curves"] = self.curves
        commit(stage_by(path, lambda temporary: torch.save(state, temporary)), path)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint."""
        state = torch.load(path, map_location=self._sections.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.curves = {**self.curves, **state["curves"]}

    def go_on(self, reach: Callable[[int], None], reached: Callable[[float, float], None]) -> None:
        """Take all steps that are left.

        Parameters
        ----------
        reach : callable
            Called with the number of steps taken, after each.
        reached : callable
            Called after each evaluation with the mean loss since the last one and with the metric;
            the curves have both.

        Raises
        ------
        DataError
            If the run cannot go on.
        """
        sections, curves = self._sections, self.curves
        start = time.perf_counter() - curves["seconds"]
        losses: list[float] = []
        while curves["step"] < sections.steps:
            losses.append(self._step())
            curves["step"] += 1
            reach(curves["step"])
            if not math.isfinite(losses[-1]):
                raise DataError(f"the loss is {losses[-1]}")
            if curves["step"] % sections.evaluate_every == 0 or curves["step"] == sections.steps:
                value = self.evaluate()
                mean = sum(losses) / len(losses)
                curves["losses"].append([curves["step"], mean])
                curves["evaluations"].append([curves["step"], value])
                curves["seconds"] = time.perf_counter() - start
                reached(mean, value)
                losses = []

    def backward(self, mode: AbstractContextManager[Any] | None = None) -> float:
        """Compute the gradients of the step's batch and return the loss."""
        self._optimizer.zero_grad()
        with mode if mode is not None else self._treatment.context(self.model):
            loss = self._task.loss(self.model, self._task.batch(self.curves["step"], self._seed))
            loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def evaluate(self) -> float:
        """Return the metric of the task."""
        with self._treatment.context(self.model):
            return self._task.evaluate(self.model)

    def _step(self) -> float:
        """Take one step of the optimizer and return the loss before it."""
        number, check = self.curves["step"], self.curves["step"] in self._checked
        if self._probe is not None and number % self._probe.every == 0:
            loss = self._probed(self._probe, check)
            self._update()
            return loss
        start = time.perf_counter()
        mode = self._treatment.integers(self.model, check=True) if check else None
        context = mode or self._treatment.context(self.model)
        loss = self.backward(context)
        self._count(context)
        self._update()
        if not check:
            count, seconds = self.curves["plain"]
            self.curves["plain"] = [count + 1, seconds + time.perf_counter() - start]
        return loss

    def _update(self) -> None:
        """Let the optimizer take its step; over the first ones the learning rate rises linearly."""
        sections = self._sections
        share = min(1.0, (self.curves["step"] + 1) / max(1, sections.warmup))
        for group in self._optimizer.param_groups:
            group["lr"] = sections.learning_rate * share
        self._optimizer.step()

    def _probed(self, probe: Probe, check: bool) -> float:
        """Compute the gradients once for each way to unpack; all are the same ones."""
        losses = []
        for unpacking in probe.unpackings:
            how = replace(self._treatment, backend=probe.backend, unpacking=unpacking, check=check)
            mode, observed = how.integers(self.model), Observed()
            mode.watch = observed
            losses.append(self.backward(mode))
            self._count(mode)
            bits = {"bits": unpacking.bits.to_record()}
            found = {"step": self.curves["step"], **bits, **observed.record(mode.tally)}
            self.curves["probes"].append(found)
        if len(set(losses)) > 1:
            raise DataError(f"the loss depends on how integers are unpacked: {losses}")
        return losses[-1]

    def _count(self, mode: AbstractContextManager[Any]) -> None:
        if isinstance(mode, IntegerGemms):
            if not mode.tally.total.gemms:
                raise DataError(NOTHING_REPLACED)
            self.curves["tally"] = add_tally(self.curves["tally"], mode.tally.summary())


def _drawn(sections: TrainSections, seed: int) -> list[int]:
    """Draw the steps whose products are compared with the oracle."""
    steps = range(sections.steps)
    return sorted(random.Random(seed).sample(steps, min(sections.check_steps, sections.steps)))
