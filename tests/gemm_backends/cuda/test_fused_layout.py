"""K put together from segments: the same sums as the integers, whatever lies where."""

import pytest
import torch

from accelsim.types import PerOperand
from gemm_backends.cuda.cutlass_library import SEGMENTS
from gemm_backends.cuda.fused.layout import (
    LONGEST_K,
    Layout,
    column_groups,
    layouts,
    plane_groups,
    plane_segments,
    slices,
)
from gemm_backends.cuda.fused.plan import BLOCK, TILE, TILE_OF_C, high_parts, plan_columns

FIXED = PerOperand(False, True)


def low_part(integers):
    return integers - (high_parts(integers) << 8)


def place(high, columns, groups):
    """Return digits ``[rows, groups * width]`` of these columns, the highest first."""
    levels = []
    rest = high[:, columns]
    for _ in range(groups):
        levels.append(low_part(rest))
        rest = high_parts(rest)
    assert not rest.any()
    return levels[::-1]


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(5)


class Rows:
    """An operand's rows of digits, written the slow way."""

    def __init__(self, integers, layout, slots):
        self.layout, self.rows = layout, len(integers)
        self.digits = torch.zeros(self.rows, layout.tiles * TILE, dtype=torch.float64)
        self.low, self.high = low_part(integers), high_parts(integers)
        self.digits[:, : integers.shape[1]] = self.low
        self.places = []
        light = self.high != 0
        light[:, slots] = False
        for level, digits in enumerate(place(self.high, slots, layout.own.groups)):
            self._put(slice(None), layout.slot(layout.own.groups - level), digits)
        for first in range(0, self.rows, BLOCK):
            rows = slice(first, first + BLOCK)
            columns = light[rows].any(dim=0).nonzero().flatten()
            assert len(columns) <= layout.own.place_tiles * TILE
            self.places.append(columns)
            for level, digits in enumerate(place(self.high[rows], columns, layout.own.groups)):
                self._put(rows, layout.place(layout.own.groups - level), digits)
        self.light = torch.where(light, self.high, 0)

    def copy(self, slots, other):
        layout = self.layout
        if layout.copied_slots:
            self._put(slice(None), layout.slot(0), self.low[:, slots])
        for block, columns in enumerate(other.places):
            at = layout.place(0) + block * layout.other.place_tiles
            self._put(slice(None), at, self.low[:, columns])

    def _put(self, rows, tile, digits):
        self.digits[rows, tile * TILE : tile * TILE + digits.shape[1]] += digits


def multiply(a, b, groups):
    """Multiply as the kernel does: group after group, shifted in between."""
    product = torch.zeros(a.rows, b.rows, dtype=torch.int64)
    edges = torch.tensor([*groups.high_tiles, 10**6]).cumsum(0)
    for i in range(0, a.rows, BLOCK):
        for j in range(0, b.rows, BLOCK):
            sums, done = torch.zeros(1, dtype=torch.float64), 0
            for s in groups.segments:
                for tile in range(s.tiles):
                    while done == edges[0]:
                        sums, edges = sums * 2**groups.shift, edges[1:]
                    at_a = (s.a + j // BLOCK * s.a_step + tile) * TILE
                    at_b = (s.b + i // BLOCK * s.b_step + tile) * TILE
                    sums = sums + a.digits[i : i + BLOCK, at_a : at_a + TILE] @ (
                        b.digits[j : j + BLOCK, at_b : at_b + TILE].T
                    )
                    done += 1
            product[i : i + BLOCK, j : j + BLOCK] = sums.long()
            edges = torch.tensor([*groups.high_tiles, 10**6]).cumsum(0)
    return product


def draw(kind, shape, generator):
    n, d, h = shape
    a, b = (torch.randint(-127, 128, (rows, d), generator=generator) for rows in (n, h))
    if kind == "channels":
        a[:, ::97] *= 40
    if kind in ("scattered", "both"):
        for x in (a, b):
            where = torch.randint(x.numel(), (x.numel() // 1000,), generator=generator)
            x.view(-1)[where] *= 90
    if kind == "both":
        b[:, 3] *= -300
        a[::2, 3] *= 500
        a[:, 11] *= 7000
    if kind == "dense":
        a, b = a * 3, b * 200
    return a, b


@pytest.mark.parametrize("kind", ["plain", "channels", "scattered", "both", "dense"])
@pytest.mark.parametrize("shape", [(300, 520, 600), (77, 1031, 260), (1, 20, 3)])
def test_segments_multiply_every_digit_once(kind, shape, generator):
    n, d, h = shape
    a, b = draw(kind, shape, generator)
    plan = plan_columns(a, b, FIXED)
    counts_a, counts_b = ((high_parts(x) != 0).sum(dim=0) for x in (a, b))
    heavy = (counts_a >= plan.a.threshold) | (counts_b >= plan.b.threshold)
    heavy |= counts_a * counts_b >= plan.threshold_product
    slots = heavy.nonzero().flatten()
    assert len(slots) <= plan.slot_tiles * TILE
    layout_a, layout_b = layouts(plan, n, d, h)
    rows_a, rows_b = Rows(a, layout_a, slots), Rows(b, layout_b, slots)
    rows_a.copy(slots, rows_b)
    rows_b.copy(slots, rows_a)
    product = multiply(rows_a, rows_b, column_groups(layout_a, layout_b))
    cross = (rows_a.light.double() @ rows_b.light.double().T).long()
    tiles = (rows_a.light != 0).double() @ (rows_b.light != 0).double().T
    for part in torch.split(tiles, TILE_OF_C[0]):
        for tile in torch.split(part, TILE_OF_C[1], dim=1):
            assert tile.sum() <= plan.cross_length
    assert torch.equal(
        (product + (cross << 16) - (a.double() @ b.double().T).long()) % 2**32,
        torch.zeros(n, h).long(),
    )
    assert plan.cross_length or not cross.any()


def test_scattered_entries_need_few_columns(generator):
    a, b = draw("scattered", (1024, 2048, 1024), generator)
    plan = plan_columns(a, b, FIXED)
    assert plan.slot_tiles == 0
    assert 1 <= plan.b.place_tiles <= plan.a.place_tiles <= 5


@pytest.mark.parametrize("planes", [(1, 1), (2, 1), (2, 2), (3, 2), (4, 4)])
def test_planes_multiply_every_pair_of_digits_once(planes, generator):
    """Modulo 2^32: pairs that weigh that much or more are left out."""
    low, rows = 2, (5, 7)
    digits = [
        torch.randint(-128, 128, (count, n, low * TILE), generator=generator)
        for count, n in zip(planes, rows, strict=True)
    ]
    layouts_of = [Layout(low, count) for count in planes]
    groups = plane_groups(*layouts_of, planes)
    assert len(groups.segments) <= SEGMENTS
    flat = [x.permute(1, 0, 2).reshape(x.shape[1], -1).double() for x in digits]
    sums, done = torch.zeros(rows, dtype=torch.int64), 0
    edges = [*torch.tensor(groups.high_tiles).cumsum(0).tolist()]
    for s in groups.segments:
        for tile in range(s.tiles):
            while edges and done == edges[0]:
                sums, edges = sums << groups.shift, edges[1:]
            x = flat[0][:, (s.a + tile) * TILE : (s.a + tile + 1) * TILE]
            y = flat[1][:, (s.b + tile) * TILE : (s.b + tile + 1) * TILE]
            sums, done = sums + (x @ y.T).long(), done + 1
    for _ in edges:
        sums = sums << groups.shift
    weigh = [sum(x[i].long() << (8 * i) for i in range(len(x))) for x in digits]
    exact = sum(
        (digits[0][i].double() @ digits[1][j].double().T).long() << (8 * (i + j))
        for i in range(planes[0])
        for j in range(planes[1])
    )
    assert weigh[0].shape == (rows[0], low * TILE)
    assert torch.equal((sums - exact) % 2**32, torch.zeros(rows).long())


def test_slices_of_k_have_sums_that_fit_32_bits():
    """The bound at the bound: one more tile of the largest digits would overflow."""
    assert LONGEST_K * TILE * 128 * 128 < 2**31 <= (LONGEST_K + 1) * TILE * 128 * 128
    low = LONGEST_K + 100
    layout = Layout(low, 3)
    segments = plane_segments(layout, layout, (3, 3), 2)
    assert len(segments) == 3
    pieces = list(slices(segments))
    covered = set()
    for groups in pieces:
        assert sum(s.tiles for s in groups.segments) <= LONGEST_K
        assert len(groups.segments) <= SEGMENTS
        assert groups.high_tiles == (0, 0, 0)
        for s in groups.segments:
            for tile in range(s.tiles):
                pair = s.a + tile, s.b + tile
                assert pair not in covered
                covered.add(pair)
    assert len(covered) == 3 * low
