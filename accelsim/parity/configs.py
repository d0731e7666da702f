"""The configs of `accelsim eval` and `accelsim train`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Field

from accelsim.config.config_kind import refuse_other_kinds
from accelsim.config.document import Document, content_hash, read_document
from accelsim.config.entries import check_backend, check_strategies
from accelsim.config.fields import Section, Sweep
from accelsim.config.messages import validated
from accelsim.config.plans import check_plans, load_plan
from accelsim.config.problems import Loc
from accelsim.config.run_config import BackendChoice
from accelsim.config.settings import UnpackSection
from accelsim.config.shipped import find_config
from accelsim.errors import InputError
from accelsim.parity.sweep import TreatmentSweep, in_folder
from accelsim.parity.treatments import Treatment
from accelsim.settings import Unpacking
from workloads.models.catalog import find_weights
from workloads.models.corpora.tokens import FEWEST, TEXTS
from workloads.models.image_tasks import IMAGES
from workloads.paths import from_folder


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class _Common(Section):
    command: ClassVar[str]
    """The command that runs such a config: ``accelsim COMMAND``."""

    name: str | None = Field(default=None, description="text")
    treatments: Annotated[tuple[TreatmentSweep, ...], BeforeValidator(_listed)] = Field(
        min_length=1, description="a list of mappings such as {beta: [255, 127]}"
    )
    output: str | None = Field(
        default=None, description="the path of a folder, from the current folder"
    )


class EvalSections(_Common):
    """A config of ``accelsim eval``: a model, a text, and what is done with the model's GEMMs."""

    command = "eval"

    model: str = Field(description="a model of the catalog, or the path of a local folder")
    gguf: str | None = Field(default=None, description="the name of a GGUF file in that folder")
    text: str | None = Field(default=None, description="the path of a UTF-8 text file")
    windows: int = Field(default=16, ge=1, description="a whole number, at least 1")
    tokens: int = Field(default=512, ge=2, description="a whole number, at least 2")
    device: str = Field(default="cpu", description="cpu, cuda or cuda:N")


class ProbeSection(UnpackSection):
    """Steps that run on a backend, for the unpack ratio; the results are the same.

    With several values for keys of ``unpack`` such a step is computed in each way. What `backend`
    names is checked apart.
    """

    every: int = Field(default=50, ge=1, description="a whole number of steps, at least 1")
    backend: Any = Field(description="the name of a backend, or {name: ..., options}")


class TrainTreatment(TreatmentSweep):
    """Treatments of ``accelsim train``, which may have seeds of their own."""

    seeds: Sweep[int] | None = Field(
        default=None, description="a whole number, or a list of these; by default those of all"
    )


@dataclass(frozen=True)
class Probe:
    """A backend on which some steps run.

    Parameters
    ----------
    every : int
        In steps.
    backend : BackendChoice
        What multiplies.
    unpackings : tuple of Unpacking
        How integers become its low-bit products; such a step is computed once in each way.
    """

    every: int
    backend: BackendChoice
    unpackings: tuple[Unpacking, ...]


class TrainSections(_Common):
    """A config of ``accelsim train``: a small model, trained once for each treatment and seed."""

    command = "train"

    treatments: Annotated[tuple[TrainTreatment, ...], BeforeValidator(_listed)] = Field(
        min_length=1, description="a list of mappings such as {beta: [255, 127]}"
    )
    task: Literal["gpt", "llama", "roberta", "t5", "vit"] = Field(
        description="gpt, llama, roberta, t5 or vit"
    )
    data: Literal["pydoc", "gcide", "digits", "glyphs"] | None = Field(
        default=None, description="pydoc or gcide for text; digits or glyphs for a vit"
    )
    vocabulary: int | None = Field(
        default=None, ge=FEWEST, le=1 << 16, description=f"a whole number, at least {FEWEST}"
    )
    batch: int | None = Field(default=None, ge=1, description="a whole number, at least 1")
    context: int | None = Field(default=None, ge=2, description="a whole number, at least 2")
    width: int = Field(default=64, ge=8, description="a whole number, at least 8")
    layers: int = Field(default=2, ge=1, description="a whole number, at least 1")
    heads: int = Field(default=4, ge=1, description="a whole number, at least 1")
    steps: int = Field(default=300, ge=1, description="a whole number, at least 1")
    learning_rate: float = Field(default=3e-3, gt=0, description="a number above 0")
    warmup: int = Field(default=0, ge=0, description="a whole number of steps, at least 0")
    evaluate_every: int = Field(default=50, ge=1, description="a whole number, at least 1")
    seeds: Sweep[int] = Field(default=(0,), description="a whole number, or a list of these")
    probe: ProbeSection | None = Field(default=None, description="a mapping")
    check_steps: int = Field(default=0, ge=0, description="a whole number, at least 0")
    keep: bool = Field(default=False, description="true or false")
    device: str = Field(default="cpu", description="cpu, cuda or cuda:N")


S = TypeVar("S", bound=_Common)


@dataclass(frozen=True)
class ParityConfig(Generic[S]):
    """A checked config of either command.

    Parameters
    ----------
    path : Path
        The file; relative paths in it start from its folder, `output` from the current one.
    name : str
        Of the experiment.
    sections : EvalSections or TrainSections
        What the file says.
    treatments : tuple of Treatment
        What is compared, in the file's order.
    output : Path
        The folder for the results.
    probe : Probe or None
        Of `accelsim train`.
    seeds : tuple
        Of `accelsim train`: the seeds of each treatment, None for those of all.
    """

    path: Path
    name: str
    sections: S
    treatments: tuple[Treatment, ...]
    output: Path
    probe: Probe | None = None
    seeds: tuple[tuple[int, ...] | None, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the config as JSON types."""
        rest = self.sections.to_config()
        treatments = [treatment.to_record() for treatment in self.treatments]
        for treatment, seeds in zip(treatments, self.seeds, strict=True):
            if seeds is not None:
                treatment["seeds"] = list(seeds)
        return {k: v for k, v in rest.items() if k != "output"} | {
            "name": self.name,
            "treatments": treatments,
        }

    @property
    def config_hash(self) -> str:
        """SHA-256 (hexadecimal) of `to_dict`."""
        return content_hash(self.to_dict())


def load_eval_config(
    path: Path, overrides: Sequence[str] = (), plans: Sequence[Path] = ()
) -> ParityConfig[EvalSections]:
    """Read and check a config of ``accelsim eval``, given by its path or a shipped config's name.

    Parameters
    ----------
    path : Path
        The file, or the name.
    overrides : sequence of str
        ``KEY=VALUE``, as the command line has them.
    plans : sequence of Path
        Plans that become further treatments, one each.

    Raises
    ------
    InputError
        If anything is wrong; one line for each problem, with file, line and column.
    """
    document, config = _load(path, overrides, EvalSections, plans)
    sections = config.sections
    folder = from_folder(config.path.parent, sections.model)
    if folder.is_dir():
        sections = sections.model_copy(update={"model": str(folder)})
    else:
        try:
            find_weights(sections.model)
        except InputError as error:
            document.report(("model",), str(error))
    if sections.text is not None:
        text = from_folder(config.path.parent, sections.text)
        if not text.is_file():
            document.report(("text",), f"{text}: there is no such file")
        sections = sections.model_copy(update={"text": str(text)})
    document.raise_problems()
    return replace(config, sections=sections)


def load_train_config(
    path: Path, overrides: Sequence[str] = (), plans: Sequence[Path] = ()
) -> ParityConfig[TrainSections]:
    """Read and check a config of ``accelsim train``; see `load_eval_config`."""
    document, config = _load(path, overrides, TrainSections, plans)
    sections = config.sections
    if sections.width % sections.heads:
        document.report(
            ("heads",), f"found {sections.heads}; expected a divisor of width {sections.width}"
        )
    for key in ("context", "vocabulary") if sections.task == "vit" else ():
        if getattr(sections, key) is not None:
            document.report((key,), f"a vit has no {key}; expected none", at_key=True)
    data = IMAGES if sections.task == "vit" else TEXTS
    if sections.data is not None and sections.data not in data:
        message = f"found {sections.data}; expected {' or '.join(data)} for a {sections.task}"
        document.report(("data",), message)
    probe = None if sections.probe is None else _probe(document, sections.probe)
    document.raise_problems()
    return replace(config, sections=sections, probe=probe)


def _probe(document: Document, section: ProbeSection) -> Probe | None:
    check_strategies(document, ("probe",))
    backend = check_backend(document, section.backend, ("probe", "backend"))
    if document.problems or backend is None:
        return None
    folder = document.path.parent
    unpackings = tuple(in_folder(found, folder) for found in section.unpackings(folder))
    return Probe(section.every, backend, unpackings)


def _load(
    path: Path, overrides: Sequence[str], kind: type[S], plans: Sequence[Path]
) -> tuple[Document, ParityConfig[S]]:
    path = find_config(path)
    document = read_document(path, overrides)
    refuse_other_kinds(document, kind.command)
    sections = validated(document, kind, document.data)
    document.raise_problems()
    assert sections is not None, "sections that are not valid have left a problem"
    treatments: dict[str, tuple[Treatment, tuple[int, ...] | None]] = {}
    for index, sweep in enumerate(sections.treatments):
        for treatment in _treatments(document, sweep, ("treatments", index)):
            key = json.dumps(treatment.to_record(), sort_keys=True)
            if key in treatments:
                document.report(("treatments", index), f"{treatment.label} already exists")
            own = sweep.seeds if isinstance(sweep, TrainTreatment) else None
            treatments[key] = treatment, own
    for plan in plans:
        (treatment,) = TreatmentSweep().treatments(plans=[load_plan(plan)])
        treatments[json.dumps(treatment.to_record(), sort_keys=True)] = treatment, None
    name = sections.name or path.stem
    output = Path(sections.output or f"runs/{name}").expanduser()
    found, seeds = zip(*treatments.values(), strict=True) if treatments else ((), ())
    return document, ParityConfig(path, name, sections, found, output, seeds=seeds)


def _treatments(document: Document, sweep: TreatmentSweep, loc: Loc) -> list[Treatment]:
    """Check the names in an entry of ``treatments`` and spread it, if they are right."""
    before = len(document.problems)
    check_strategies(document, loc)
    named = sweep.backend is not None
    backend = check_backend(document, sweep.backend, (*loc, "backend")) if named else None
    plans = check_plans(document, sweep.plan, (*loc, "plan"))
    if plans and sweep.method != "integers":
        document.report((*loc, "plan"), f"a plan is for integers; the method is {sweep.method}")
    unfit = sweep.unfit()
    if unfit is not None:
        document.report((*loc, unfit[0]), unfit[1])
    if len(document.problems) > before:
        return []
    return sweep.treatments(backend, document.path.parent, plans)
