"""The catalog of models that are known by name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from accelsim.errors import InputError, unknown_name
from workloads.models.wheels import Wheel

_FILE = Path(__file__).parents[1] / "catalog.yaml"


class Shapes(BaseModel):
    """The dimensions of a Transformer.

    Parameters
    ----------
    layers : int
        Of the decoder, or of the encoder.
    width : int
        Of a token.
    heads : int
        Of the queries; each is ``width / heads`` wide.
    mlp : int
        Inner width of the feed-forward layers.
    outputs : int
        Rows of the last linear layer: words or classes.
    kv_heads : int, optional
        Of the keys and values; as many as of the queries by default.
    gated : bool
        Whether the feed-forward layers have a gate in addition to `up`.
    decoder_layers : int
        Of a decoder with cross-attention behind the encoder.
    head_dense : bool
        Whether a square layer stands before the last one.
    patches : tuple of int, optional
        How many patches an image has, and how many values each; a linear layer embeds them.
    pooled : bool
        Whether the last layer gets one token of each sequence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int
    width: int
    heads: int
    mlp: int
    outputs: int
    kv_heads: int | None = None
    gated: bool = False
    decoder_layers: int = 0
    head_dense: bool = False
    patches: tuple[int, int] | None = None
    pooled: bool = False


class CatalogEntry(BaseModel):
    """One model of the catalog; exactly one of `wheel`, `train` and `shapes` is set.

    Parameters
    ----------
    about : str
        What it is.
    license : str
        Of its weights.
    cites : str
        Where its dimensions are from.
    wheel : Wheel, optional
        The package that has its weights.
    folder : str
        Where they are in the wheel.
    gguf : str, optional
        The GGUF file in the folder.
    generates : bool
        Whether it is a causal language model with weights.
    train : str, optional
        Which task a model is trained on here; see `workloads.models.tasks`.
    shapes : Shapes, optional
        Its dimensions.
    batch, tokens : int
        The default number of sequences, and of tokens in each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    license: str = ""
    cites: str = ""
    wheel: Wheel | None = None
    folder: str = ""
    gguf: str | None = None
    generates: bool = False
    train: Literal["gpt", "llama", "roberta", "t5", "vit"] | None = None
    shapes: Shapes | None = None
    batch: int = Field(default=1, ge=1)
    tokens: int = Field(default=256, ge=1)

    @model_validator(mode="after")
    def _one_kind(self) -> CatalogEntry:
        if sum(kind is not None for kind in (self.wheel, self.train, self.shapes)) != 1:
            raise ValueError("expected one of wheel, train and shapes")
        return self

    @property
    def kind(self) -> str:
        """Where its operands come from: ``wheel``, ``trained here`` or ``synthetic``."""
        if self.shapes is not None:
            return "synthetic"
        return "wheel" if self.wheel is not None else "trained here"

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that take the model; `run` does so by a `model:` entry of its config."""
        if self.shapes is not None:
            return ("run",)
        if self.wheel is None:
            return "run", "extract", "sensitivity", "tune"
        generating = ("invariance", "lm-eval") if self.generates else ()
        return "run", "extract", "eval", "sensitivity", "tune", *generating


@cache
def catalog() -> dict[str, CatalogEntry]:
    """Return all models that are known by name."""
    data: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return {name: CatalogEntry(**entry) for name, entry in data.items()}


def find_weights(name: str, others: Iterable[str] = ()) -> Wheel:
    """Return where the weights of a model of the catalog are.

    Parameters
    ----------
    name : str
        Of the model.
    others : iterable of str
        Names of other things, for messages.

    Raises
    ------
    InputError
        If no model has this name, or it has no weights.
    """
    known = [key for key, entry in catalog().items() if entry.wheel is not None]
    if ":" in name:
        raise InputError(
            f"{name}: expected the name of a model ({', '.join([*known, *others])}) or of a local "
            "Hugging Face folder; for a module of your own use accelsim.integer_gemms "
            "(docs/guide-researcher.md)"
        )
    if name not in catalog():
        names = [*known, *others]
        raise InputError(f"{unknown_name('model', name, names)}, or a local folder")
    entry = catalog()[name]
    if entry.wheel is None:
        raise InputError(
            f"{name} is {entry.kind}, for {', '.join(entry.commands)} alone; models with "
            f"weights: {', '.join(known)}, or those of a local folder"
        )
    return entry.wheel


def find(name: str) -> CatalogEntry:
    """Return a model of the catalog.

    Raises
    ------
    InputError
        If no model has this name.
    """
    if name not in catalog():
        raise InputError(unknown_name("model", name, catalog()))
    return catalog()[name]
