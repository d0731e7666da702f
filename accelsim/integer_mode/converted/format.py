"""How a converted layer describes its tensors where they are saved, so that changes are seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from accelsim.errors import DataError, InputError
from accelsim.integer_mode.converted.digits import NAMES, StoredWeight

FORMAT = "weight_format"
"""The name of the tensor of bytes that describes the others: JSON."""

SCHEMA = 1
"""The version of what is saved; newer ones are refused."""

ROUNDING = ("beta", "percentile", "granularity", "zero_alpha")
"""Settings that decide the integers of weights, and of what they are multiplied with."""


def described(weight: StoredWeight, settings: str) -> Tensor:
    """Return the description of a weight, as bytes.

    Parameters
    ----------
    weight : StoredWeight
        The weight.
    settings : str
        What `IntegerConfig.to_json` gave.
    """
    text = json.dumps(
        {
            "schema": SCHEMA,
            "settings": json.loads(settings),
            "sha256": {name: sha256(tensor) for name, tensor in weight.tensors.items()},
        }
    )
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def verified(
    found: Mapping[str, Tensor | None], settings: str, shape: tuple[int, int], prefix: str
) -> dict[str, Tensor]:
    """Return the tensors of a layer that was saved, after comparing them with their description.

    Parameters
    ----------
    found : mapping
        The tensors by name; None for those that are missing.
    settings : str
        Of the model that they are loaded into.
    shape : tuple of int
        Outputs and inputs of the layer.
    prefix : str
        What names begin with, for messages.

    Raises
    ------
    InputError
        If they are no converted layer's, of a newer version, or of other settings.
    DataError
        If a tensor is not what was saved.
    """
    weight = found["weight"]
    if weight is not None and weight.is_floating_point():
        raise InputError(
            f"{prefix}weight: found {weight.dtype}; expected the digits of a converted model. Load "
            "float weights before accelsim.quantize_, or after accelsim.dequantize_"
        )
    tensors: dict[str, Tensor] = {}
    for name in (*NAMES, FORMAT):
        tensor = found[name]
        if tensor is None:
            raise DataError(f"{prefix}{name} is missing beside {prefix}weight")
        tensors[name] = tensor
    about = _parsed(tensors[FORMAT], prefix)
    own, theirs = json.loads(settings), about["settings"]
    for name in ROUNDING:
        if own[name] != theirs.get(name):
            raise InputError(
                f"{prefix}weight was made with {name}={theirs.get(name)!r}; this model was "
                f"converted with {own[name]!r}"
            )
    for name in NAMES:
        if sha256(tensors[name]) != about["sha256"].get(name):
            raise DataError(
                f"{prefix}{name} was changed after it was saved: its SHA-256 is not "
                f"{about['sha256'].get(name)}"
            )
    h = tensors["weight_offsets"].shape[0] - 1
    digits = tensors["weight"]
    d = shape[1] if digits.dtype == torch.int8 else -(-shape[1] // 2)
    if h != shape[0] or digits.shape[1] != d:
        raise InputError(f"{prefix}weight does not have the shape {[*shape]} of this model's layer")
    return tensors


def sha256(tensor: Tensor) -> str:
    """Return the SHA-256 (hexadecimal) of a tensor's type, shape and bytes."""
    plain = tensor.detach().cpu().contiguous()
    about = f"{str(plain.dtype).removeprefix('torch.')} {[*plain.shape]}\n"
    digest = hashlib.sha256(about.encode())
    digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _parsed(described: Tensor, prefix: str) -> dict[str, Any]:
    try:
        about = json.loads(bytes(described.cpu().numpy()))
        schema = about["schema"]
        if isinstance(schema, int) and schema > SCHEMA:
            raise InputError(
                f"{prefix}{FORMAT}: version {schema} is newer than {SCHEMA}, the newest that this "
                "accelsim reads; install a newer one"
            )
        known = schema == SCHEMA and isinstance(about["sha256"], dict)
        if known and isinstance(about["settings"], dict):
            return dict(about)
    except (ValueError, KeyError, TypeError):
        pass
    raise DataError(f"{prefix}{FORMAT} was changed after it was saved, or is of no converted model")
