"""GEMMs for other tools: tables and workloads as SCALE-Sim, ZigZag and AccelForge read them."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from accelsim.arithmetic.rounding import quantize
from accelsim.errors import InputError
from accelsim.routes.sketched import Scaling, sampled_rows
from accelsim.settings import Unpacking
from accelsim.types import PerOperand, Rounding
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy
from workloads import Gemm


@dataclass(frozen=True)
class Layer:
    """One GEMM of integers ``[n, d] x [h, d] -> [n, h]``, as often as `count` says.

    Parameters
    ----------
    name : str
        Unique among the layers of one kind.
    n, d, h : int
        Its sizes.
    bits_a, bits_b, bits_c : int
        Widths, signed, of the entries of A and of B, and of sums that cannot overflow.
    count : int
        How many of them there are: matrices of a batch, or products of the same size.
    """

    name: str
    n: int
    d: int
    h: int
    bits_a: int
    bits_b: int
    bits_c: int
    count: int = 1


@dataclass(frozen=True)
class Layers:
    """GEMMs before and after unpacking."""

    before: Sequence[Layer]
    after: Sequence[Layer]

    @property
    def both(self) -> Mapping[str, Sequence[Layer]]:
        """Both by name."""
        return {"before": self.before, "after": self.after}


def layers(gemms: Iterable[Gemm], rounding: Rounding, unpacking: Unpacking) -> Layers:
    """Round and unpack GEMMs.

    Before unpacking, entries are as wide as the largest rounded one needs. A GEMM of which only
    the shape is known is unpacked from a sample of rows with the heavy hitters of its profile.

    Parameters
    ----------
    gemms : iterable of Gemm
        Read one at a time.
    rounding : Rounding
        Of both operands.
    unpacking : Unpacking
        Digits and strategy.

    Raises
    ------
    DataError
        If an operand cannot be rounded.
    UnsupportedError
        If a product is sparse, which none of the tools knows.
    """
    before: list[Layer] = []
    after: list[Layer] = []
    for gemm in gemms:
        whole, parts = _unpacked(gemm, rounding, unpacking)
        before.append(whole)
        after += parts
    return Layers(before, after)


def _unpacked(gemm: Gemm, rounding: Rounding, unpacking: Unpacking) -> tuple[Layer, list[Layer]]:
    if gemm.sketch is None:
        operands = gemm.load()
    else:
        rows = sampled_rows(unpacking.strategy.name, unpacking.block, gemm.d)
        operands = gemm.sketch.draw(rows or PerOperand(gemm.n, gemm.h))
    a, b = (
        quantize(
            x,
            rounding.percentile,
            rounding.beta,
            rounding.granularity,
            rounding.zero_alpha,
            gemm.where(side),
        )
        for side, x in zip("ab", operands, strict=True)
    )
    systems = unpacking.bits.map(lambda bits: DigitSystem(unpacking.digits, bits))
    strategy = load_strategy(unpacking.strategy, unpacking.block)
    problem = strategy.unpack(IntegerOperand(a, systems.a), IntegerOperand(b, systems.b))
    if gemm.sketch is not None:
        problem = Scaling(problem.shape, (gemm.batch, gemm.n, gemm.d, gemm.h)).problem(problem)
    elif any(product.is_sparse for product in problem.products):
        raise InputError(f"{gemm.id}: sparse products cannot be exported; block must be above 1")
    name = re.sub(r"[^\w.]+", "_", f"{gemm.workload}.{gemm.name}")
    sums = _width(gemm.d * a.largest * b.largest)
    widths = (_width(a.largest), _width(b.largest))
    whole = Layer(name, gemm.n, gemm.d, gemm.h, *widths, sums, gemm.batch)
    counts: dict[tuple[int, int, int], int] = {}
    for product in problem.products:
        size = (*product.a.shape, product.b.shape[0])
        counts[size] = counts.get(size, 0) + 1
    parts = [
        Layer(
            f"{name}.{index}",
            *size,
            systems.a.bits,
            systems.b.bits,
            _width(size[1] * systems.a.largest * systems.b.largest),
            count,
        )
        for index, (size, count) in enumerate(counts.items())
        if 0 not in size
    ]
    return whole, parts


def _width(magnitude: int) -> int:
    """Return the bits of a signed integer of at most this magnitude."""
    return magnitude.bit_length() + 1


def write(folder: Path, tool: str, found: Layers) -> list[Path]:
    """Write GEMMs for a tool: ``before`` and ``after``, and ``gemms.csv`` with all widths.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    tool : str
        One of `accelsim.analysis.tools.TOOLS`.
    found : Layers
        What to write.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table = folder / "gemms.csv"
        table.write_text("".join(_table(found)), encoding="utf-8")
        written = [table]
        for suffix, text in [_WRITERS[tool]] if tool in _WRITERS else []:
            for stage, members in found.both.items():
                path = folder / f"{stage}.{suffix}"
                path.write_text(text(members), encoding="utf-8")
                written.append(path)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from error
    return written


class _Lines(list[str]):
    """Collects what a csv writer writes."""

    def write(self, line: str) -> None:
        self.append(line)


def _table(found: Layers) -> Iterator[str]:
    lines = _Lines()
    rows = csv.writer(lines, lineterminator="\n")
    rows.writerow(["stage", *(field.name for field in fields(Layer))])
    for stage, members in found.both.items():
        for layer in members:
            rows.writerow([stage, *asdict(layer).values()])
    yield from lines


def _scalesim(members: Sequence[Layer]) -> str:
    """Write a topology of GEMMs; its M, N and K are n, h and d. It has no widths."""
    lines = ["Layer, M, N, K,"]
    lines += [
        f"{layer.name}{_turn(layer, turn)}, {layer.n}, {layer.h}, {layer.d},"
        for layer in members
        for turn in range(layer.count)
    ]
    return "\n".join([*lines, ""])


def _turn(layer: Layer, turn: int) -> str:
    return f"-{turn}" if layer.count > 1 else ""


def _zigzag(members: Sequence[Layer]) -> str:
    """Write ZigZag's workload; its B, C and K are n, d and h."""
    found: list[dict[str, Any]] = []
    for layer in members:
        for turn in range(layer.count):
            found.append(
                {
                    "id": len(found),
                    "name": f"{layer.name}{_turn(layer, turn)}",
                    "operator_type": "Gemm",
                    "equation": "O[b][k]+=W[k][c]*I[b][c]",
                    "dimension_relations": [],
                    "loop_dims": ["B", "C", "K"],
                    "loop_sizes": [layer.n, layer.d, layer.h],
                    "operand_precision": {
                        "W": layer.bits_b,
                        "I": layer.bits_a,
                        "O": layer.bits_c,
                        "O_final": layer.bits_c,
                    },
                    "operand_source": {"I": len(found), "W": len(found)},
                }
            )
    return yaml.safe_dump(found, sort_keys=False, default_flow_style=None)


def _accelforge(members: Sequence[Layer]) -> str:
    """Write AccelForge's workload, an Einsum for each GEMM, with the width of each tensor."""
    found = []
    for index, layer in enumerate(members):
        n, d, h = (f"{name}{index}" for name in "ndh")
        tensors = (
            ("A", [n, d], layer.bits_a, False),
            ("B", [h, d], layer.bits_b, False),
            ("C", [n, h], layer.bits_c, True),
        )
        found.append(
            {
                "name": re.sub(r"\W", "_", layer.name),
                "n_instances": layer.count,
                "iteration_space_shape": [
                    f"0 <= {rank} < {size}"
                    for rank, size in ((n, layer.n), (d, layer.d), (h, layer.h))
                ],
                "tensor_accesses": [
                    {
                        "name": f"{name}{index}",
                        "projection": ranks,
                        "bits_per_value": bits,
                        **({"output": True} if output else {}),
                    }
                    for name, ranks, bits, output in tensors
                ],
                "renames": {"input": f"A{index}", "weight": f"B{index}", "output": f"C{index}"},
            }
        )
    return yaml.safe_dump({"workload": {"einsums": found}}, sort_keys=False)


_WRITERS: Mapping[str, tuple[str, Callable[[Sequence[Layer]], str]]] = {
    "scalesim": ("csv", _scalesim),
    "zigzag": ("yaml", _zigzag),
    "accelforge": ("yaml", _accelforge),
}
