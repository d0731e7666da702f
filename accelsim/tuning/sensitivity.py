"""``accelsim sensitivity``: each place and kind of operand of a model alone in integers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from accelsim.arithmetic.rounding import quantize
from accelsim.config.document import content_hash
from accelsim.errors import InputError
from accelsim.records import RunFolder
from accelsim.records.tuning import SensitivityRecord, sensitivity_key
from accelsim.tuning.alone import RoundedAlone
from accelsim.tuning.places import Place, chain, survey
from accelsim.tuning.prefix import Prefix, within
from accelsim.tuning.progress import Progress
from accelsim.tuning.ratios import ratio_of, sampled
from accelsim.tuning.subject import Harm, Reading, Say, Subject
from accelsim.types import Rounding, StrategyChoice
from accelsim.unpack import DigitSystem, load_strategy
from workloads.gemm import listed


@dataclass(frozen=True)
class Examination:
    """The settings of ``accelsim sensitivity``.

    Parameters
    ----------
    betas : tuple of float
        Each is tried for each kind of operand of each place.
    percentile, granularity
        Of the rounding.
    bits : tuple of int
        Widths of digits for which unpack ratios are counted.
    strategy : StrategyChoice
        How operands are unpacked for that.
    block : int
        Columns of a K-block, for strategies that cut any.
    windows, tokens : int
        How many windows of the text are read, of how many tokens.
    gemms : tuple of str
        Globs of the places.
    """

    betas: tuple[float, ...] = (15.0, 63.0)
    percentile: float = 95.0
    granularity: str = "row"
    bits: tuple[int, ...] = (4, 8)
    strategy: StrategyChoice = field(default_factory=lambda: StrategyChoice("block"))
    block: int = 16
    windows: int = 1
    tokens: int = 128
    gemms: tuple[str, ...] = ("*",)

    def to_dict(self, subject: Subject) -> dict[str, Any]:
        """Return the settings and what is examined, as JSON values."""
        return {
            "command": "sensitivity",
            "model": subject.name,
            "text": subject.source,
            **{name: _json(value) for name, value in vars(self).items()},
        }

    def rounding(self, beta: float) -> Rounding:
        """Return the rounding by a β."""
        return Rounding(self.percentile, beta, self.granularity, "nonzero")


def _json(value: Any) -> Any:
    if isinstance(value, StrategyChoice):
        return value.to_record()
    return list(value) if isinstance(value, tuple) else value


def settings_hash(settings: dict[str, Any]) -> str:
    """Return the SHA-256 (hexadecimal) of JSON settings."""
    return content_hash(settings)


class Examined:
    """A model whose places are known, with what it computes before each of them.

    Parameters
    ----------
    subject : Subject
        The model, and its text.
    examination : Examination
        The settings.

    Raises
    ------
    InputError
        If a glob matches no GEMM, or the text is too short.
    """

    def __init__(self, subject: Subject, examination: Examination) -> None:
        self.subject, self.examination = subject, examination
        readings = subject.readings(examination.windows, examination.tokens)
        every = survey(subject.model, readings[0].run)
        names = [place.name for place in every]
        for glob in examination.gemms:
            if not any(fnmatchcase(name, glob) for name in names):
                raise InputError(f"no GEMM matches {glob!r}; the model runs: {listed(names)}")
        self.places = [
            place
            for place in every
            if any(fnmatchcase(place.name, glob) for glob in examination.gemms)
        ]
        self._chain = chain(subject.model) if subject.replays else {}
        self._readings = [(reading, Prefix(self._chain, reading.run)) for reading in readings]

    def record(self, place: Place, kind: str, beta: float) -> SensitivityRecord:
        """Measure one kind of operand of a place."""
        start = time.perf_counter()
        rounding = self.examination.rounding(beta)
        alone = RoundedAlone(self.subject.model, place, kind, rounding)
        harms = [self._harm(reading, prefix, place, alone) for reading, prefix in self._readings]
        harm, gemm = Harm.mean(harms), place.first(kind)
        ratio, outside = self._ratios(place, kind, alone, rounding)
        return SensitivityRecord(
            model=self.subject.name,
            text_sha256=self.subject.digest,
            gemm=place.name,
            op=place.op,
            kind=kind,
            sides=[*gemm.sides(kind)],
            batch=gemm.batch,
            n=gemm.n,
            d=gemm.d,
            h=gemm.h,
            beta=beta,
            percentile=rounding.percentile,
            granularity=rounding.granularity,
            loss=harm.loss,
            divergence=harm.divergence,
            local_error=alone.local_error,
            ratio=ratio,
            out_of_bound=outside,
            seconds=time.perf_counter() - start,
        )

    def _harm(self, reading: Reading, prefix: Prefix, place: Place, alone: RoundedAlone) -> Harm:
        """Run the model from the module of the chain that has the place; only that is traced."""
        layer = place.name if place.op == "linear" else place.name.rpartition(".")[0]
        own = [name for name in self._chain if layer.startswith(f"{name}.")]
        with prefix.replayed(place.before):
            with within(self._chain[own[0]], alone) if own else alone:
                harm = reading.harm()
            if not alone.seen:  # its module is known by name in the whole model only
                with alone:
                    harm = reading.harm()
        return harm

    def _ratios(
        self, place: Place, kind: str, alone: RoundedAlone, how: Rounding
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return the unpack ratio and the share out of bound, for each number of bits."""
        ratios = {str(bits): 1.0 for bits in self.examination.bits}
        outside = {str(bits): 0.0 for bits in self.examination.bits}
        strategy = load_strategy(self.examination.strategy, self.examination.block)
        gemm = place.first(kind)
        for side in gemm.sides(kind):
            x = sampled(alone.operands.of(side))
            found = quantize(x, how.percentile, how.beta, how.granularity, how.zero_alpha)
            rows = gemm.h if side == "a" else gemm.n
            for bits in self.examination.bits:
                system = DigitSystem("balanced", bits)
                ratio, share = ratio_of(found, side, rows, system, strategy)
                ratios[str(bits)] *= ratio
                outside[str(bits)] = max(outside[str(bits)], share)
        return ratios, outside


def examine(
    subject: Subject,
    examination: Examination,
    folder: RunFolder[SensitivityRecord],
    say: Say,
) -> list[SensitivityRecord]:
    """Measure every place, kind and β that a folder does not have yet.

    Parameters
    ----------
    subject : Subject
        The model, and its text.
    examination : Examination
        The settings.
    folder : RunFolder
        Gets a record as soon as it is known.
    say : callable
        Called with how long it will take, and with the progress.
    """
    examined = Examined(subject, examination)
    tasks = [
        (place, kind, beta)
        for beta in examination.betas
        for place in examined.places
        for kind in place.distinct_kinds
    ]
    done = folder.done_keys()
    left = [task for task in tasks if sensitivity_key(task[0].name, *task[1:]) not in done]
    progress = Progress(say, len(tasks), len(tasks) - len(left))
    for place, kind, beta in spread(left):
        folder.append(examined.record(place, kind, beta))
        progress.step(f"{place.name}, {kind}, β = {beta:g}")
    order = {sensitivity_key(t[0].name, *t[1:]): number for number, t in enumerate(tasks)}
    return sorted(folder.records, key=lambda record: order[record.key])


def spread(tasks: Sequence[tuple[Place, str, float]]) -> list[tuple[Place, str, float]]:
    """Put one task of every eighth first, so that the time of the rest can be told from them."""
    first = tasks[:: max(1, len(tasks) // 8)]
    return [*first, *(task for task in tasks if task not in first)]
