"""``accelsim tune``: from a model and a target to the cheapest plan that keeps it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from accelsim.errors import InputError
from accelsim.files import write_atomically
from accelsim.records import RunFolder
from accelsim.records.folder import RECORDS
from accelsim.records.lines import parse_lines
from accelsim.records.tuning import SensitivityRecord, TuneRecord
from accelsim.tuning.attempts import Tuning
from accelsim.tuning.curves import Counting, Curve, Curves, Grid, Setting
from accelsim.tuning.places import Place, survey
from accelsim.tuning.prices import Price, accelerator_backend
from accelsim.tuning.progress import Progress
from accelsim.tuning.search import Predictions, Search, label_of
from accelsim.tuning.sensitivity import Examination, examine, settings_hash
from accelsim.tuning.subject import Say, Subject, Verification
from accelsim.tuning.target import Target

CURVES = "curves.json"
"""The file of a run with the unpack ratios that were counted ahead."""

SENSITIVITY = "sensitivity"
"""The folder of a run with its sensitivities, where none were given."""

FRONT = (0.25, 0.5, 2.0, 4.0)
"""Further targets of a Pareto front, as multiples of the one that was asked for."""


@dataclass(frozen=True)
class Tune:
    """The settings of ``accelsim tune``.

    Parameters
    ----------
    target : Target
        What a plan has to keep.
    cost : str
        ``macs``, ``cycles``, ``energy``, ``time`` or ``bytes``.
    grid : Grid
        The settings among which a plan chooses.
    windows, tokens : int
        How many windows of the text, of how many tokens, verify a plan; as many lie between them,
        on which nothing is tuned.
    accelerator : str
        The described accelerator for cycles and energy.
    pareto : bool
        Whether other targets and plans of one β are evaluated as well.
    """

    target: Target
    cost: str
    grid: Grid
    windows: int
    tokens: int
    accelerator: str
    pareto: bool

    def to_dict(self, subject: Subject) -> dict[str, Any]:
        """Return the settings and what is tuned, as JSON values."""
        return {
            "command": "tune",
            "model": subject.name,
            "text": subject.source,
            "target": self.target.text,
            "cost": self.cost,
            **self.grid.to_dict(),
            "windows": self.windows,
            "tokens": self.tokens,
            "accelerator": self.accelerator,
            "pareto": self.pareto,
        }


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Parameters
    ----------
    records : list of TuneRecord
        All plans that were verified.
    best : TuneRecord or None
        The cheapest that keeps the target; None if none does.
    nearest : TuneRecord
        The plan of the least harm.
    uniform : TuneRecord or None
        The cheapest plan of one β for all that was found to keep the target.
    """

    records: list[TuneRecord]
    best: TuneRecord | None
    nearest: TuneRecord
    uniform: TuneRecord | None


def read_sensitivities(folder: Path, subject: Subject, grid: Grid) -> list[SensitivityRecord]:
    """Read the records of ``accelsim sensitivity``, which may be on their way.

    Parameters
    ----------
    folder : Path
        Of the run.
    subject : Subject
        The model, which has to be the one of the records.
    grid : Grid
        Its granularity has to be that of the records.

    Raises
    ------
    InputError
        If there are none, or they are of another model or granularity.
    """
    path = folder / RECORDS
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; make it with accelsim sensitivity")
    records, _ = parse_lines(path.read_bytes(), path, SensitivityRecord)
    for record in records:
        for name, found, asked in (
            ("model", record.model, subject.name),
            ("granularity", record.granularity, grid.granularity),
        ):
            if found != asked:
                raise InputError(f"{folder}: its {name} is {found}, not {asked}")
    return records


def tune(
    subject: Subject,
    how: Tune,
    price: Price,
    sensitivities: Sequence[SensitivityRecord],
    folder: RunFolder[TuneRecord],
    say: Say,
) -> Tuned:
    """Search for the cheapest plan that keeps a target, and verify it.

    What a folder has already, ratios and verified plans, is not made again.

    Parameters
    ----------
    subject : Subject
        The model, and its text.
    how : Tune
        The settings.
    price : Price
        What is made small.
    sensitivities : sequence of SensitivityRecord
        Of every kind of operand of every place.
    folder : RunFolder
        Gets a record for each plan that is verified.
    say : callable
        Called with what is being done.
    """
    folder.begin()
    verification = subject.verification(how.windows, how.tokens, say)
    predictions = Predictions(sensitivities)
    kept = folder.path / CURVES
    places, curves = _counted(subject, how, predictions.settings, verification, kept, say)
    search = Search(places, how.grid, predictions, curves, price)

    def backend(bits: int) -> Any:
        return accelerator_backend(how.accelerator, bits)

    tuning = Tuning(subject, search, price, how.target, verification, backend, folder, say)
    best = tuning.cheapest(how.target.budget)
    uniform = None if best is None else tuning.beside(best, how.grid)
    if best is None:
        tuning.nearest()
    if how.pareto:
        for part in FRONT:
            tuning.cheapest(part * how.target.budget, f"{part:g} of the target")
        for bits in how.grid.bits:
            for setting in how.grid.settings:
                plan, solution = search.uniform(bits, setting)
                tuning.verified(label_of(bits, setting), solution, plan)
    records = list(folder.records)
    return Tuned(records, best, min(records, key=lambda record: record.harm), uniform)


def _counted(
    subject: Subject,
    how: Tune,
    measured: Sequence[Setting],
    verification: Verification,
    path: Path,
    say: Say,
) -> tuple[list[Place], Curves]:
    """Return the places of a model, and their unpack ratios and noise at each setting."""
    places = survey(subject.model, verification.run_one)
    asked = {
        "model": subject.name,
        "read": verification.source,
        **how.grid.to_dict(),
        "measured": [list(setting) for setting in measured],
    }
    if path.is_file():
        known = json.loads(path.read_text("utf-8"))
        if known.get("settings") == asked:  # the file of a run that was replaced is another's
            return places, {
                place: {kind: Curve(**curve) for kind, curve in own.items()}
                for place, own in known["curves"].items()
            }
    number = len(how.grid.settings)
    gemms = sum(len(place.gemms) for place in places)
    say(f"counting the unpack ratios of {gemms} GEMMs at {number} settings of rounding")
    progress = Progress(say, gemms, 0, "GEMMs")
    counting = Counting(subject.model, places, how.grid, measured, progress.step)
    with counting:
        verification.run_one()
    curves = {
        place: {kind: asdict(curve) for kind, curve in own.items()}
        for place, own in counting.curves.items()
    }
    found = {"settings": asked, "curves": curves}
    write_atomically(path, json.dumps(found).encode())
    return places, counting.curves


def write_plan(record: TuneRecord, path: Path) -> None:
    """Write the plan of a record as a YAML file, with what was found about it.

    Parameters
    ----------
    record : TuneRecord
        Of the plan.
    path : Path
        The file.
    """
    about: Any = record.plan["about"]
    found = {"metric": record.metric, "floats": record.floats, "tuned": record.tuned}
    found |= {"held out": record.held_out, "unpack ratio": record.ratio}
    values = {**record.plan, "about": {**about, **found}}
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100)
    write_atomically(path, f"# A plan for accelsim: see docs/tuning.md\n{text}".encode())


def examine_first(
    subject: Subject, grid: Grid, tokens: int, path: Path, say: Say
) -> list[SensitivityRecord]:
    """Measure the sensitivities of a model where none were given; go on where that was left.

    Parameters
    ----------
    subject : Subject
        The model, and its text.
    grid : Grid
        Its rounding, widths and strategy.
    tokens : int
        Of the window that the model reads.
    path : Path
        The folder for the records.
    say : callable
        Called with what is being done.
    """
    examination = Examination(
        percentile=grid.percentiles[0],
        granularity=grid.granularity,
        bits=grid.bits,
        strategy=grid.strategy,
        block=grid.block,
        tokens=tokens,
    )
    settings = examination.to_dict(subject)
    with RunFolder.open(
        path, settings, settings_hash(settings), resume=True, kind=SensitivityRecord
    ) as folder:
        return examine(subject, examination, folder, say)
