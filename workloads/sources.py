"""Workload sources: what an entry of a config's ``workloads`` may be.

A source is a pydantic model of the whole entry. The key that names it is one of its fields, and
each field's description says what is allowed there. A class that is not installed is named by its
file: ``{source: path/to/file.py:ClassName, ...}``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from accelsim.errors import InputError
from accelsim.plugins.registry import Registry
from workloads.bundle import open_bundle
from workloads.gemm import Gemm, checked, select
from workloads.shipped import bundle_path
from workloads.synthetic import Synthetic
from workloads.tiling import FLOAT_TYPES, FloatType, Tile, in_type, tiled

SOURCE = "source"
"""The key of an entry that names a class in a file."""

SourceClass = TypeVar("SourceClass", bound=type["WorkloadSource"])


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

    Raises
    ------
    TypeError
        At the definition of a subclass, if `key` or `open` is missing or wrong.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    key: ClassVar[str]
    _file: str | None = PrivateAttr(default=None)

    @classmethod
    def __pydantic_init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if abstract:
            return
        name = cls.__name__
        if not isinstance(getattr(cls, "key", None), str):
            raise TypeError(f'{name} has no key; add key: ClassVar[str] = "my-source"')
        if cls.key not in cls.model_fields:
            fields = ", ".join(cls.model_fields) or "none"
            raise TypeError(f"{name}.key must be one of its fields ({fields}), got {cls.key!r}")
        if getattr(cls.open, "__isabstractmethod__", False):
            raise TypeError(f"{name} has no open; add def open(self, folder)")

    def come_from(self, reference: str) -> None:
        """Remember in which file the class is, as the config writes it.

        Parameters
        ----------
        reference : str
            Such as ``path/to/file.py:ClassName``.
        """
        self._file = reference

    def to_record(self) -> dict[str, Any]:
        """Return the entry as a config has it, with the defaults that are not null."""
        entry = self.model_dump(mode="json", exclude_none=True)
        return entry if self._file is None else {SOURCE: self._file, **entry}

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


def open_source(source: WorkloadSource, folder: Path) -> list[Gemm]:
    """Return the GEMMs of a source, whose operands are checked whenever they are loaded.

    Parameters
    ----------
    source : WorkloadSource
        An entry of a config; a plug-in may be behind it.
    folder : Path
        What relative paths are relative to.

    Raises
    ------
    InputError
        If the entry cannot be used.
    """
    return [checked(gemm) for gemm in source.open(folder)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class BundleSource(WorkloadSource):
    """The GEMMs of a bundle, or those whose names match a glob.

    Parameters
    ----------
    bundle : str
        Path of a ``.safetensors`` file, or the name of a bundle that comes with the suite.
    gemms : list of str
        Globs of names; all by default.
    tile : Tile, optional
        A shape that the operands of every GEMM are repeated to fill; see `workloads.tiling`.
    dtype : str, optional
        ``float32``, ``float16`` or ``bfloat16``, which operands are rounded to when they are read;
        by default they stay as the file has them.
    """

    key = "bundle"

    bundle: str = Field(
        min_length=1, description="the path of a .safetensors file, or the name of a shipped bundle"
    )
    gemms: Annotated[list[str], BeforeValidator(_as_list)] = Field(
        default=["*"], min_length=1, description="a list of at least one glob, such as '*.qk'"
    )
    tile: Tile | None = Field(
        default=None, description="a mapping such as {d: 4096}, of at least one of n, d and h"
    )
    dtype: FloatType | None = Field(default=None, description=FLOAT_TYPES)

    def open(self, folder: Path) -> list[Gemm]:
        """Open the bundle and select its GEMMs."""
        bundle = open_bundle(bundle_path(folder, self.bundle))
        for index, glob in enumerate(self.gemms):
            try:
                select(bundle.gemms, [glob], bundle.path)
            except InputError as error:
                raise EntryError(str(error), "gemms", index) from None
        gemms = select(bundle.gemms, self.gemms, bundle.path)
        if self.tile is not None:
            for gemm in gemms:
                if 0 in (gemm.batch, gemm.n, gemm.d, gemm.h):
                    raise EntryError(f"GEMM {gemm.name!r} is empty and fills no tile", "tile")
            gemms = [tiled(gemm, self.tile) for gemm in gemms]
        return gemms if self.dtype is None else [in_type(gemm, self.dtype) for gemm in gemms]


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
        """Return the GEMM, if its operands fit into this machine's memory."""
        self.synthetic.check_memory()
        return [self.synthetic.gemm()]


registry: Registry[WorkloadSource] = Registry(
    "workload source", "accelsim.workloads", WorkloadSource
)
"""All sources by key: those below, and entry points of the group ``accelsim.workloads``."""


def register_source(source: SourceClass) -> SourceClass:
    """Make a source known by its `key` for the rest of this process.

    Returns the class, so that it can be used as a decorator.

    Parameters
    ----------
    source : SourceClass
        The class.

    Returns
    -------
    SourceClass
        The same class.

    Raises
    ------
    InputError
        If the key is taken.
    """
    registry.register(source.key, source)
    return source


for _source in (BundleSource, SyntheticSource):
    register_source(_source)
