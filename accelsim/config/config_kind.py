"""The command that a config is written for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelsim.config.document import Document, read_document
from accelsim.config.problems import Problem, config_error
from accelsim.config.shipped import find_config

OWN_KEYS: Mapping[str, frozenset[str]] = {
    "run": frozenset(
        {
            "workloads", "quantize", "unpack", "backends", "accelerator", "baselines", "k_split",
            "product", "timing", "plan",
        }
    ),
    "eval": frozenset({"model", "gguf", "text", "windows", "tokens"}),
    "train": frozenset(
        {
            "task", "batch", "context", "width", "layers", "heads", "steps", "learning_rate",
            "evaluate_every", "seeds", "probe", "data", "vocabulary", "warmup", "check_steps",
            "keep",
        }
    ),
}  # fmt: skip
"""Top-level keys that only the configs of one command have."""


def kind_of(data: Mapping[str, Any]) -> str:
    """Return the command that a config is for: the one that most of its keys belong to."""
    found = {kind: len(keys & data.keys()) for kind, keys in OWN_KEYS.items()}
    if not any(found.values()) and "treatments" in data:
        return "eval"
    return max(found, key=found.__getitem__)


def refuse_other_kinds(document: Document, asked: str) -> None:
    """Refuse a config that is for another command, and say for which.

    Raises
    ------
    InputError
        If the config has keys of another command and none of `asked`.
    """
    kind = kind_of(document.data)
    if kind == asked or OWN_KEYS[asked] & document.data.keys():
        return
    key = next(key for key in document.data if key in OWN_KEYS[kind] | {"treatments"})
    place = document.places.keys.get((key,)) or document.places.values[(key,)]
    message = (
        f"this is a config of `accelsim {kind}`, not of `accelsim {asked}`: "
        f"use accelsim {kind} {document.path}"
    )
    raise config_error([Problem(place, (key,), message)])


def read_kind(path: Path, overrides: Sequence[str] = ()) -> str:
    """Return the command that a config file is for, with what the command line changes in it.

    Raises
    ------
    InputError
        If the file cannot be read, is not YAML, or is not a mapping.
    """
    return kind_of(read_document(find_config(path), overrides).data)
