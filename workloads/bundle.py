"""Bundles: the GEMMs of a model in one safetensors file, checked before anything is allocated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from accelsim.errors import InputError, unknown_name
from accelsim.types import PerOperand
from workloads.gemm import OPS, PHASES, Gemm, Operands
from workloads.header import Header, TensorEntry, read_header, unique_keys

METADATA_KEY = "accelsim"
SCHEMA = 1

OPERAND_DTYPES = ("F32", "F16", "BF16")
"""Types an operand may have, by the safetensors format's names."""


@dataclass(frozen=True)
class Bundle:
    """A checked bundle; opening it reads the header and no tensor.

    Parameters
    ----------
    path : Path
        The file.
    source : dict
        Where the operands come from, according to the file: model, package, text, licence.
    gemms : tuple of Gemm
        Its GEMMs, in the file's order.
    """

    path: Path
    source: dict[str, Any]
    gemms: tuple[Gemm, ...]


def open_bundle(path: str | Path) -> Bundle:
    """Open a bundle and check its header, its metadata and the shapes of every pair.

    A file without the metadata key `accelsim` is accepted: every pair ``X/a``, ``X/b`` is a GEMM,
    or the bare pair ``A``, ``B`` is one, named after the file; its op is ``linear``, its phase
    ``forward``.

    Parameters
    ----------
    path : str or Path
        A ``.safetensors`` file.

    Returns
    -------
    Bundle
        The bundle, with its GEMMs; no operand is read.

    Raises
    ------
    InputError
        If the file cannot be used; the message names the file, the tensor, what was found and what
        would be right.

    Examples
    --------
    >>> from pathlib import Path
    >>> from workloads import bundle_path, open_bundle
    >>> bundle = open_bundle(bundle_path(Path(), "smollm2"))
    >>> [(gemm.name, gemm.n, gemm.d, gemm.h) for gemm in bundle.gemms][:2]
    [('smollm2.q', 128, 576, 192), ('smollm2.qk', 128, 64, 256)]
    """
    path = Path(path)
    header = read_header(path)
    if METADATA_KEY in header.metadata:
        source, described = _described(path, header.metadata[METADATA_KEY])
    else:
        source, described = {}, list(_undescribed(path, header))
    if not described:
        raise InputError(f"{path}: holds no GEMM; expected pairs of tensors NAME/a and NAME/b")
    names = [entry["name"] for entry in described]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: GEMM {name!r} appears twice; expected unique names")
    return Bundle(path, source, tuple(_gemm(path, header, **entry) for entry in described))


def read_operands(path: Path, tensors: PerOperand[str]) -> Operands:
    """Read the two named tensors from a safetensors file, in the types they are stored in.

    Raises
    ------
    InputError
        If the file has changed since it was checked.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(tensors.a), file.get_tensor(tensors.b)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _described(path: Path, text: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Parse the JSON under the metadata key `accelsim`."""
    where = f"{path}: metadata {METADATA_KEY!r}"
    try:
        value = json.loads(text, object_pairs_hook=unique_keys(where))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{where}: found {_json(value)}; expected an object")
    if value.get("schema") != SCHEMA or isinstance(value["schema"], bool):
        found = _json(value["schema"]) if "schema" in value else "none"
        raise InputError(f"{where}: schema: found {found}; expected {SCHEMA}")
    source, gemms = value.get("source", {}), value.get("gemms")
    if not isinstance(source, dict):
        raise InputError(f"{where}: source: found {_json(source)}; expected an object")
    if not isinstance(gemms, list):
        raise InputError(f"{where}: gemms: found {_json(gemms)}; expected a list")
    return source, [
        _description(f"{where}: gemms[{index}]", entry) for index, entry in enumerate(gemms)
    ]


def _description(where: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: found {_json(entry)}; expected an object")
    for key in ("name", "op", "layer", "phase"):
        if not isinstance(entry.get(key), str):
            found = _json(entry[key]) if key in entry else "nothing"
            raise InputError(f"{where}.{key}: found {found}; expected text")
    if not entry["name"]:
        raise InputError(f"{where}.name: is empty")
    for key, known in (("op", OPS), ("phase", PHASES)):
        if entry[key] not in known:
            raise InputError(f"{where}.{key}: {unknown_name(key, entry[key], known)}")
    name = entry["name"]
    return {
        **{key: entry[key] for key in ("name", "op", "layer", "phase")},
        "tensors": PerOperand(f"{name}/a", f"{name}/b"),
    }


def _json(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _undescribed(path: Path, header: Header) -> Iterator[dict[str, Any]]:
    """Describe the pairs of a file without metadata by the names of its tensors."""
    common = {"op": "linear", "layer": "", "phase": "forward"}
    if "A" in header.tensors or "B" in header.tensors:
        yield {"name": path.stem, **common, "tensors": PerOperand("A", "B")}
    ends = ("/a", "/b")
    for name in sorted({t[:-2] for t in header.tensors if t.endswith(ends) and len(t) > 2}):
        yield {"name": name, **common, "tensors": PerOperand(f"{name}/a", f"{name}/b")}


def _gemm(
    path: Path,
    header: Header,
    name: str,
    op: str,
    layer: str,
    phase: str,
    tensors: PerOperand[str],
) -> Gemm:
    a = _operand(path, header, tensors.a)
    b = _operand(path, header, tensors.b)
    pair = f"{path}: GEMM {name!r}: {tensors.a!r} is {list(a.shape)}, {tensors.b!r} {list(b.shape)}"
    if len(a.shape) != len(b.shape):
        raise InputError(f"{pair}; expected both with a batch dimension, or both without")
    if a.shape[-1] != b.shape[-1]:
        raise InputError(f"{pair}; the last dimension d must be the same")
    if a.shape[:-2] != b.shape[:-2]:
        raise InputError(f"{pair}; the batch must be the same")
    batched = len(a.shape) == 3
    return Gemm(
        workload=path.stem,
        name=name,
        op=op,
        layer=layer,
        phase=phase,
        batch=a.shape[0] if batched else 1,
        n=a.shape[-2],
        d=a.shape[-1],
        h=b.shape[-2],
        load=partial(read_operands, path, tensors),
        batched=batched,
        tensors=tensors,
        file=path,
    )


def _operand(path: Path, header: Header, name: str) -> TensorEntry:
    if name not in header.tensors:
        there = ", ".join(sorted(header.tensors))
        raise InputError(
            f"{path}: incomplete pair: tensor {name!r} is missing; expected both operands of every "
            f"GEMM (there are: {there})"
        )
    entry = header.tensors[name]
    where = f"{path}: tensor {name!r}"
    if entry.dtype not in OPERAND_DTYPES:
        raise InputError(
            f"{where}: found type {entry.dtype}; operands are {', '.join(OPERAND_DTYPES)}"
        )
    if len(entry.shape) not in (2, 3):
        raise InputError(
            f"{where}: found shape {list(entry.shape)}; expected [rows, d] or [batch, rows, d]"
        )
    return entry
