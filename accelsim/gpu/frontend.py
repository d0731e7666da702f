"""Time the front end on a GPU: the scale, and quantize with unpack in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from accelsim.arithmetic.oracle import compare
from accelsim.arithmetic.rounding import rank
from accelsim.gpu.judge import judge
from accelsim.gpu.rates import BYTES_PER_S
from accelsim.gpu.route import TimedRoute
from accelsim.kernels.rows import WIDTHS, RowUnpacker
from accelsim.kernels.select import Selector
from accelsim.measure.interleave import interleaved
from accelsim.measure.timing import Samples

EVERY_COLUMN = 28
"""One column in so many of each operand, and others in the other one, for a ratio of 1.2."""

EVERY = 10
"""One row in so many has heavy hitters, so that two operands have an unpack ratio of 1.21."""


def time_select(
    size: int, dtype: torch.dtype, percentile: float, repeats: int, device: torch.device
) -> dict[str, Any]:
    """Find the percentile of a ``[size, size]`` normal matrix, and compare it with sorting.

    Returns
    -------
    dict
        Plain JSON types; times in ms.
    """
    x = torch.randn((size, size), device=device).to(dtype)
    selector, k = Selector(x.numel(), device), rank(x.numel(), percentile)
    samples = interleaved({"select": lambda: selector.run(x, k, 31.0)}, repeats, 3, device)
    expected = float(x.abs().flatten().sort().values[-k])
    return {
        "stage": "select",
        "dtype": str(dtype).removeprefix("torch."),
        "percentile": percentile,
        "all_exact": selector.report()[0] == expected,
        "time_ms": samples["select"].summary(),
        "floor_ms": x.numel() * x.element_size() / BYTES_PER_S * 1e3,
    }


def time_rows(size: int, bits: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Quantize and unpack two float32 ``[size, size]`` operands of unpack ratio 1.21 by rows.

    Every integer is put together again from its digits and compared.
    """
    operands = [_operand(size, bits, seed, device) for seed in (0, 1)]
    scale = torch.full((), 0.37, device=device)
    unpackers = [RowUnpacker(x, bits, size // EVERY + 1) for x in operands]

    def unpack() -> None:
        for x, unpacker in zip(operands, unpackers, strict=True):
            unpacker.run(x, scale)

    samples = interleaved({"rows": unpack}, repeats, 3, device)
    for unpacker in unpackers:
        unpacker.digits.fill_(77)
    unpack()
    exact, ratio, written = True, 1.0, 0
    for x, unpacker in zip(operands, unpackers, strict=True):
        digits, places = unpacker.result()
        ratio *= digits.shape[0] / size
        written += digits.numel()
        integers = (x * scale).round().to(torch.int64)
        exact &= compare(_together(digits, places, size, bits), integers).exact
    read = sum(x.numel() * x.element_size() for x in operands)
    return {
        "stage": "quantize and unpack",
        "by": "rows",
        "bits": bits,
        "ratio": ratio,
        "all_exact": exact,
        "time_ms": samples["rows"].summary(),
        "floor_ms": (read + written) / BYTES_PER_S * 1e3,
    }


def time_columns(size: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Quantize and unpack two float32 ``[size, size]`` operands with heavy columns, b = 8.

    The product that the digits give is compared with the oracle, every integer of it.
    """
    generator = torch.Generator(device).manual_seed(0)
    operands = [torch.randn((size, size), generator=generator, device=device) for _ in range(2)]
    for side, x in enumerate(operands):
        x[:, side::EVERY_COLUMN] *= -60
    a, b = operands
    percentile, beta = 90.0, 31.0
    route = TimedRoute(a, b, percentile, beta, prepared=False)
    unpack = Samples(tuple(route.graph.stage_times()["unpack"] for _ in range(repeats)))
    route.graph.replay()
    route.route.check()
    verdict, _ = judge(route, a, b, percentile, beta)
    counts = route.route.counts()
    moved = 2 * a.numel() * (a.element_size() + 1) + counts.gather_bytes
    return {
        "stage": "quantize and unpack",
        "by": "columns",
        "bits": 8,
        "ratio": counts.ratio,
        "all_exact": verdict.exact,
        "time_ms": unpack.summary(),
        "floor_ms": moved / BYTES_PER_S * 1e3,
    }


def time_front_end(
    size: int, repeats: int, device: torch.device
) -> Iterator[Callable[[], dict[str, Any]]]:
    """Return what measures each part at one size, when it is called."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        yield partial(time_select, size, dtype, 95.0, repeats, device)
    for bits in sorted(WIDTHS, reverse=True):
        yield partial(time_rows, size, bits, repeats, device)
    yield partial(time_columns, size, repeats, device)


def _operand(size: int, bits: int, seed: int, device: torch.device) -> Tensor:
    """Draw entries of one digit and, in every tenth row, of two digits, negative ones too."""
    generator = torch.Generator(device).manual_seed(seed)
    x = torch.randn((size, size), generator=generator, device=device).clamp(-3, 3)
    largest = (1 << (bits - 1)) - 1
    x *= largest / 3 / 0.37
    heavy = x[EVERY // 2 :: EVERY, seed::97]
    # One more digit holds magnitudes up to 2**(2 * bits - 1) - 1 less the lowest one's share.
    heavy.copy_(torch.where(heavy < 0, -1.0, 1.0) * (1 << (2 * bits - 2)) / 0.37)
    return x


def _together(digits: Tensor, places: Tensor, size: int, bits: int) -> Tensor:
    total = digits[:size].to(torch.int64)
    weights = torch.ones_like(places[:, 1:], dtype=torch.int64) << (bits * places[:, 1:])
    rows = places[:, 0].to(torch.int64)
    total.index_add_(0, rows, digits[size:].to(torch.int64) * weights)
    return total
