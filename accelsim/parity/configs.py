"""The configs of `accelsim eval` and `accelsim train`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Field

from accelsim.config.config_kind import refuse_other_kinds
from accelsim.config.document import Document, apply_override, read_document
from accelsim.config.entries import target
from accelsim.config.fields import Section, Sweep
from accelsim.config.messages import validated
from accelsim.errors import InputError, unknown_name
from accelsim.parity.treatments import Treatment, TreatmentSweep
from accelsim.unpack import load_strategy
from gemm_backends import backend_class
from workloads.models.catalog import catalog
from workloads.paths import from_folder


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class _Common(Section):
    command: ClassVar[str]
    """What carries such a config out: ``accelsim COMMAND``."""

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


class ProbeSection(Section):
    """Steps that run on a backend, for the unpack ratio; the results are the same."""

    every: int = Field(default=50, ge=1, description="a whole number of steps, at least 1")
    backend: str = Field(description="the name of a backend")
    bits: int = Field(default=8, ge=2, le=16, description="a whole number from 2 to 16")
    strategy: str = Field(default="mix", description="the name of a strategy")
    digits: Literal["balanced", "paper"] = Field(
        default="balanced", description="balanced or paper"
    )


class TrainSections(_Common):
    """A config of ``accelsim train``: a small model, trained once for each treatment and seed."""

    command = "train"

    task: Literal["gpt", "vit"] = Field(description="gpt or vit")
    batch: int | None = Field(default=None, ge=1, description="a whole number, at least 1")
    context: int | None = Field(default=None, ge=2, description="a whole number, at least 2")
    width: int = Field(default=64, ge=8, description="a whole number, at least 8")
    layers: int = Field(default=2, ge=1, description="a whole number, at least 1")
    heads: int = Field(default=4, ge=1, description="a whole number, at least 1")
    steps: int = Field(default=300, ge=1, description="a whole number, at least 1")
    learning_rate: float = Field(default=3e-3, gt=0, description="a number above 0")
    evaluate_every: int = Field(default=50, ge=1, description="a whole number, at least 1")
    seeds: Sweep[int] = Field(default=(0,), description="a whole number, or a list of these")
    probe: ProbeSection | None = Field(default=None, description="a mapping")
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
    """

    path: Path
    name: str
    sections: S
    treatments: tuple[Treatment, ...]
    output: Path

    def to_dict(self) -> dict[str, Any]:
        """Return the config as JSON types."""
        rest = self.sections.model_dump(mode="json", exclude={"name", "treatments", "output"})
        treatments = [treatment.to_record() for treatment in self.treatments]
        return {"name": self.name, **rest, "treatments": treatments}

    @property
    def config_hash(self) -> str:
        """SHA-256 (hexadecimal) of `to_dict`."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def load_eval_config(path: Path, overrides: Sequence[str] = ()) -> ParityConfig[EvalSections]:
    """Read and check a config of ``accelsim eval``.

    Raises
    ------
    InputError
        If anything is wrong; one line for each problem, with file, line and column.
    """
    document, config = _load(path, overrides, EvalSections)
    sections = config.sections
    folder = from_folder(path.parent, sections.model)
    if folder.is_dir():
        sections = sections.model_copy(update={"model": str(folder)})
    elif sections.model not in catalog() or catalog()[sections.model].wheel is None:
        known = [name for name, entry in catalog().items() if entry.wheel is not None]
        document.report(("model",), f"{unknown_name('model', sections.model, known)}, or a folder")
    if sections.text is not None:
        text = from_folder(path.parent, sections.text)
        if not text.is_file():
            document.report(("text",), f"{text}: there is no such file")
        sections = sections.model_copy(update={"text": str(text)})
    document.raise_problems()
    return replace(config, sections=sections)


def load_train_config(path: Path, overrides: Sequence[str] = ()) -> ParityConfig[TrainSections]:
    """Read and check a config of ``accelsim train``; see `load_eval_config`."""
    document, config = _load(path, overrides, TrainSections)
    sections = config.sections
    if sections.width % sections.heads:
        document.report(
            ("heads",), f"found {sections.heads}; expected a divisor of width {sections.width}"
        )
    if sections.task == "vit" and sections.context is not None:
        document.report(("context",), "a vit has no context; expected none", at_key=True)
    if sections.probe is not None:
        found = _found(document, ("probe",), sections.probe.backend, sections.probe.strategy)
        sections = sections.model_copy(update={"probe": sections.probe.model_copy(update=found)})
    document.raise_problems()
    return replace(config, sections=sections)


def _load(path: Path, overrides: Sequence[str], kind: type[S]) -> tuple[Document, ParityConfig[S]]:
    document = read_document(path)
    for rank, override in enumerate(overrides, start=1):
        apply_override(document, override, rank)
    refuse_other_kinds(document, kind.command)
    sections = validated(document, kind, document.data)
    document.raise_problems()
    assert sections is not None, "sections that are not valid have left a problem"
    treatments: dict[str, Treatment] = {}
    for index, sweep in enumerate(sections.treatments):
        place = ("treatments", index)
        found = _found(document, place, sweep.backend, sweep.strategy)
        for treatment in sweep.model_copy(update=found).treatments():
            key = json.dumps(treatment.to_record(), sort_keys=True)
            if key in treatments:
                document.report(place, f"{treatment.label} is there already")
            treatments[key] = treatment
    name = sections.name or path.stem
    output = Path(sections.output or f"runs/{name}").expanduser()
    return document, ParityConfig(path, name, sections, tuple(treatments.values()), output)


def _found(
    document: Document, place: tuple[str | int, ...], backend: str | None, strategy: str
) -> dict[str, str | None]:
    """Return the names with paths that start from the config's folder; report what is wrong."""
    folder = document.path.parent
    found = {"backend": backend and target(backend, folder), "strategy": target(strategy, folder)}
    for key, name, check in (
        ("backend", found["backend"], backend_class),
        ("strategy", found["strategy"], load_strategy),
    ):
        try:
            if name is not None:
                check(name)
        except InputError as error:
            document.report((*place, key), str(error))
    return found
