"""Trees, K-blocks, tables and unsigned digits against plain Python, on every path."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stepwise import step as plain_step
from stepwise import stepwise

from accelsim.errors import InputError
from gemm_backends import (
    Accumulator,
    AccumulatorOverflow,
    Availability,
    GemmSpec,
    OverflowReport,
    load_backend,
)
from gemm_backends.cpu.int8 import CpuInt8
from gemm_backends.datapath import Datapath
from gemm_backends.emulator import compiled, shortcut
from gemm_backends.emulator import stepwise as emulated
from gemm_backends.emulator.multipliers import Digit, built_in


def operands(generator, bits, shape, extremes=True):
    """Random digits; most of one sign, so that sums climb and then fall."""
    n, d, h = shape
    digits = []
    for width, rows in zip(bits, (n, h), strict=True):
        low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
        values = torch.randint(low, high + 1, (rows, d), generator=generator)
        if extremes:
            values[:, : d // 2] = torch.where(values[:, : d // 2] < 0, low, values[:, : d // 2])
        digits.append(values.to(torch.int8 if max(bits) <= 8 else torch.int16))
    return digits


datapaths = st.fixed_dictionaries(
    {
        "accumulator_bits": st.integers(8, 40),
        "tree": st.integers(1, 7),
        "k_block": st.none() | st.integers(1, 40),
        "outer_bits": st.integers(8, 40),
        "overflow": st.sampled_from(["wrap", "saturate", "error"]),
    }
)


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(2, 16), st.integers(2, 16)),
    st.tuples(st.integers(1, 4), st.integers(1, 60), st.integers(1, 4)),
    datapaths,
    st.integers(0, 1 << 30),
)
def test_every_datapath_is_what_plain_python_says(bits, shape, options, seed):
    a, b = operands(torch.Generator().manual_seed(seed), bits, shape)
    plain = {k: options[k] for k in ("tree", "k_block", "outer_bits")}
    product, count, first = stepwise(
        a.tolist(), b.tolist(), options["accumulator_bits"], options["overflow"], **plain
    )
    emulator = load_backend("emulator", bits=bits, **options)
    if options["overflow"] == "error" and count:
        for call in (emulator.multiply, emulator.multiply_report):
            with pytest.raises(AccumulatorOverflow) as caught:
                call(a, b)
            assert caught.value.report == OverflowReport(count, first)
        return
    result, report = emulator.multiply_report(a, b)
    assert result.tolist() == product
    assert report == OverflowReport(count, first)
    assert emulator.multiply(a, b).tolist() == product


@pytest.mark.parametrize("outer", [None, Accumulator(9, "saturate"), Accumulator(14, "wrap")])
@pytest.mark.parametrize("tree", [1, 3, 8])
@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("with_table", [False, True])
@pytest.mark.parametrize("width", [10, 31, 32, 40, 64])
def test_compiled_steps_equal_plain_steps(with_table, overflow, tree, outer, width):
    """Also beyond the width of a tile, with more rows than columns, and in either type."""
    generator = torch.Generator().manual_seed(3)
    inner = Accumulator(width, overflow)
    datapath = Datapath(inner, tree, k_block=None if outer is None else 20, outer=outer)
    table = built_in("mitchell", Digit(4), Digit(5)).products if with_table else None
    overflowed = 0
    for n, d, h in ((3, 50, compiled.TILE + 5), (40, 50, 3), (1, 1, 1), (2, 0, 3)):
        a, b = operands(generator, (4, 5), (n, d, h))
        if with_table:
            a, b = (a + 8).to(torch.uint8), (b + 16).to(torch.uint8)
        expected, plain = emulated.accumulate(
            emulated.multiplier(a, b, table), d, (n, h), datapath, a.device
        )
        product, report = compiled.accumulate(a, b, table, 8 * 16, datapath)
        assert torch.equal(product, expected)
        assert report == plain
        overflowed += report.count
    assert overflowed > 0 or width > 10


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_every_state_of_a_step(bits, overflow):
    """All of the sums that a small register can be asked for, in all three implementations."""
    accumulator = Accumulator(bits, overflow)
    states = torch.arange(accumulator.minimum, accumulator.maximum + 1)
    addends = torch.arange(2 * accumulator.minimum - 3, 2 * accumulator.maximum + 4)
    state, addend = (x.flatten() for x in torch.meshgrid(states, addends, indexing="ij"))
    result, overflowed = emulated.step(state, addend, accumulator)
    plain = [
        plain_step(s, x, bits, overflow)
        for s, x in zip(*map(torch.Tensor.tolist, (state, addend)), strict=True)
    ]
    assert list(zip(result.tolist(), overflowed.tolist(), strict=True)) == plain
    sums, counts = state.numpy().copy(), np.zeros(len(state), np.int32)
    limits = np.int64(accumulator.minimum), np.int64(accumulator.maximum)
    compiled._step(addend.numpy(), *limits, overflow == "saturate", sums, counts)
    assert sums.tolist() == result.tolist()
    assert counts.tolist() == overflowed.int().tolist()


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("bits", [32, 63, 64])
def test_steps_at_the_ends_of_wide_registers(bits, overflow):
    accumulator = Accumulator(bits, overflow)
    low, high = accumulator.minimum, accumulator.maximum
    cases = [
        (s, x) for s in (low, low + 1, -1, 0, high - 1, high) for x in (-(2**30), -1, 0, 1, 2**30)
    ]
    result, overflowed = emulated.step(
        torch.tensor([s for s, _ in cases]), torch.tensor([x for _, x in cases]), accumulator
    )
    plain = [plain_step(s, x, bits, overflow) for s, x in cases]
    assert list(zip(result.tolist(), overflowed.tolist(), strict=True)) == plain


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize(("width", "tree"), [(31, 1), (31, 2), (31, 3), (32, 1), (30, 2)])
@pytest.mark.parametrize("sign", [1, -1])
def test_steps_whose_sums_are_about_as_large_as_int32(sign, width, tree, overflow):
    """Products of 2^30, which with a register of 31 bits just fit int32, two of them not."""
    a = torch.full((2, 7), -(1 << 15), dtype=torch.int16)
    b = (a if sign > 0 else -(a + 1)).repeat(2, 1)
    product, count, first = stepwise(a.tolist(), b.tolist(), width, overflow, tree=tree)
    emulator = load_backend(
        "emulator", bits=16, accumulator_bits=width, tree=tree, overflow=overflow
    )
    result, report = emulator.multiply_report(a, b)
    assert result.tolist() == product
    assert report == OverflowReport(count, first)
    assert count > 0


def test_a_tree_changes_where_saturation_strikes():
    a = torch.tensor([[100, 100, -100, -100] * 3], dtype=torch.int8)
    ones = torch.ones_like(a)
    one_by_one, tree = (
        load_backend("emulator", bits=8, accumulator_bits=8, overflow="saturate", tree=tree)
        for tree in (1, 4)
    )
    assert tree.multiply_report(a, ones)[0].item() == 0
    assert tree.multiply_report(a, ones)[1] == OverflowReport(0)
    assert one_by_one.multiply_report(a, ones)[0].item() == -73
    assert one_by_one.multiply_report(a, ones)[1] == OverflowReport(1, (0, 0, 1))


def test_k_blocks_keep_a_narrow_accumulator_exact():
    generator = torch.Generator().manual_seed(5)
    a, b = operands(generator, (4, 4), (6, 512, 7))
    options = {"bits": 4, "accumulator_bits": 12, "overflow": "saturate"}
    whole = load_backend("emulator", **options)
    blocked = load_backend("emulator", **options, k_block=31, outer_bits=32)
    exact = a.long() @ b.long().T
    assert whole.multiply_report(a, b)[1].count > 0
    product, report = blocked.multiply_report(a, b)
    assert torch.equal(product.long(), exact)
    assert report == OverflowReport(0)


def test_the_declared_accumulator_is_the_one_that_must_be_respected():
    def declared(**options):
        return load_backend("emulator", bits=4, accumulator_bits=12, **options).accumulator

    assert declared().bits == 12
    assert declared(k_block=31, outer_bits=32).bits == 32  # 31 * 64 fits 12 bits
    assert declared(k_block=32, outer_bits=32).bits == 12  # 32 * 64 does not
    assert declared(k_block=31, outer_bits=10).bits == 10


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("bits", [2, 8, 12, 16])
def test_unsigned_digits(side, bits):
    generator = torch.Generator().manual_seed(6)
    dtype = torch.uint8 if bits <= 8 else torch.uint16
    unsigned = torch.randint(0, 1 << bits, (5, 33), generator=generator)
    unsigned[0, 0] = (1 << bits) - 1
    signed = torch.randint(-(1 << (bits - 1)), 1 << (bits - 1), (4, 33), generator=generator)
    signed = signed.to(torch.int8 if bits <= 8 else torch.int16)
    pair = {side: unsigned, "ab"[side == "a"]: signed}
    expected = pair["a"].long() @ pair["b"].long().T
    typed = {**pair, side: unsigned.to(dtype)}
    for overflow in ("wrap", "saturate"):
        emulator = load_backend(
            "emulator", bits=bits, unsigned=side, accumulator_bits=64, overflow=overflow
        )
        assert torch.equal(emulator.multiply(typed["a"], typed["b"]).long(), expected)
    with pytest.raises(InputError, match="outside the unsigned"):
        emulator.multiply(signed[:1], signed) if side == "a" else emulator.multiply(
            signed, signed[:1]
        )
    with pytest.raises(InputError, match="digits"):
        load_backend("emulator", bits=bits).multiply(typed["a"], typed["b"])


@pytest.mark.parametrize("text", ["truncated:0", "broken-array:0:0"])
@pytest.mark.parametrize("unsigned", [None, "a", "b"])
@pytest.mark.parametrize("bits", [(2, 2), (3, 5), (8, 4), (8, 8)])
def test_an_array_with_nothing_left_out_is_exact(text, unsigned, bits):
    a, b = (Digit(w, signed=unsigned != s) for s, w in zip("ab", bits, strict=True))
    table = built_in(text, a, b).products.numpy()
    assert np.array_equal(table, np.multiply.outer(a.all(), b.all()))


def test_truncation_by_hand():
    """3 x 3 = 0b011 * 0b011 has partial products at columns 0, 1, 1 and 2 of a 3-bit array.

    Its first row holds 1, 2 and the inverted sign bit, 4.
    """
    digit = Digit(3)
    for columns, product in ((0, 9), (1, 8), (2, 4)):
        table = built_in(f"truncated:{columns}", digit, digit).products
        assert table[3 + 4, 3 + 4] == product
    assert built_in("broken-array:1:0", digit, digit).products[3 + 4, 3 + 4] == 9 - 7


def test_mitchell_by_hand_and_its_known_worst_error():
    """The relative error is at most 1/9, at equal fractions of one half (Mitchell 1962)."""
    digit = Digit(8)
    table = built_in("mitchell", digit, digit).products.double()
    exact = torch.from_numpy(np.multiply.outer(digit.all(), digit.all())).double()
    assert table[3 + 128, 3 + 128] == 8
    assert table[-3 + 128, 5 + 128] == -14
    assert table[64 + 128, 5 + 128] == 320
    assert (table[exact == 0] == 0).all()
    assert (table.abs() <= exact.abs()).all()
    error = ((exact - table) / exact)[exact != 0]
    assert error.max() == pytest.approx(1 / 9)


@pytest.mark.parametrize("text", ["mitchell", "truncated:5", "broken-array:2:4"])
@pytest.mark.parametrize("options", [{}, {"tree": 4}, {"k_block": 10, "outer_bits": 16}])
@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
def test_tables_in_a_gemm(text, options, overflow):
    generator = torch.Generator().manual_seed(7)
    a, b = operands(generator, (6, 5), (4, 50, 5))
    low_a, low_b = Digit(6).low, Digit(5).low
    table = built_in(text, Digit(6), Digit(5)).products.tolist()
    product, count, first = stepwise(
        a.tolist(),
        b.tolist(),
        11,
        overflow,
        multiply=lambda p, q: table[p - low_a][q - low_b],
        **options,
    )
    emulator = load_backend(
        "emulator", bits=(6, 5), accumulator_bits=11, overflow=overflow, multiplier=text, **options
    )
    result, report = emulator.multiply_report(a, b)
    assert result.tolist() == product
    assert report == OverflowReport(count, first)
    assert count > 0
    assert emulator.multiply(a, b).tolist() == product
    assert emulator.multiply(a[None, :0], b[None]).shape == (1, 0, 5)
    assert emulator.multiply(a[:, None][:0], b[:0, None]).shape == (0, 1, 1)


def test_a_table_from_a_file(tmp_path):
    digit = Digit(4)
    products = np.multiply.outer(digit.all(), digit.all())
    products[3, 12] += 1
    np.save(tmp_path / "off.npy", products)
    emulator = load_backend("emulator", multiplier=str(tmp_path / "off.npy"))
    assert emulator.operand_bits == (4, 4)
    assert emulator.for_bits(8, 8) is emulator
    a, b = torch.tensor([[-5, 7]], dtype=torch.int8), torch.tensor([[4, 7]], dtype=torch.int8)
    assert emulator.multiply(a, b).item() == -20 + 1 + 49
    assert emulator.multiply(b, a).item() == -20 + 49
    assert "off.npy (sha256 " in emulator.how(a, b)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((4, 5), int), r"must be a table \[2\*\*bits_a, 2\*\*bits_b\]"),
        (np.zeros((512, 512), int), "must be a table"),
        (np.zeros(16, int), "must be a table"),
        (np.zeros((4, 4)), "must hold integers, got float64"),
        (np.full((4, 4), 1 << 31), "magnitude of 2"),
        (np.diag([-(1 << 31), 0, 0, 1]), "magnitude of 2"),
        (b"not numpy", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_wrong_tables(tmp_path, content, message):
    path = tmp_path / "table.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(InputError, match=message):
        load_backend("emulator", multiplier=str(path))


def test_the_largest_products_of_a_table(tmp_path):
    most = (1 << 31) - 1
    np.save(tmp_path / "wide.npy", np.full((4, 4), most) * np.where(np.eye(4), -1, 1))
    emulator = load_backend("emulator", multiplier=str(tmp_path / "wide.npy"), accumulator_bits=40)
    a, b = torch.tensor([[-2, 1]], dtype=torch.int8), torch.tensor([[-2, 1], [1, 1]]).to(torch.int8)
    assert emulator.multiply(a, b).tolist() == [[-2 * most, 0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"multiplier": "mitchel"}, "unknown multiplier 'mitchel'.*mitchell"),
        ({"multiplier": "truncated"}, "should be truncated:<columns>"),
        ({"multiplier": "truncated:x"}, "should be truncated:<columns>"),
        ({"multiplier": "broken-array:1"}, "should be broken-array:<rows>:<columns>"),
        ({"multiplier": "mitchell", "bits": 9}, "at most 8 bits"),
        ({"tree": 0}, "tree must be at least 1"),
        ({"k_block": 0}, "k_block must be at least 1"),
        ({"outer_bits": 65}, "outer_bits must be from 8 to 64"),
        ({"unsigned": "c"}, "'a' or 'b'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        load_backend("emulator", **options)


def test_how_it_was_computed(monkeypatch):
    a = torch.full((3, 64), 7, dtype=torch.int8)
    saturating = load_backend("emulator", bits=4, accumulator_bits=12, overflow="saturate")
    monkeypatch.setattr(shortcut, "_native_int8", lambda device: None)
    assert saturating.how(a, a) == "every step"
    assert saturating.how(a[:, :40], a[:, :40]) == "floating-point BLAS"
    assert load_backend("emulator", bits=4).how(a, a) == "floating-point BLAS"
    wrapping = load_backend("emulator", bits=4, accumulator_bits=12)
    assert wrapping.how(a, a) == "floating-point BLAS"
    monkeypatch.undo()
    if shortcut._native_int8("cpu") is not None:
        assert load_backend("emulator", bits=4).how(a, a) == "int8 kernels (cpu-int8)"


@pytest.mark.parametrize(
    "said", [Availability(True, execution="fallback"), Availability(False, "no VNNI", "native")]
)
def test_an_int8_unit_that_is_not_native_is_not_used(monkeypatch, said):
    shortcut._native_int8.cache_clear()
    monkeypatch.setattr(CpuInt8, "availability", lambda self: said)
    assert shortcut._native_int8("cpu") is None
    shortcut._native_int8.cache_clear()


def test_without_options_it_is_as_documented():
    emulator = load_backend("emulator", bits=8)
    assert emulator.accumulator == Accumulator(32, "wrap")
    spec = GemmSpec(8, 8, 100, 200, 300)
    assert emulator.cost(spec) == load_backend("emulator", bits=8, array=[32, 32]).cost(spec)


def test_int8_kernels_are_used_only_where_int32_holds_the_sum():
    a = torch.full((1, 1 << 17), -128, dtype=torch.int8)
    wide = load_backend("emulator", bits=8, accumulator_bits=64)
    assert wide.how(a, a) == "floating-point BLAS"
    assert wide.multiply(a, a).item() == 1 << 31
