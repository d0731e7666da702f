"""The records that a config asks for, before they are made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

from accelsim.config import BackendChoice, RunConfig
from accelsim.records import RecordKey, record_key
from accelsim.runner.asked import planned, rounding_of
from accelsim.settings import Automatic, Unpacking
from accelsim.types import PerOperand, Rounding
from gemm_backends import GemmBackend
from workloads import Gemm


class Setting(NamedTuple):
    """All of a case but its GEMM; see `Case`."""

    quantize: PerOperand[Rounding] | Automatic
    unpack: Unpacking
    choice: BackendChoice
    backend: GemmBackend
    product: str


@dataclass(frozen=True)
class Case:
    """One record to make.

    Parameters
    ----------
    gemm : Gemm
        What is multiplied.
    quantize : PerOperand of Rounding
        How its operands are rounded.
    unpack : Unpacking
        How it is written in digits.
    choice : BackendChoice
        The backend as the config names it.
    backend : GemmBackend
        That backend, configured for the digits.
    product : {"integers", "float", "none"}
        What the product is to be.
    number : int
        Its place among the cases of the config, by which other processes know it.
    plan : str or None
        The hash of the plan that gave settings.
    tolerance : float or None
        For which β was found.
    """

    gemm: Gemm
    quantize: PerOperand[Rounding]
    unpack: Unpacking
    choice: BackendChoice
    backend: GemmBackend
    product: str = "integers"
    number: int = 0
    plan: str | None = None
    tolerance: float | None = None

    @cached_property
    def key(self) -> RecordKey:
        """The key of its record in the run."""
        return record_key(self.fields)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the record that are known before it runs, its key among them."""
        return {
            "workload": self.gemm.workload,
            "gemm": self.gemm.name,
            "op": self.gemm.op,
            "layer": self.gemm.layer,
            "phase": self.gemm.phase,
            "batch": self.gemm.batch,
            "n": self.gemm.n,
            "d": self.gemm.d,
            "h": self.gemm.h,
            "percentile": self.quantize.map(lambda rounding: rounding.percentile).to_record(),
            "beta": self.quantize.map(lambda rounding: rounding.beta).to_record(),
            "granularity": self.quantize.map(lambda rounding: rounding.granularity).to_record(),
            "zero_alpha": self.quantize.map(lambda rounding: rounding.zero_alpha).to_record(),
            "bits": self.unpack.bits.to_record(),
            "strategy": str(self.unpack.strategy),
            "digits": self.unpack.digits,
            "block": self.unpack.block,
            "product": self.product,
            "plan": self.plan,
            "tolerance": self.tolerance,
            "backend": self.backend.name,
            "backend_options": json.loads(json.dumps(self.backend.options)),
        }


def list_cases(config: RunConfig, gemms: Sequence[Gemm]) -> list[Case]:
    """Return all cases of a config in the order in which a run makes them.

    Parameters
    ----------
    config : RunConfig
        The sweep.
    gemms : sequence of Gemm
        What ``config.gemms()`` returned.
    """
    settings = list_settings(config)
    pairs = product(gemms, settings)
    return [case_of(gemm, setting, config, number) for number, (gemm, setting) in enumerate(pairs)]


def case_of(gemm: Gemm, setting: Setting, config: RunConfig, number: int = 0) -> Case:
    """Return the case of a GEMM with a setting, by its plan, and with β found if that was asked.

    Parameters
    ----------
    gemm : Gemm
        What is multiplied.
    setting : Setting
        All else.
    config : RunConfig
        It has the plans.
    number : int
        The place among the cases of the config.
    """
    rounding, unpacking = rounding_of(gemm, setting.quantize), setting.unpack
    backend, plan = setting.backend, config.plans.get(gemm.id)
    if plan is not None:
        rounding, unpacking = planned(gemm, plan, rounding, unpacking)
        if unpacking.bits != setting.unpack.bits:
            backend = setting.choice.load().for_bits(unpacking.bits.a, unpacking.bits.b)
    return Case(
        gemm,
        rounding,
        unpacking,
        setting.choice,
        backend,
        setting.product,
        number,
        plan=None if plan is None else plan.hash,
        tolerance=setting.quantize.tolerance if isinstance(setting.quantize, Automatic) else None,
    )


def list_settings(config: RunConfig) -> list[Setting]:
    """Return every combination of rounding, unpacking and backend of a config, in its order."""
    unpacking = config.unpack_points()
    backends = [(choice, choice.load()) for choice in config.backends]
    configured = {
        (choice.key, bits): backend.for_bits(bits.a, bits.b)
        for choice, backend in backends
        for bits in dict.fromkeys(point.bits for point in unpacking)
    }
    return [
        Setting(rounding, point, choice, configured[choice.key, point.bits], config.product)
        for rounding in config.quantize_points()
        for point in unpacking
        for choice, _ in backends
    ]
