"""The simulated array as a backend, and other people's arrays in its place."""

import pytest
import torch

from accelsim.errors import InputError
from gemm_backends import GemmSpec, OverflowReport, load_backend
from gemm_backends.conformance import CHECKS
from gemm_backends.conformance.subject import Subject
from gemm_backends.conformance.verification import run_check

# An array without any pipeline: all places add at once. Plain Verilog with the same ports.
BROADCAST = """
module broadcast #(
    parameter R = 4, C = 4, A = 8, B = 8, W = 32, SATURATE = 0
) (
    input clk, input reset, input valid, input first,
    input [R*A-1:0] a, input [C*B-1:0] b,
    output idle, output reg [R*C*W-1:0] sums, output [R*C-1:0] stepped, output [R*C-1:0] overflow
);
  assign idle = ~valid;
  assign stepped = {R*C{valid}};
  assign overflow = 0;
  integer i, j, x, y;
  always @(posedge clk) if (valid)
    for (i = 0; i < R; i = i + 1)
      for (j = 0; j < C; j = j + 1) begin
        x = $signed(a[i*A +: A]);
        y = $signed(b[j*B +: B]);
        sums[(i*C+j)*W +: W] <= (first ? {W{1'b0}} : sums[(i*C+j)*W +: W]) + x * yFAULT;
      end
endmodule
"""


@pytest.fixture
def own_array(tmp_path):
    def write(fault=""):
        path = tmp_path / "broadcast.v"
        path.write_text(BROADCAST.replace("FAULT", fault))
        return load_backend(
            "rtl-systolic",
            bits=4,
            array=(4, 5),
            source=str(path),
            top="broadcast",
            reports_overflow=False,
        )

    return write


def operands(bits, shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    n, d, h = shape
    limit = 1 << (bits - 1)
    dtype = torch.int8 if bits <= 8 else torch.int16
    return [torch.randint(-limit, limit, (r, d), generator=generator).to(dtype) for r in (n, h)]


QUICK = {
    "small_shapes",
    "empty_dimensions",
    "extreme_digits",
    "accumulator_overflow",
    "accumulator_partial_sums",
    "overflow_report",
    "batches",
    "options",
    "too_wide_digits",
}
"""Checks of the kit that take little simulation; all of them run with `pytest -m slow`."""


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=check.name, marks=() if check.name in QUICK else pytest.mark.slow)
        for check in CHECKS
    ],
)
def test_it_passes_the_conformance_kit(check):
    backend = load_backend("rtl-systolic", bits=4, accumulator_bits=12, overflow="saturate")
    outcome = run_check(check, Subject(backend))
    assert outcome.status != "failed", outcome.detail
    assert outcome.status == "passed" or check.name not in QUICK, outcome.detail


BOTH = ("rtl-systolic", "emulator")


def test_it_equals_the_emulator():
    options = {"bits": 4, "accumulator_bits": 12, "overflow": "saturate"}
    array, emulator = (load_backend(name, **options) for name in BOTH)
    a, b = (digits.abs().clamp(max=7) for digits in operands(4, (13, 301, 10)))
    b[:, 200:] *= -1
    found, wanted = array.multiply_report(a, b), emulator.multiply_report(a, b)
    assert torch.equal(found[0], wanted[0].to(torch.int64))
    assert found[1] == wanted[1]
    assert found[1].count > 0


def test_its_cycles_are_those_that_the_emulator_predicts(own_array):
    spec = GemmSpec(4, 4, 13, 30, 10)
    array, emulator = (load_backend(name, bits=4, array=[8, 8]) for name in BOTH)
    assert array.cost(spec).cycles == emulator.cost(spec).cycles == 2 * 2 * (8 + 8 + 30 - 2)
    assert array.cost(GemmSpec(4, 4, 13, 0, 10)).cycles == 0
    assert own_array().cost(spec).cycles == 4 * 2 * 30
    assert own_array().cost(spec).basis["cycles"].startswith("measured: ")


def test_a_verilog_array_of_ones_own(own_array):
    backend = own_array()
    a, b = operands(4, (9, 50, 11))
    product, report = backend.multiply_report(a, b)
    assert torch.equal(product, a.long() @ b.long().T)
    assert report == OverflowReport(None)


def test_a_faulty_one_is_not_taken_for_exact(own_array):
    backend = own_array(" + (x == 7 && y == 7)")
    a, b = operands(4, (9, 50, 11))
    assert not torch.equal(backend.multiply(a, b), a.long() @ b.long().T)


def test_its_limits():
    backend = load_backend("rtl-systolic", bits=4)
    assert backend.executed_macs(GemmSpec(4, 4, 9, 10, 1)) == 16 * 8 * 10
    support = backend.supports(GemmSpec(4, 4, 4096, 4096, 4096))
    assert not support
    assert "simulates up to 268,435,456 multiply-accumulates" in support.reason
    assert not backend.supports(GemmSpec(5, 4, 1, 1, 1))
    assert load_backend("rtl-systolic").for_bits(3, 5).operand_bits == (3, 5)
    assert backend.for_bits(3, 3) is backend


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 17}, "bits must be from 2 to 16"),
        ({"accumulator_bits": 7}, "accumulator_bits must be from 8 to 64"),
        ({"array": [4]}, "array must be two numbers"),
        ({"array": [0, 4]}, "array must be two numbers"),
        ({"overflow": "error"}, "'wrap' or 'saturate'"),
        ({"source": "no/such.sv"}, "source 'no/such.sv' is not a file"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        load_backend("rtl-systolic", **options)
