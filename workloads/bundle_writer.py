"""Write existing GEMMs to a bundle, one in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelsim.errors import InputError
from workloads.bundle_stream import BundleStream, Described
from workloads.gemm import Gemm


def write_bundle(path: str | Path, gemms: Sequence[Gemm], source: Mapping[str, Any]) -> None:
    """Write GEMMs to a bundle, so that `open_bundle` gives them back.

    Operands go to the file one GEMM at a time, so the bundle may be larger than memory. The same
    GEMMs always give the same bytes. An existing file is replaced when the new one is complete.

    Parameters
    ----------
    path : str or Path
        The file to write; its folder exists.
    gemms : sequence of Gemm
        What to write, in this order; their names are unique.
    source : mapping
        Where the operands come from (model, package, text, licence), as JSON.

    Raises
    ------
    InputError
        If a name appears twice, an operand is neither float32, float16 nor bfloat16 or has not the
        shape that its GEMM declares, or the file cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from workloads import bundle_path, open_bundle, select, write_bundle
    >>> bundle = open_bundle(bundle_path(Path(), "smollm2"))
    >>> write_bundle("few.safetensors", select(bundle.gemms, ["*.qk"], "smollm2"), bundle.source)
    >>> [gemm.name for gemm in open_bundle("few.safetensors").gemms]
    ['smollm2.qk']
    """
    path = Path(path)
    names = [gemm.name for gemm in gemms]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: GEMM {twice!r} appears twice; expected unique names")
    with BundleStream(path) as stream:
        for gemm in gemms:
            a, b = gemm.load()
            for key, shape, tensor in zip(
                "ab", (gemm.shapes.a, gemm.shapes.b), (a, b), strict=True
            ):
                if tuple(tensor.shape) != shape:
                    raise InputError(
                        f"{path}: tensor {f'{gemm.name}/{key}'!r}: found shape "
                        f"{list(tensor.shape)}; expected {list(shape)}"
                    )
            stream.add(a, b, gemm.name)
            # Before the next pair is read, so that only one is in memory.
            del a, b, tensor
        described = [Described(g.name, g.op, g.layer, g.phase) for g in gemms]
        stream.finish(described, source)
