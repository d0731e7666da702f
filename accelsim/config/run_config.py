"""The validated config of a run, and the sweep that it describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.config.document import content_hash
from accelsim.config.plan import Plan
from accelsim.config.problems import Places, Problem
from accelsim.config.sections import TimingSection
from accelsim.config.settings import QuantizeSection, UnpackSection
from accelsim.records.keyed import canonical_json
from accelsim.settings import Automatic, Unpacking
from accelsim.types import PerOperand, Rounding, StrategyChoice
from accelsim.unpack import Strategy, load_strategy
from workloads.gemm import Gemm
from workloads.models.source import ModelSource
from workloads.sources import WorkloadSource, open_source

if TYPE_CHECKING:
    from gemm_backends import GemmBackend


@dataclass(frozen=True)
class BackendChoice:
    """A backend with the options that the config gives it.

    Parameters
    ----------
    name : str
        As the config writes it.
    options : dict
        Arguments of its constructor.
    target : str
        What `gemm_backends.load_backend` takes: the name, or, for a class in a file, its path from
        the current folder.
    """

    name: str
    options: dict[str, Any]
    target: str

    @cached_property
    def key(self) -> str:
        """The key that distinguishes it from the config's other backends."""
        return canonical_json([self.target, self.options])

    def load(self) -> GemmBackend:
        """Return the backend, which is made once.

        Raises
        ------
        InputError
            If there is none, or its options are wrong.
        """
        return self._backend

    @cached_property
    def _backend(self) -> GemmBackend:
        from gemm_backends import load_backend

        return load_backend(self.target, **self.options)

    def to_record(self) -> str | dict[str, Any]:
        """Return the entry as a config has it."""
        return {"name": self.name, **self.options} if self.options else self.name


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run does, checked and with its defaults filled in.

    Parameters
    ----------
    path : Path
        The config file; relative paths in it start from its folder.
    name : str
        Of the run.
    workloads : tuple of WorkloadSource
        Where the GEMMs come from.
    quantize, unpack : Section
        How operands are rounded, and how integers are written in digits.
    backends : tuple of BackendChoice
        What multiplies.
    baselines : tuple of str
        Floating-point products to compare with.
    k_split : str
        ``auto`` or ``never``: whether K is split where an accumulator could overflow.
    timing : TimingSection
        How often and under which conditions times are taken.
    product : str
        ``integers``, ``float`` for the product in the operands' type, divided by their scales, or
        ``none`` to count operations and multiply nothing.
    output : Path
        The folder for the results, from the current folder.
    overrides, backend_names : tuple of str
        The other arguments of `load_config`, so that another process can load the same config.
    places : Places
        Where its values were written.
    plan : str or None
        The path of a plan, as the config has it.
    plans : mapping
        The plan of each GEMM that has one, by the GEMM's id.
    """

    path: Path
    name: str
    workloads: tuple[WorkloadSource, ...]
    quantize: QuantizeSection
    unpack: UnpackSection
    backends: tuple[BackendChoice, ...]
    baselines: tuple[str, ...]
    k_split: str
    timing: TimingSection
    product: str
    output: Path
    overrides: tuple[str, ...] = ()
    backend_names: tuple[str, ...] = ()
    places: Places = field(default_factory=Places, repr=False, compare=False)
    plan: str | None = None
    plans: Mapping[str, Plan] = field(default_factory=dict, repr=False)

    def gemms(self) -> list[Gemm]:
        """Open every workload and return its GEMMs, in the config's order.

        No operand is read.

        Returns
        -------
        list[Gemm]
            The GEMMs; each reads or draws its operands when it is loaded.

        Raises
        ------
        InputError
            If a file has changed since the config was loaded.
        """
        return [gemm for source in self.workloads for gemm in open_source(source, self.path.parent)]

    @property
    def profiles(self) -> tuple[str, ...]:
        """What operands are drawn from that the models of the sweep do not bring."""
        models = (source for source in self.workloads if isinstance(source, ModelSource))
        found = (model.drawn_from for model in models)
        return tuple(dict.fromkeys(name for name in found if name is not None))

    def at_workload(self, index: int, message: str) -> str:
        """Put the place of an entry of `workloads` in front of a message about it.

        Parameters
        ----------
        index : int
            Which entry of `workloads`, from 0 on.
        message : str
            What is to be said about it.

        Returns
        -------
        str
            The message, with file, line and column in front.
        """
        loc = self.places.known_part(("workloads", index, self.workloads[index].key))
        place = self.places.values.get(loc)
        return message if place is None else str(Problem(place, loc, message))

    def quantize_points(self) -> list[PerOperand[Rounding] | Automatic]:
        """Return every way to round the operands of a GEMM."""
        return self.quantize.roundings()

    def unpack_points(self) -> list[Unpacking]:
        """Return every way to write integers in digits."""
        return self.unpack.unpackings(self.path.parent)

    def strategy(self, choice: StrategyChoice, block: int | None = None) -> Strategy:
        """Make a strategy of the config, with blocks of `block` columns.

        Parameters
        ----------
        choice : StrategyChoice
            One of the config's strategies.
        block : int or None
            Columns of a K-block, for strategies that cut any.

        Returns
        -------
        Strategy
            The strategy.
        """
        return load_strategy(choice, block, self.path.parent)

    def to_dict(self) -> dict[str, Any]:
        """Return the resolved config as JSON values, in the form of a config file.

        Paths are as the config writes them, except `output`.
        """
        return {
            "name": self.name,
            "workloads": [source.to_record() for source in self.workloads],
            "quantize": self.quantize.to_config(),
            "unpack": self.unpack.to_config(),
            "backends": [choice.to_record() for choice in self.backends],
            "baselines": list(self.baselines),
            "k_split": self.k_split,
            "timing": self.timing.to_config(),
            "product": self.product,
            "output": str(self.output),
            **({} if self.plan is None else {"plan": self.plan}),
        }

    @property
    def config_hash(self) -> str:
        """SHA-256 (hexadecimal) of the resolved config without `output`, and of its plans."""
        values = {k: value for k, value in self.to_dict().items() if k != "output"}
        if self.plans:
            values["plans"] = {gemm: plan.hash for gemm, plan in self.plans.items()}
        return content_hash(values)
