"""Synthetic GEMMs: the values, and the heavy hitters among them."""

import hashlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.errors import InputError
from workloads import HeavyHitters, Synthetic


def draw(where=None, fraction=0.1, scale=1000, side="both", **options):
    heavy = where and HeavyHitters(fraction=fraction, scale=scale, where=where, side=side)
    return Synthetic(**{"n": 40, "d": 60, "h": 20, **options}, heavy_hitters=heavy).gemm().load()


def heavy(x):
    """Entries that a normal distribution does not give."""
    return x.abs() > 10


def test_plain_operands_are_standard_normal():
    a, b = draw(n=400, d=500, h=300, batch=2)
    assert (a.shape, b.shape) == ((2, 400, 500), (2, 300, 500))
    for x in (a, b):
        assert x.dtype == torch.float32
        assert abs(float(x.mean())) < 0.01
        assert abs(float(x.std()) - 1) < 0.01
        assert abs(float((x**4).mean()) - 3) < 0.1


def test_the_same_seed_gives_the_same_values_on_every_machine():
    a, b = draw("scattered", seed=7)
    digest = hashlib.sha256(a.numpy().tobytes() + b.numpy().tobytes()).hexdigest()
    assert digest == "0c1c2f382735918ecd88fe38cb3c7ce306e43590eee4668e966ad9d72aaa7078"


def test_what_the_machine_cannot_hold_is_refused_before_it_is_drawn():
    with pytest.raises(
        InputError, match=r"1000000x1000000x1: drawing its operands takes 11,\d+.\d"
    ):
        draw(n=10**6, d=10**6, h=1)


def test_loading_twice_gives_equal_tensors_that_share_no_memory():
    gemm = Synthetic(n=3, d=4, h=5).gemm()
    (a, b), (again_a, again_b) = gemm.load(), gemm.load()
    assert torch.equal(a, again_a)
    assert torch.equal(b, again_b)
    a.zero_()
    assert not torch.equal(a, gemm.load()[0])


def test_seeds_and_operands_differ():
    a, b = draw(n=30, h=30)
    other_a, other_b = draw(n=30, h=30, seed=1)
    pairs = [(a, b), (a, other_a), (b, other_b), (a, other_b), (b, other_a)]
    assert all(abs(float((x * y).mean())) < 0.1 for x, y in pairs)


@pytest.mark.parametrize("where", ["scattered", "rows", "columns"])
def test_heavy_hitters_are_the_plain_values_times_scale(where):
    plain = draw()
    if where == "scattered":
        counts = (240, 120)
    else:
        counts = (4 * 60, 2 * 60) if where == "rows" else (6 * 40, 6 * 20)
    for x, y, count in zip(draw(where, scale=2.0), plain, counts, strict=True):
        changed = x != y
        assert int(changed.sum()) == count
        assert torch.equal(x[changed], 2 * y[changed])


@pytest.mark.parametrize("where", ["scattered", "rows", "columns"])
def test_factors_are_drawn_between_two_limits(where):
    plain = draw()
    for x, y in zip(draw(where, scale=(10.0, 100.0)), plain, strict=True):
        factors = (x / y)[x != y]
        assert 10 <= factors.min() < factors.max() <= 100
        assert (x == y).any()


def test_factors_belong_to_whole_rows_and_columns():
    for where, dim in (("rows", -1), ("columns", -2)):
        for x, y in zip(draw(where, scale=(10.0, 100.0)), draw(), strict=True):
            factors = x / y
            assert torch.allclose(factors, factors.mean(dim=dim, keepdim=True))


@pytest.mark.parametrize("side", ["a", "b"])
def test_one_operand_may_have_them_alone(side):
    a, b = draw("columns", side=side)
    plain_a, plain_b = draw()
    assert torch.equal(a, plain_a) == (side == "b")
    assert torch.equal(b, plain_b) == (side == "a")


def test_limits_the_wrong_way_round_are_refused():
    with pytest.raises(ValidationError, match="smaller number first"):
        HeavyHitters(fraction=0.1, scale=[100, 10])


def test_operands_in_another_type_are_the_same_values_rounded():
    plain = Synthetic(n=5, d=6, h=7).gemm().load()
    short = Synthetic(n=5, d=6, h=7, dtype="bfloat16").gemm().load()
    for x, y in zip(plain, short, strict=True):
        assert y.dtype == torch.bfloat16
        assert torch.equal(x.bfloat16(), y)


def test_scattered_heavy_hitters_keep_to_no_row_or_column():
    a, _ = draw("scattered", fraction=0.05)
    assert int(heavy(a).any(dim=0).sum()) > 40
    assert int(heavy(a).any(dim=1).sum()) > 30


def test_whole_rows_are_heavy_in_every_head():
    for x in draw("rows", batch=3, scale=1e6):
        share = heavy(x).float().mean(dim=-1)
        assert set(share.round().flatten().tolist()) == {0.0, 1.0}
        assert torch.equal(share.round()[0], share.round()[2])


def test_heavy_columns_are_the_same_in_every_head_of_both_operands():
    a, b = draw("columns", batch=3, scale=1e6)
    columns = heavy(a).float().mean(dim=-2).round()
    assert int(columns[0].sum()) == 6
    assert torch.equal(columns[0], columns[2])
    assert torch.equal(columns, heavy(b).float().mean(dim=-2).round())


@pytest.mark.parametrize("where", ["scattered", "rows", "columns"])
@pytest.mark.parametrize(("fraction", "share"), [(0, 0), (1, 1)])
def test_all_or_none_are_heavy(where, fraction, share):
    for x, plain in zip(draw(where, fraction), draw(), strict=True):
        assert torch.equal(x, 1000 * plain if share else plain)


def test_the_smallest_share_is_one_heavy_hitter():
    assert [int(heavy(x).sum()) for x in draw("scattered", 1e-9, scale=1e9)] == [1, 1]


@settings(deadline=None)
@given(
    n=st.integers(0, 4),
    d=st.integers(0, 4),
    h=st.integers(0, 4),
    batch=st.none() | st.integers(0, 3),
    where=st.sampled_from(["scattered", "rows", "columns"]),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 2**64 - 1),
)
def test_any_shape_can_be_drawn(n, d, h, batch, where, fraction, seed):
    gemm = Synthetic(
        n=n,
        d=d,
        h=h,
        batch=batch,
        seed=seed,
        heavy_hitters=HeavyHitters(fraction=fraction, scale=1e30, where=where),
    ).gemm()
    a, b = gemm.load()
    assert (tuple(a.shape), tuple(b.shape)) == (gemm.shapes.a, gemm.shapes.b)
    gemm.check_finite()


def test_the_gemm():
    gemm = Synthetic(n=2, d=3, h=5, batch=7).gemm()
    assert (gemm.workload, gemm.name) == ("synthetic", "7x2x3x5")
    assert (gemm.op, gemm.layer, gemm.phase) == ("linear", "", "forward")
    assert (gemm.batch, gemm.batched, gemm.macs) == (7, True, 7 * 2 * 3 * 5)
    named = Synthetic(n=2, d=3, h=5, name="mine").gemm()
    assert (named.id, named.batched) == ("synthetic/mine", False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": -1},
        {"n": 2.0},
        {"n": True},
        {"seed": -1},
        {"seed": 2**64},
        {"batch": -1},
        {"name": ""},
        {"other": 1},
    ],
)
def test_options_that_are_wrong(wrong):
    with pytest.raises(ValidationError):
        Synthetic(**{"n": 1, "d": 1, "h": 1, **wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        {"fraction": -0.1},
        {"fraction": 1.1},
        {"scale": 0},
        {"scale": 1e31},
        {"scale": float("nan")},
        {"where": "diagonal"},
    ],
)
def test_heavy_hitters_that_are_wrong(wrong):
    with pytest.raises(ValidationError):
        HeavyHitters(**{"fraction": 0.1, "scale": 2, **wrong})
