"""Unpacked GEMMs on the emulator: exact with an accumulator just wide enough, never falsely so."""

import pytest
import torch
from safetensors.torch import save_file

from accelsim.config import load_config
from accelsim.records import RunFolder, Status
from accelsim.runner import run

K = 64


def operands(bits):
    """Integers of up to three digits; the first rows hold nothing but the lowest digit."""
    generator = torch.Generator().manual_seed(bits)
    largest = 5 << (bits - 1)
    a, b = (torch.randint(-largest, largest + 1, (rows, K), generator=generator) for rows in (6, 5))
    for x in (a, b):
        x[0], x[1, 0] = -(1 << (bits - 1)), largest
    return a, b


def just_enough(bits):
    """Return the width of an accumulator that K products of the lowest digits just fit.

    They add up to ``K * 4**(bits - 1) = 2**(2 * bits + 4)``.
    """
    return 2 * bits + 6


def record(folder, operands, bits, accumulator_bits, overflow="wrap", k_split="never"):
    """Run a GEMM of integers that are their own quantized values."""
    a, b = (x.float() for x in operands)
    beta = [2 * float(x.abs().max()) for x in (a, b)]
    save_file({"net/a": a, "net/b": b}, folder / "net.safetensors")
    backend = f"{{name: emulator, accumulator_bits: {accumulator_bits}, overflow: {overflow}}}"
    path = folder / "run.yaml"
    path.write_text(
        "workloads: [{bundle: net.safetensors}]\n"
        f"quantize: {{percentile: 100, beta: {{a: {beta[0]}, b: {beta[1]}}}}}\n"
        f"unpack: {{bits: {bits}, strategy: row}}\n"
        f"backends: [{backend}]\nk_split: {k_split}\ntiming: {{repeats: 1, warmup: 0}}\n"
    )
    config = load_config(path, (), ())
    with RunFolder.open(folder / "out", config.to_dict(), config.config_hash, False, True) as out:
        (found,) = run(config, out, lambda *_: None)
    return found


@pytest.mark.parametrize("overflow", ["wrap", "saturate", "error"])
@pytest.mark.parametrize("bits", range(2, 17))
def test_an_accumulator_just_wide_enough_is_exact(tmp_path, bits, overflow):
    found = record(tmp_path, operands(bits), bits, just_enough(bits), overflow)
    assert found.status is Status.OK, found.reason
    assert found.max_digits_a >= 2
    assert found.low_bit_macs > found.dense_macs
    assert found.cycles > found.shift_add_cycles > 0


@pytest.mark.parametrize("overflow", ["wrap", "saturate", "error"])
@pytest.mark.parametrize("bits", range(2, 17))
def test_one_bit_less_overflows_and_says_at_how_many_steps(tmp_path, bits, overflow):
    a, b = operands(bits)
    a[1:, 1:], b[1:, 1:] = 0, 0
    found = record(tmp_path, (a, b), bits, just_enough(bits) - 1, overflow)
    assert found.status is Status.OVERFLOW, found.reason
    assert not found.exact
    assert "1 step" in found.reason
    if overflow != "error":
        assert found.mismatches == 1


@pytest.mark.parametrize("bits", range(2, 17))
def test_one_bit_less_is_exact_where_k_may_be_split(tmp_path, bits):
    found = record(tmp_path, operands(bits), bits, just_enough(bits) - 1, "saturate", "auto")
    assert found.status is Status.OK, found.reason


def test_clipping_that_happens_to_cancel_is_not_reported_exact(tmp_path):
    """128 is clipped to 127 and, in the last step, -129 to -128: the sum is -128 all the same."""
    a = torch.tensor([[-8, -8, -8, -8, -8, -8, -6, -2]])
    b = torch.tensor([[-8, -8, 7, 7, 7, 7, 5, 1]])
    found = record(tmp_path, (a, b), 4, 8, "saturate")
    assert found.mismatches == 0
    assert found.status is Status.OVERFLOW
    assert found.reason.endswith("at 2 steps, and that every integer is equal is chance")
    assert not found.exact
