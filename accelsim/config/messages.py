"""Pydantic's errors, in the terms of the config."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from accelsim.config.document import Document
from accelsim.config.fields import alternatives
from accelsim.config.problems import Loc, shown
from accelsim.errors import unknown_name

M = TypeVar("M", bound=BaseModel)


def validated(document: Document, model: type[M], value: object, loc: Loc = ()) -> M | None:
    """Check a value of a config against a model.

    Parameters
    ----------
    document : Document
        Takes one problem for each thing that is wrong.
    model : type
        A pydantic model whose fields' descriptions say what is allowed.
    value : object
        Plain values from the config.
    loc : tuple
        Where they stand.

    Returns
    -------
    BaseModel or None
        An instance of `model`, or None if anything is wrong.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        for inner, message, at_key in explained(model, error):
            document.report((*loc, *inner), message, at_key=at_key)
        return None


def explained(model: type[BaseModel], error: ValidationError) -> Iterator[tuple[Loc, str, bool]]:
    """Yield where each problem is, what is wrong, and whether that is the key."""
    found = error.errors(include_url=False)
    for details in found:
        loc = tuple(details["loc"])
        if details["type"] == "too_short" and any(
            other["loc"][: len(loc)] == loc for other in found if other is not details
        ):
            continue  # a list counts as short because an item of it is wrong
        yield loc, _message(model, loc, details), details["type"] == "extra_forbidden"


def _message(model: type[BaseModel], loc: Loc, error: ErrorDetails) -> str:
    kind, found = error["type"], shown(error["input"])
    owner, field = _field(model, loc)
    if kind == "extra_forbidden":
        known = owner.model_fields if owner else alternatives(field.annotation if field else None)
        return unknown_name("key", loc[-1], known)
    allowed = field.description if field is not None else "a mapping"
    if kind == "missing":
        return f"missing key {str(loc[-1])!r}; expected {allowed}"
    if kind == "literal_error" and isinstance(error["input"], str):
        choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        return unknown_name("value", error["input"], choices)
    if kind == "explained" or not allowed:
        return error["msg"]
    return f"found {found}; expected {allowed}"


def _field(model: type[BaseModel], loc: Loc) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """Return the innermost model on the way to `loc`, and the last field that the way names."""
    owner: type[BaseModel] | None = model
    field = None
    for part in loc:
        if owner is not None and part in owner.model_fields:
            field = owner.model_fields[str(part)]
            owner = _nested(field.annotation)
    return owner, field


def _nested(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside an annotation such as ``Model | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for model in map(_nested, get_args(annotation)) if model), None)
