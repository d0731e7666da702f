"""Run prompts in every way, in floats and in integers, and compare the bits of the logits."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from accelsim.errors import AccelsimError
from accelsim.integer_mode import IntegerGemms, invariant
from accelsim.parity.invariance.first_operator import Recorder, first_difference
from accelsim.parity.invariance.processes import Running
from accelsim.parity.invariance.prompts import Session
from accelsim.parity.invariance.ways import Way, alone, ways

FLOATS: Mapping[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
INTEGERS = "integers"
ARITHMETICS = (*FLOATS, INTEGERS)
REFERENCE = "alone"


@dataclass(frozen=True)
class WayOutcome:
    """What a way to run the prompts gave, beside every prompt by itself.

    Parameters
    ----------
    arithmetic : str
        ``float32``, ``bfloat16`` or ``integers``.
    way : str
        How the prompts were run.
    level : int
        Which level promises the same bits; 0 for the reference.
    prompts, tokens : int
        How many prompts, and tokens of them, were compared.
    sha256 : str
        Of the logits; that of the reference for the same tokens if it is the same.
    same : bool or None
        Whether all bits are those of the reference; None if it did not run.
    prompt, token : int or None
        The first that differ.
    largest : float or None
        The largest difference of two logits.
    operator : str
        The first operator whose output differs, with its module.
    seconds : float
        How long it took.
    reason : str
        Why it did not run.
    unpinned : mapping
        Calls of operators that are not pinned.
    """

    arithmetic: str
    way: str
    level: int
    prompts: int = 0
    tokens: int = 0
    sha256: str = ""
    same: bool | None = None
    prompt: int | None = None
    token: int | None = None
    largest: float | None = None
    operator: str = ""
    seconds: float = 0.0
    reason: str = ""
    unpinned: Mapping[str, int] | None = None

    def to_record(self) -> dict[str, Any]:
        """Return all fields as JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class _Measured:
    """A model with its prompts and one arithmetic."""

    model: nn.Module
    prompts: Sequence[Tensor]
    arithmetic: str
    options: Mapping[str, Any]

    def run(self, way: Way, watcher: Recorder | None = None) -> tuple[dict[int, Tensor], Any]:
        """Return logits by prompt, and how often what is not pinned was called."""
        if way.processes > 1:
            how = Running(self.model, self.prompts, {**self.options, **way.options}, way.device)
            return how.over_processes(way.processes, watcher)
        model = self.model
        if way.device != "cpu":
            model = copy.deepcopy(model).to(way.device)
        mode = self._mode(model, way)
        followed = nullcontext() if watcher is None else watcher.follow(model)
        with torch.no_grad(), _threads(way.threads), mode, followed:
            found = way.run(Session(model, watcher), self.prompts)
        summary = mode.tally.summary() if isinstance(mode, IntegerGemms) else {}
        return found, summary.get("unpinned")

    def _mode(self, model: nn.Module, way: Way) -> AbstractContextManager[Any]:
        if self.arithmetic != INTEGERS:
            return nullcontext()
        options: dict[str, Any] = {**self.options, **way.options}
        return invariant(model, **options)


def measure(
    model: nn.Module,
    prompts: Sequence[Tensor],
    level: int = 1,
    fill: int = 16,
    options: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] = lambda line: None,
    arithmetics: Sequence[str] = ARITHMETICS,
) -> list[WayOutcome]:
    """Run the prompts of a causal language model in every way of a level.

    Parameters
    ----------
    model : nn.Module
        Of Hugging Face, float32, on the CPU.
    prompts : sequence of Tensor
        int64 ``[tokens]`` each; see `cut_prompts`.
    level : {1, 2, 3}
        1: one device. 2: also another one. 3: also several processes.
    fill : int
        Rows of the batch that is filled up with others.
    options : mapping, optional
        Arguments of `accelsim.invariant`.
    tell : callable
        Called with what is being done.
    arithmetics : sequence of str
        Of `ARITHMETICS`.
    """
    reference = Way(REFERENCE, 0, alone)
    found = []
    for arithmetic in arithmetics:
        dtype = FLOATS.get(arithmetic, torch.float32)
        typed = model if dtype == torch.float32 else copy.deepcopy(model).to(dtype)
        measured = _Measured(typed, prompts, arithmetic, options or {"beta": 63})
        start = time.perf_counter()
        right, unpinned = measured.run(reference)
        seconds = time.perf_counter() - start
        whole = compare(right, right)
        found.append(
            WayOutcome(arithmetic, REFERENCE, 0, **whole, seconds=seconds, unpinned=unpinned)
        )
        for way in ways(level, fill):
            if way.integers_only and arithmetic != INTEGERS:
                continue
            tell(f"{arithmetic}: {way.name}")
            found.append(_outcome(measured, way, reference, right))
    return found


def _outcome(
    measured: _Measured, way: Way, reference: Way, right: Mapping[int, Tensor]
) -> WayOutcome:
    known = WayOutcome(measured.arithmetic, way.name, way.level)
    reason = _missing(way)
    if reason:
        return WayOutcome(**{**known.to_record(), "reason": reason})
    start = time.perf_counter()
    try:
        logits, unpinned = measured.run(way)
    except AccelsimError as error:
        return WayOutcome(**{**known.to_record(), "reason": str(error)})
    seconds = time.perf_counter() - start
    fields: dict[str, Any] = {**compare(logits, right), "seconds": seconds, "unpinned": unpinned}
    if not fields["same"]:
        fields["operator"] = _first_operator(measured, way, reference, fields["prompt"])
    return WayOutcome(**{**known.to_record(), **fields})


def _missing(way: Way) -> str:
    """Return why a way cannot be run on this machine."""
    if way.device == "cuda" and not torch.cuda.is_available():
        return "there is no CUDA device here"
    return ""


def _first_operator(measured: _Measured, way: Way, reference: Way, prompt: int) -> str:
    recorders = Recorder(prompt), Recorder(prompt)
    for recorder, each in zip(recorders, (reference, way), strict=True):
        measured.run(each, recorder)
    return first_difference(*recorders)


def compare(logits: Mapping[int, Tensor], right: Mapping[int, Tensor]) -> dict[str, Any]:
    """Compare the bits of logits with those of the reference for the same tokens.

    Parameters
    ----------
    logits, right : mapping
        Prompt to ``[tokens, words]``; `right` may have more of both.

    Returns
    -------
    dict
        Fields of a `WayOutcome`.
    """
    digest = hashlib.sha256()
    fields: dict[str, Any] = {"prompt": None, "token": None}
    largest = 0.0
    for prompt in sorted(logits):
        mine, its = logits[prompt].contiguous(), right[prompt][: len(logits[prompt])].contiguous()
        digest.update(mine.view(torch.uint8).numpy().tobytes())
        differ = (mine.view(torch.uint8) != its.view(torch.uint8)).any(dim=-1)
        if bool(differ.any()) and fields["prompt"] is None:
            fields |= {"prompt": prompt, "token": int(differ.nonzero()[0])}
        apart = (mine.double() - its.double()).abs().nan_to_num(math.inf)
        largest = max(largest, float(apart.max()))
    return {
        **fields,
        "prompts": len(logits),
        "tokens": sum(map(len, logits.values())),
        "sha256": digest.hexdigest(),
        "same": fields["prompt"] is None,
        "largest": largest,
    }


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
