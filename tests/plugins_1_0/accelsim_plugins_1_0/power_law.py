from typing import ClassVar

import torch
from pydantic import Field
from workloads import Gemm, WorkloadSource


class PowerLaw(WorkloadSource):
    """Square GEMMs whose entries fall off by a power law."""

    key: ClassVar[str] = "power_law"

    power_law: list[int] = Field(min_length=1, description="a list of sizes, such as [64, 128]")
    exponent: float = Field(default=3.0, gt=1, description="a number above 1")

    def open(self, folder):
        return [self.gemm(size) for size in self.power_law]

    def gemm(self, size):
        def load():
            generator = torch.Generator().manual_seed(size)
            uniform = torch.rand(2, size, size, generator=generator)
            a, b = (1 - uniform) ** (-1 / (self.exponent - 1))
            return a, b

        return Gemm(
            workload="power-law",
            name=str(size),
            op="linear",
            layer="",
            phase="forward",
            batch=1,
            n=size,
            d=size,
            h=size,
            load=load,
        )
