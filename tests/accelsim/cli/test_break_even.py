"""``accelsim break-even``: its formula by hand, and what it says of GEMMs."""

import json

import pytest
from click.testing import CliRunner

from accelsim.analysis.break_even import Integers, float_seconds
from accelsim.arithmetic.rounding import quantize
from accelsim.cli.break_even import command
from accelsim.errors import InputError
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy
from workloads import Synthetic, open_bundle
from workloads.shipped import shipped_bundles

GEMM = Synthetic(n=10, d=30, h=20, batch=2).gemm()
SPEEDS = ("--tops", "4=4", "--tops", "8=2", "--tops", "bf16=1.5")


def run(*arguments):
    result = CliRunner().invoke(
        command, [*map(str, arguments), "--format", "json"], standalone_mode=False
    )
    if result.exception is not None:
        raise result.exception
    return json.loads(result.output)


def test_the_time_by_hand():
    macs, entries, results = 2 * 10 * 30 * 20, 2 * 30 * 30, 2 * 10 * 20
    moved = 8 * entries + 3 * (entries / 2 + 4 * results) + 8 * results
    expected = 2 * macs * 3 / 5e12 + moved / 7e9
    assert Integers(4, 5.0, 7.0).seconds(GEMM, 3) == pytest.approx(expected)
    assert Integers(4, 5.0).seconds(GEMM, 3) == pytest.approx(2 * macs * 3 / 5e12)
    assert float_seconds(GEMM, 5.0) == pytest.approx(2 * macs / 5e12)
    for name, operand, result in (("bf16", 2, 2), ("fp8", 1, 2), ("fp32", 4, 4)):
        moved = operand * entries + result * results
        expected = 2 * macs / 5e12 + moved / 7e9
        assert float_seconds(GEMM, 5.0, 7.0, name) == pytest.approx(expected)


def test_memory_is_charged_to_floats_too():
    options = ("--shape", 40, 60, 50, "--bits", 4, *SPEEDS)
    bare, charged = run(*options)[1], run(*options, "--bandwidth", 10)[1]
    moved = 2 * (40 + 50) * 60 + 2 * 40 * 50
    assert charged["its ms"] == pytest.approx(bare["its ms"] + moved / 10e9 * 1e3)


def test_several_betas_have_a_row_each():
    rows = run("--shape", 40, 60, 50, "--bits", 4, *SPEEDS, "--beta", 7, "--beta", 255)
    assert [row["β"] for row in rows] == [7, 7, 255, 255]
    assert rows[0]["4-bit r"] < rows[2]["4-bit r"]


@pytest.mark.parametrize("bandwidth", [None, 50.0])
def test_at_break_even_both_take_the_same_time(bandwidth):
    low = Integers(4, 5.0, bandwidth)
    assert low.seconds(GEMM, low.break_even(GEMM, 1e-6)) == pytest.approx(1e-6)


def test_without_a_front_end_speeds_and_ratios_alone_decide():
    rows = run("--shape", 40, 60, 50, "--bits", 4, *SPEEDS)
    wider, floats = rows
    assert (wider["against"], floats["against"]) == ("8 bits", "bf16")
    assert wider["its r"] == pytest.approx(wider["loses from r"] / 2) == 1
    assert floats["loses from r"] == pytest.approx(4 / 1.5)
    assert floats["its r"] is None
    assert all(row["wins"] == (row["4-bit r"] < row["loses from r"]) for row in rows)


def test_ratios_are_those_of_the_operands():
    path = shipped_bundles()[0]
    gemm = open_bundle(path).gemms[0]
    options = ("--bits", 5, "--tops", "5=1", "--tops", "fp8=1", "--strategy", "block", "--block", 8)
    (row,) = run(path, "--gemm", gemm.name, *options, "--beta", 31)
    a, b = (IntegerOperand(quantize(x, 95, 31), DigitSystem("balanced", 5)) for x in gemm.load())
    assert row["5-bit r"] == load_strategy("block", 8).unpack(a, b).ratio > 1
    assert (row["loses from r"], row["wins"]) == (1, False)


def test_a_front_end_that_takes_longer_never_wins():
    row = run("--shape", 40, 60, 50, "--bits", 4, *SPEEDS, "--bandwidth", 1e-3)[1]
    assert (row["loses from r"], row["wins"]) == (None, False)


def test_heavy_hitters_raise_the_ratio():
    plain, heavy = (
        run("--shape", 64, 64, 64, "--bits", 8, "--tops", "8=2", "--tops", "bf16=1", *more)[0]
        for more in ((), ("--heavy-hitters", 0.01, 100))
    )
    assert plain["8-bit r"] == 1 < heavy["8-bit r"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bits", 4, *SPEEDS), "BUNDLE"),
        (("--shape", 1, 1, 1, "--bits", 5, *SPEEDS), "5 bits"),
        (("--shape", 1, 1, 1, "--bits", 4, "--tops", "4=1"), "another format"),
        (("--shape", 1, 1, 1, "--bits", 4, "--tops", "4=fast"), "4=fast"),
        (("--shape", 1, 1, 1, "--bits", 4, "--tops", "4=1", "--tops", "4=2"), "twice"),
        (("--shape", 1, 1, 1, "--bits", 4, "--tops", "4=1", "--tops", "32=2"), "2 to 16"),
        (("--shape", 1, 1, 1, "--bits", 4, *SPEEDS, "--heavy-hitters", 2, 1), "from 0 to 1"),
        (
            ("--shape", 1, 1, 1, "--bits", 4, "--tops", "4=1", "--tops", "fp9=1", "--bandwidth", 1),
            "fp8",
        ),
        (("x.safetensors", "--bits", 4, *SPEEDS, "--heavy-hitters", 0.1, 1), "--shape"),
        (("--shape", 1, 1, 1, "--bits", 4, *SPEEDS, "--gemm", "*.qk"), "--gemm needs"),
        (("--shape", 1, 1, 1, "--bits", 4, *SPEEDS, "--strategy", "mixx"), "'mix'"),
    ],
)
def test_wrong_calls_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        run(*arguments)
