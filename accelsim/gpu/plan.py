"""Which shapes and kernels a GEMM on the GPU needs, decided ahead from a sample of its operands."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from accelsim.errors import DataError

TILE = 128
MOST_TILES = 2
SHARE_OF_ROWS = 64
"""A column of A with high parts in one row of this many is worth a column of the dense product."""

LONGEST_LIST = 2048


@dataclass(frozen=True)
class Plan:
    """Sizes that bound what a pipeline may meet.

    Parameters
    ----------
    slot_tiles : int
        Tiles of 128 columns for the heavy columns of A.
    groups : int
        Digits of a high part in these columns.
    threshold : int
        High parts that make a column of A heavy.
    list_length_a, list_length_b : int
        The most high parts of a row of A and of B.
    sparse : bool
        Whether high parts outside the heavy columns, and those of B, are multiplied entry by entry.
        Without it the GEMM itself writes the result.
    """

    slot_tiles: int
    groups: int
    threshold: int
    list_length_a: int
    list_length_b: int
    sparse: bool

    @property
    def front(self) -> int:
        """Columns in front of the low digits."""
        return self.slot_tiles * self.groups * TILE


def high_parts(integers: Tensor) -> Tensor:
    """Return what is left above the low 8-bit digit: ``v = low + 256 * high``."""
    return (integers + 128) >> 8


def make_plan(a: Tensor, b: Tensor) -> Plan:
    """Choose the sizes for operands like these.

    Parameters
    ----------
    a, b : Tensor
        The integers of A ``[n, d]`` and of B ``[h, d]``, int32.

    Raises
    ------
    DataError
        If so many entries are out of bound that lists of them are no way to go.
    """
    present_a, present_b = high_parts(a) != 0, high_parts(b) != 0
    columns = present_a.sum(dim=0)
    touched = int((columns > 0).sum())
    any_b = bool(present_b.any())
    threshold = 1
    sparse = any_b or touched > MOST_TILES * TILE * 3 // 4
    if sparse:
        threshold = max(4, a.shape[0] // SHARE_OF_ROWS)
        touched = min(int((columns >= threshold).sum()), MOST_TILES * TILE)
    in_slots = high_parts(a)[:, columns >= threshold]
    largest = int(in_slots.abs().max()) if in_slots.numel() else 0
    return Plan(
        slot_tiles=-(-touched * 4 // (3 * TILE)) if touched else 0,
        groups=1 if largest < 96 else 2,
        threshold=threshold,
        list_length_a=_list_length("A", present_a),
        list_length_b=_list_length("B", present_b),
        sparse=sparse,
    )


def _list_length(name: str, present: Tensor) -> int:
    """Return twice what the fullest row needs, at least 16."""
    fullest = int(present.sum(dim=1).max())
    if fullest > LONGEST_LIST:
        raise DataError(
            f"a row of {name} has {fullest} entries beyond 8 bits, and the GPU pipeline lists at "
            f"most {LONGEST_LIST}; choose a smaller beta or a higher percentile"
        )
    return max(16, -(-2 * fullest // 8) * 8)
