"""Float operands with heavy hitters in all the places in which a route may look for them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Plant = Callable[[Tensor, torch.Generator], None]

LARGEST = 6e4
"""float16 holds no more than 65,504."""


def draw(kind: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Return float32 operands ``[..., rows, d]`` of a kind of `KINDS`, on the CPU.

    Parameters
    ----------
    kind : str
        The places and the sign of heavy hitters.
    shape : tuple of int
        Of the operand.
    seed : int
        Of the entries.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, device="cpu").clamp(-2, 2)
    if x.numel():
        KINDS[kind](x, generator)
    return x.clamp(-LARGEST, LARGEST)


def _none(x: Tensor, generator: torch.Generator) -> None:
    pass


def _heavy(part: Tensor, factor: float, sign: int) -> None:
    part.copy_(sign * factor * (1 + part.abs()))


def _first_column(x: Tensor, generator: torch.Generator) -> None:
    _heavy(x[..., :1], 100, 1)


def _first_column_negative(x: Tensor, generator: torch.Generator) -> None:
    _heavy(x[..., :1], 100, -1)


def _last_column_negative(x: Tensor, generator: torch.Generator) -> None:
    _heavy(x[..., -1:], 1000, -1)


def _first_row_negative(x: Tensor, generator: torch.Generator) -> None:
    _heavy(x[..., :1, : x.shape[-1] // 30 + 1], 300, -1)


def _last_corner(x: Tensor, generator: torch.Generator) -> None:
    last = x if x.ndim == 2 else x[-1]
    _heavy(last[-1:, -2:], 1000, 1)


def _scattered(x: Tensor, generator: torch.Generator) -> None:
    chosen = torch.rand(x.shape, generator=generator, device="cpu") < 0.02
    x[chosen] *= 200


def _many(x: Tensor, generator: torch.Generator) -> None:
    chosen = torch.rand(x.shape, generator=generator, device="cpu") < 0.04
    x[chosen] *= 10_000


def _all_sizes(x: Tensor, generator: torch.Generator) -> None:
    x *= 10 ** (4 * torch.rand(x.shape, generator=generator, device="cpu") ** 4)


def _zeros_between(x: Tensor, generator: torch.Generator) -> None:
    x[..., ::2, :] = 0
    x[..., ::3] = 0
    _heavy(x[..., -1:, -1:], 100, -1)


def _one_column(x: Tensor, generator: torch.Generator) -> None:
    x[..., :1] += 1
    x[..., 1:] = 0


def _zeros(x: Tensor, generator: torch.Generator) -> None:
    x.zero_()


KINDS: dict[str, Plant] = {
    "no heavy hitters": _none,
    "a positive first column": _first_column,
    "a negative first column": _first_column_negative,
    "a negative last column": _last_column_negative,
    "a negative first row": _first_row_negative,
    "a positive last corner of the last head": _last_corner,
    "scattered heavy hitters": _scattered,
    "many heavy hitters": _many,
    "entries of all sizes": _all_sizes,
    "zeros between": _zeros_between,
    "one column that is not 0": _one_column,
    "zeros": _zeros,
}
