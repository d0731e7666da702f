"""The records that a config asks for, before they are made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from accelsim.config import BackendChoice, RunConfig
from accelsim.settings import Unpacking
from accelsim.types import PerOperand, Rounding
from gemm_backends import GemmBackend
from workloads import Gemm


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
    """

    gemm: Gemm
    quantize: PerOperand[Rounding]
    unpack: Unpacking
    choice: BackendChoice
    backend: GemmBackend

    @property
    def fields(self) -> dict[str, Any]:
        """What is known of the record before it runs, its key among it."""
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
            "bits": self.unpack.bits.to_record(),
            "strategy": str(self.unpack.strategy),
            "digits": self.unpack.digits,
            "block": self.unpack.block,
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
    return list(_cases(config, gemms))


def _cases(config: RunConfig, gemms: Sequence[Gemm]) -> Iterator[Case]:
    backends = [(choice, choice.load()) for choice in config.backends]
    for gemm in gemms:
        for rounding in config.quantize_points():
            for unpacking in config.unpack_points():
                for choice, backend in backends:
                    configured = backend.for_bits(unpacking.bits.a, unpacking.bits.b)
                    yield Case(gemm, rounding, unpacking, choice, configured)
