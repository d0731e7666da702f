"""Workload sources: what an entry of a config's ``workloads`` may be.

A source is a pydantic model of the whole entry. The key that names it is one of its fields, and
each field's description says what is allowed there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from accelsim.errors import InputError
from accelsim.registry import Registry
from workloads.bundle import open_bundle
from workloads.gemm import Gemm, select
from workloads.paths import from_folder
from workloads.synthetic import Synthetic


class EntryError(InputError):
    """Something is wrong with one value of an entry.

    Parameters
    ----------
    message : str
        What.
    *loc : str or int
        The keys and indices that lead from the entry to the value.
    """

    def __init__(self, message: str, *loc: str | int) -> None:
        super().__init__(message)
        self.loc = loc


class WorkloadSource(BaseModel, ABC):
    """One entry of ``workloads``.

    Attributes
    ----------
    key : str
        The key by which an entry is known to be of this source; one of the fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    key: ClassVar[str]

    @abstractmethod
    def open(self, folder: Path) -> list[Gemm]:
        """Return the GEMMs, without reading any operand.

        Parameters
        ----------
        folder : Path
            What relative paths are relative to.

        Raises
        ------
        InputError
            If the entry cannot be used; as an `EntryError` where one value is to blame.
        """


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class BundleSource(WorkloadSource):
    """The GEMMs of a bundle, or those whose names match a glob.

    Parameters
    ----------
    bundle : str
        Path of a ``.safetensors`` file.
    gemms : list of str
        Globs of names; all by default.
    """

    key = "bundle"

    bundle: str = Field(min_length=1, description="the path of a .safetensors file")
    gemms: Annotated[list[str], BeforeValidator(_as_list)] = Field(
        default=["*"], min_length=1, description="a list of at least one glob, such as '*.qk'"
    )

    def open(self, folder: Path) -> list[Gemm]:
        """Open the bundle and select its GEMMs."""
        bundle = open_bundle(from_folder(folder, self.bundle))
        for index, glob in enumerate(self.gemms):
            try:
                select(bundle.gemms, [glob], bundle.path)
            except InputError as error:
                raise EntryError(str(error), "gemms", index) from None
        return select(bundle.gemms, self.gemms, bundle.path)


class SyntheticSource(WorkloadSource):
    """One synthetic GEMM.

    Parameters
    ----------
    synthetic : Synthetic
        Its dimensions, seed and heavy hitters.
    """

    key = "synthetic"

    synthetic: Synthetic = Field(description="a mapping such as {n: 256, d: 512, h: 256}")

    def open(self, folder: Path) -> list[Gemm]:
        """Return the GEMM."""
        return [self.synthetic.gemm()]


registry: Registry[WorkloadSource] = Registry(
    "workload source", "accelsim.workloads", WorkloadSource
)
"""All sources by key: those below, and entry points of the group ``accelsim.workloads``."""

for _source in (BundleSource, SyntheticSource):
    registry.register(_source.key, _source)
