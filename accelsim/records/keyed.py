"""Records of a run folder: one line of strict JSON each, identified by a key."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Self, TypeAlias

from pydantic import BaseModel, ConfigDict

RecordKey: TypeAlias = tuple[str, ...]


class Strict(BaseModel):
    """A part of a record: no unknown field, no value of another type, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Keyed(Strict):
    """A record of a run folder."""

    @property
    @abstractmethod
    def key(self) -> RecordKey:
        """The key that identifies the record in its run."""

    @property
    def available(self) -> bool:
        """Whether what the record is about is available on this machine, so that a run begins."""
        return True

    @property
    def is_cheap(self) -> bool:
        """Whether it is made again in no time, so that others need not wait for the disk."""
        return False

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON types, fields in their documented order."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        """Return the record as one line of strict JSON, without the line's end.

        Raises
        ------
        ValueError
            If a backend option is NaN or infinite.
        """
        return json.dumps(self.to_dict(), allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a record back from its line.

        Raises
        ------
        ValueError
            If the line is not strict JSON or not a record (pydantic's error is a ValueError).
        """
        return cls.model_validate(json.loads(text, parse_constant=_refuse_constant))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not strict JSON")


def canonical_json(value: Any) -> str:
    """Return canonical JSON: 95 and 95.0 are equal, and so are all orders of keys.

    Raises
    ------
    ValueError
        If a number is NaN or infinite.
    """
    if value is None or isinstance(value, str | int | float):
        return _of_scalar(value)
    return _encode(_canonical(value))


_encode = json.JSONEncoder(sort_keys=True, allow_nan=False).encode


@lru_cache(maxsize=1 << 14, typed=True)
def _of_scalar(value: str | float | None) -> str:
    """Return the JSON of a scalar; a run has the same few in thousands of records."""
    return _encode(_canonical(value))


def _canonical(value: Any) -> Any:
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
