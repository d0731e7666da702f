"""Operands for the pipeline's benchmark, drawn on the GPU or tiled from a bundle."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.errors import InputError, unknown_name
from workloads import Gemm, open_bundle

KINDS = {
    "plain": "standard normal",
    "channels": "8 of 8192 columns of A, in proportion, multiplied by 10 to 100",
    "scattered": "one entry in 10,000 of A and of B multiplied by 10 to 100",
}
"""Synthetic operands and what is special about them, beside normal entries."""


def draw(
    kind: str, n: int, d: int, h: int, dtype: torch.dtype, device: torch.device, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Draw A ``[n, d]`` and B ``[h, d]``.

    Parameters
    ----------
    kind : str
        One of `KINDS`, or ``path/to/bundle.safetensors:gemm`` to repeat captured operands, rows and
        columns, until they fill the shape.
    n, d, h : int
        The shape.
    dtype : torch.dtype
        What the entries are rounded to.
    device : torch.device
        A CUDA device.
    seed : int
        Of the generator.

    Raises
    ------
    InputError
        If there is no such kind, bundle or GEMM.
    """
    captured = find_operands(kind)
    if captured is not None:
        a, b = captured.load()
        return (
            _tiled(a, n, d).to(device=device, dtype=dtype),
            _tiled(b, h, d).to(device=device, dtype=dtype),
        )
    generator = torch.Generator(device).manual_seed(seed)

    def factors(count: int) -> Tensor:
        return 10 + 90 * torch.rand(count, generator=generator, device=device)

    a = torch.randn((n, d), generator=generator, device=device)
    b = torch.randn((h, d), generator=generator, device=device)
    if kind == "channels":
        columns = torch.randperm(d, generator=generator, device=device)[: max(1, d // 1024)]
        a[:, columns] *= factors(columns.numel())
    if kind == "scattered":
        for x in (a, b):
            count = x.numel() // 10_000
            where = torch.randint(x.numel(), (count,), generator=generator, device=device)
            x.view(-1)[where] *= factors(count)
    return a.to(dtype), b.to(dtype)


def find_operands(kind: str) -> Gemm | None:
    """Return the captured GEMM that a kind names, or None for one of `KINDS`.

    Raises
    ------
    InputError
        If there is no such kind, bundle or GEMM.
    """
    path, separator, name = kind.rpartition(":")
    if not separator:
        if kind not in KINDS:
            raise InputError(unknown_name("kind of operands", kind, KINDS))
        return None
    gemms = {gemm.name: gemm for gemm in open_bundle(path).gemms}
    if name not in gemms:
        raise InputError(f"{path}: " + unknown_name("GEMM", name, gemms))
    return gemms[name]


def _tiled(x: Tensor, rows: int, columns: int) -> Tensor:
    matrix = x[0] if x.ndim == 3 else x
    times = -(-rows // matrix.shape[0]), -(-columns // matrix.shape[1])
    return matrix.repeat(times)[:rows, :columns].contiguous()
