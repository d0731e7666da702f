"""The cost of a whole array: cycles, area relative to a reference, energy."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gemm_backends.corrections import Corrections
from gemm_backends.cost import area, cycles, energy
from gemm_backends.cost.cycles import Count, Dataflow
from gemm_backends.cost.estimate import Estimate, weakest
from gemm_backends.cost.lanes import Lanes
from gemm_backends.datapath import Datapath
from gemm_backends.types import Accumulator, Cost, Tile

REFERENCE = "one exact 8-bit multiplier with a 32-bit accumulator and its registers"
"""The reference of relative areas: one place, so that arrays of any size can be compared."""

WIDEST_TREE = 1 << 16
"""Inputs of the largest adder tree whose area is known."""


@dataclass(frozen=True)
class Array:
    """A systolic array of R rows by C columns of places, with C shift-adders behind it.

    A place has a multiplier (or several before an adder tree), an accumulator (and an outer one)
    and the registers that pass operands on; see ``docs/emulator.md``.

    Parameters
    ----------
    shape : tuple of int
        R and C.
    dataflow : {"output-stationary", "weight-stationary", "input-stationary"}
        What stays in place.
    drain : bool
        Whether sums leave an output-stationary array row by row.
    bits : tuple of int
        Widths of the operands.
    datapath : Datapath
        What is behind the multipliers.
    signed : bool
        Whether both operands are signed.
    products : str
        Where products come from: ``"exact"``, or what to call a table.
    correction_lanes : int
        Multipliers beside the array that take single high digits; 0 for none.

    Raises
    ------
    ValueError
        If a size is out of range, another dataflow than output-stationary is to be drained, or
        lanes stand beside an array that they are not made for.
    """

    shape: tuple[int, int]
    dataflow: Dataflow
    drain: bool
    bits: tuple[int, int]
    datapath: Datapath
    signed: bool = True
    products: str = "exact"
    correction_lanes: int = 0

    def __post_init__(self) -> None:
        if not all(1 <= size <= 1 << 16 for size in self.shape):
            raise ValueError(
                f"array must be two numbers from 1 to 65536, rows and columns, got {self.shape}"
            )
        if self.drain and self.dataflow != "output-stationary":
            raise ValueError(
                f"drain is for the output-stationary array: in a {self.dataflow} one the sums "
                "leave while the tile runs"
            )
        if self.correction_lanes:
            self._check_lanes()

    def _check_lanes(self) -> None:
        for wanted, found, is_so in (
            ("an output-stationary array", self.dataflow, self.dataflow == "output-stationary"),
            (
                "accumulators that wrap",
                self.datapath.inner.overflow,
                self.datapath.inner.overflow == "wrap",
            ),
            ("one product at a time", f"tree {self.datapath.tree}", self.datapath.tree == 1),
            (
                "one accumulator in a place",
                f"k_block {self.datapath.k_block}",
                self.datapath.outer is None,
            ),
            ("an exact multiplier", self.products, self.products == "exact"),
            ("signed operands", "unsigned", self.signed),
        ):
            if not is_so:
                raise ValueError(f"correction_lanes need {wanted}, got {found}")
        assert self.lanes is not None, "the number is in range"

    @functools.cached_property
    def lanes(self) -> Lanes | None:
        """The lanes, or None."""
        return Lanes(self.correction_lanes, *self.shape) if self.correction_lanes else None

    @property
    def tile(self) -> Tile:
        """What the array multiplies in one step."""
        rows, columns = self.shape
        tree = self.datapath.tree
        if self.dataflow == "output-stationary":
            return Tile(n=rows, d=tree, h=columns)
        if self.dataflow == "weight-stationary":
            return Tile(d=rows * tree, h=columns)
        return Tile(d=rows * tree, n=columns)

    def cost(
        self, n: int, d: int, h: int, corrections: Corrections | None = None, late: int = 0
    ) -> Cost:
        """Predict what ``[n, d] x [h, d] -> [n, h]`` takes, with what lanes add to it.

        A tile takes as long as the longer of the two, the array and its lanes; `late` is the sum of
        what the method of that name says of the tiles.
        """
        rows, columns = self.shape
        relative, each = self.relative_area, self._multiply_accumulate_pj
        basis = {"cycles": f"computed: {cycles.SOURCE}"}
        if relative is not None:
            basis["relative_area"] = f"{relative.basis}: synthesis, over {REFERENCE}"
        parts = {}
        if each is not None:
            what = "multiplications and accumulations alone"
            basis["energy"] = f"{each.basis}: {what}, {energy.SOURCE}"
            if self.lanes is not None or min(self.bits) < min(energy.MULTIPLY_PJ):
                basis["energy"] += f"; {energy.SWITCHED}"
            macs = n * d * h
            parts = {"multiply": macs * each.multiply, "accumulate": macs * each.accumulate}
            if corrections is not None:
                width = self.datapath.inner.bits
                lane = energy.lane(max(self.bits), width) + each.accumulate
                parts["lanes"] = corrections.macs(n, h) * lane
        clocks = self.clocks(n, d, h)
        if corrections is not None:
            basis["cycles"] += "; a tile takes the longer of the array and its lanes"
            clocks += late
        return Cost(
            cycles=clocks,
            energy_pj=None if each is None else math.fsum(parts.values()),
            energy_by_pj=parts,
            relative_area=None if relative is None else relative.value,
            peak_macs=rows * columns * self.datapath.tree + self.correction_lanes,
            model=self._description,
            basis=basis,
        )

    def late(self, n: int, d: int, h: int, corrections: Corrections) -> Tensor:
        """Return the clocks for which lanes still run when the array is done with a tile.

        They are float64 ``[tiles of n, tiles of h]``, of whole numbers.
        """
        assert self.lanes is not None, "only arrays with lanes are given corrections"
        rows, columns = self.shape
        alone = cycles.cycles(self.dataflow, rows, columns, 1, d, 1, False)
        busy = self.lanes.clocks(n, h, corrections)
        return (busy - alone).clamp(min=0)

    def steps(self, d: Count) -> Count:
        """Return the clocks that a place takes for a sum over d: a tree's width of each block."""
        tree, block = self.datapath.tree, self.datapath.k_block
        if block is None:
            return -(-d // tree)
        return d // block * -(-block // tree) + -(-(d % block) // tree)

    def cuts(self, d: int) -> npt.NDArray[np.int64] | None:
        """Return where the array's shares of d begin and end, if they are unlike.

        An array through which sums pass takes as many steps of a sum at once as it has rows. Steps
        are unlike where a K-block is no multiple of a tree's width: 5 by threes are 3 and 2.
        """
        tree, block, rows = self.datapath.tree, self.datapath.k_block, self.shape[0]
        if self.dataflow == "output-stationary" or block is None or block % tree == 0:
            return None
        each = -(-block // tree)
        step = rows * np.arange(-(-self.steps(d) // rows) + 1)
        return np.minimum(step // each * block + np.minimum(step % each * tree, block), d)

    def clocks(self, n: Count, d: Count, h: Count) -> Count:
        """Return the clocks of ``[n, d] x [h, d] -> [n, h]``."""
        steps = self.steps(d)
        return cycles.cycles(self.dataflow, *self.shape, n, steps, h, self.drain)

    def shift_add_cost(self, count: int) -> Cost:
        """Predict what `count` additions of shifted entries take: one per column and clock."""
        return Cost(cycles=-(-count // self.shape[1]), model=self._description)

    @property
    def _description(self) -> str:
        rows, columns = self.shape
        drained = ", drained row by row" if self.drain else ""
        lanes = f", {self.correction_lanes} correction lanes" if self.correction_lanes else ""
        table = "" if self.products == "exact" else f", products from {self.products}"
        return f"{rows}x{columns} array, {self.dataflow}{drained}{lanes}{table}"

    @property
    def _synthesized(self) -> bool:
        """Whether the multiplier is the one whose area is known."""
        return self.signed and self.products == "exact"

    @functools.cached_property
    def relative_area(self) -> Estimate | None:
        """Area of the whole array with its shift-adders over that of one `REFERENCE`.

        None for what was not synthesized: multipliers that are not exact or not signed, adder trees
        of more than 65,536 inputs, and lanes of more than 512 places or accumulators that are not
        wider than a digit and at least 12 bits.
        """
        if not self._synthesized or self.datapath.tree > WIDEST_TREE:
            return None
        rows, columns = self.shape
        parts = [(columns, area.shift_adder(self.datapath.result.bits))]
        if self.lanes is None:
            parts.append((rows * columns, _place(self.bits, self.datapath)))
        else:
            try:
                parts += self._corrected_parts(self.lanes)
            except LookupError:
                return None
        whole = sum(count * part.value for count, part in parts)
        return Estimate(whole / reference_area(), weakest(*(part.basis for _, part in parts)))

    def _corrected_parts(self, lanes: Lanes) -> list[tuple[int, Estimate]]:
        """Return the places and the lanes; lanes are as wide as the wider operand."""
        (rows, columns), width = self.shape, self.datapath.inner.bits
        places, bits = rows * columns, max(self.bits)
        banks = max(lanes.banks(columns, rows), lanes.banks(rows, columns))
        line = max(self.shape)
        groups = -(-line // min(lanes.count, line))
        gates = 0 if groups == 1 else banks * line * (width - bits)
        return [
            (places, area.multiplier(*self.bits)),
            (places, area.corrected_accumulator(bits, width)),
            (places * (sum(self.bits) + 1), area.register_bit()),  # with one that says: valid
            (lanes.count, area.lane(bits, width)),
            (banks, area.lane_control(line, groups)),
            (gates, area.gate_bit()),
        ]

    @functools.cached_property
    def _multiply_accumulate_pj(self) -> energy.MultiplyAccumulate | None:
        if not self._synthesized or self.datapath.tree > 1 or self.datapath.outer is not None:
            return None
        width = self.datapath.inner.bits
        found = energy.multiply_accumulate(*self.bits, width)
        if found is None or self.lanes is None:
            return found
        more = energy.corrected(max(self.bits), width)
        return found._replace(accumulate=found.accumulate * more, basis="interpolated")


def reference_area() -> float:
    """Return the area of the `REFERENCE` in the units of the table."""
    return _place((8, 8), Datapath(Accumulator(32, "wrap"))).value


def _place(bits: tuple[int, int], datapath: Datapath) -> Estimate:
    """Return the area of one place of the array."""
    product, tree = sum(bits), datapath.tree
    parts = [(tree, area.multiplier(*bits))]
    parts += [(count, area.adder(width)) for count, width in _adders(tree, product)]
    parts.append((1, _register(product + (tree - 1).bit_length(), datapath.inner)))
    if datapath.outer is not None:
        parts.append((1, _register(datapath.inner.bits, datapath.outer)))
    parts.append((tree * product + 2, area.register_bit()))  # with two bits that control the sum
    total = sum(count * part.value for count, part in parts)
    return Estimate(total, weakest(*(part.basis for _, part in parts)))


def _register(addend: int, register: Accumulator) -> Estimate:
    return area.accumulator(addend, register.bits, register.overflow == "saturate")


def _adders(inputs: int, width: int) -> list[tuple[int, int]]:
    """Return how many adders of which width sum `inputs` numbers of `width` bits, by level."""
    levels = []
    while inputs > 1:
        levels.append((inputs // 2, width))
        inputs, width = -(-inputs // 2), width + 1
    return levels
