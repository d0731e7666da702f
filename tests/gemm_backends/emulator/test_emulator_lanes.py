"""GEMMs corrected in place: exact in accumulators proved wide enough, and what registers hold."""

import contextlib
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from accelsim.config import load_config
from accelsim.errors import InputError, UnsupportedError
from accelsim.records import RunFolder, Status
from accelsim.routes.execute import execute, schedule
from accelsim.routes.lanes import corrections_of
from accelsim.runner import run
from accelsim.types import PerOperand
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy
from accelsim.unpack.corrected import CorrectedProduct, in_place
from accelsim.unpack.problem import Segment
from gemm_backends import load_backend


class Untimed:
    def stage(self, name):
        return contextlib.nullcontext()


def integers(seed=0, shape=(2, 11, 60, 7), largest=300, heavy=0.2):
    generator = torch.Generator().manual_seed(seed)
    batch, n, d, h = shape

    def operand(rows):
        few = torch.rand((batch, rows, d), generator=generator) < heavy
        values = torch.randint(-largest, largest + 1, (batch, rows, d), generator=generator)
        return torch.where(few, values, values.remainder(15) - 7).to(torch.int32)

    return operand(n), operand(h)


def unpacked(a, b, bits, digits="balanced"):
    system = DigitSystem(digits, bits)
    problem = load_strategy("block", block=1).unpack(
        IntegerOperand(a, system), IntegerOperand(b, system)
    )
    return PerOperand.both(system), problem


def lanes(bits=4, **options):
    return load_backend("emulator", bits=bits, array=[4, 4], correction_lanes=4, **options)


def product(a, b):
    return torch.einsum("bnd,bhd->bnh", a.long(), b.long())


@pytest.mark.parametrize("digits", ["balanced", "paper"])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("width", [64, 32, 20])
def test_all_integers_are_exact(bits, digits, width):
    a, b = integers(bits)
    systems, problem = unpacked(a, b, bits, digits)
    backend = lanes(bits, accumulator_bits=width)
    scheduled = schedule(problem, backend, systems, "auto")
    assert any(isinstance(p, CorrectedProduct) for p in scheduled.products)
    done = execute(scheduled, backend, Untimed(), watch_overflow=False, wide=False)
    assert torch.equal(done.result, product(a, b))
    assert scheduled.low_bit_macs == problem.low_bit_macs
    assert scheduled.sparse_macs == problem.sparse_macs > 0


def test_k_is_cut_where_a_sum_might_not_fit_and_only_there():
    a, b = integers()
    systems, problem = unpacked(a, b, 4)
    wide = schedule(problem, lanes(accumulator_bits=32), systems, "auto")
    narrow = schedule(problem, lanes(accumulator_bits=19), systems, "auto")
    assert len(wide.products) == 2 < len(narrow.products)
    assert wide.shift_adds == 0 < narrow.shift_adds
    longest = [x.double().square().sum(-1).amax().sqrt() for x in (a, b)]
    assert longest[0] * longest[1] < 1 << 31
    for part in narrow.products:
        corrected = lanes(accumulator_bits=64).corrected_matmul(
            part.a, part.b, corrections_of(part)
        )
        assert corrected.abs().max() < 1 << 18


def test_one_column_that_may_not_fit_is_unsupported():
    a, b = integers(largest=1000)
    systems, problem = unpacked(a, b, 4)
    with pytest.raises(UnsupportedError, match="may overflow the 16-bit accumulator"):
        schedule(problem, lanes(accumulator_bits=16), systems, "auto")


def test_an_accumulator_too_narrow_wraps_as_a_register_does():
    a, b = integers(shape=(1, 6, 40, 5))
    systems, problem = unpacked(a, b, 4)
    backend = lanes(accumulator_bits=12)
    scheduled = schedule(problem, backend, systems, "never")
    done = execute(scheduled, backend, Untimed(), watch_overflow=True, wide=False)
    sums = product(a, b)
    assert (sums.abs() >= 1 << 11).any()
    assert torch.equal(done.result, (sums + 2048).remainder(4096) - 2048)


def test_a_digit_out_of_range_is_refused():
    a, b = integers(largest=5000)
    _, problem = unpacked(a, b, 8)
    (first, *_) = in_place(problem.products)
    with pytest.raises(InputError, match="outside the 4-bit range"):
        lanes(4).multiply_corrected(first.a.clamp(-8, 7), first.b.clamp(-8, 7),
                                    corrections_of(first))  # fmt: skip


def test_products_of_another_form_are_not_joined():
    a, b = integers()
    _, problem = unpacked(a, b, 4)
    base, in_a, in_b, pairs = problem.products[:4]
    assert in_place([base, in_a, in_b, pairs]) is not None
    assert in_place([base, in_a, in_b]) is None
    assert in_place([in_a, base]) is None
    other = type(in_a)(in_a.a, in_a.b.clone(), in_a.rows, in_a.columns, 0)
    assert in_place([base, other]) is None
    for changed in ({"exponent": 4}, {"head": 1}):
        for products in ([in_a, in_b, replace(pairs, **changed)], [replace(in_a, **changed)]):
            assert in_place([base, *products]) is None
        moved = [replace(p, **changed) for p in (base, in_a, in_b, pairs)]
        assert in_place(moved) is not None
    cut = (Segment(5, 0), Segment(base.rows[0].count - 5, 0))
    chosen = (Segment(base.rows[0].count, 0, torch.arange(base.rows[0].count)),)
    for rows in (cut, chosen):
        assert in_place([replace(base, rows=rows), in_a, in_b, pairs]) is None
        assert in_place([replace(base, columns=rows), in_a, in_b, pairs]) is None
    stray = replace(pairs, a=pairs.a.between(0, pairs.a.shape[1]))
    assert in_place([base, in_a, in_b, stray]) is None
    assert in_place([base, in_a, in_b, replace(pairs, b=stray.a)]) is None
    assert in_place([base, in_a, in_b, pairs, stray]) is None
    assert in_place([base, base]) == [base, base]


def config(tmp_path, option):
    a, b = (x[0].float() for x in integers())
    save_file({"net/a": a, "net/b": b}, tmp_path / "net.safetensors")
    path = tmp_path / "run.yaml"
    path.write_text(
        "workloads: [{bundle: net.safetensors}]\n"
        "quantize: {percentile: 95, beta: 31}\n"
        "unpack: {bits: 4, strategy: block, block: [1]}\n"
        "backends:\n"
        f"  - {{name: emulator, array: [8, 8], {option}}}\n"
        "timing: {repeats: 1, warmup: 0}\n"
    )
    return path


def test_a_run_is_exact_and_faster_than_without_lanes(tmp_path):
    found = {}
    for count in (0, 8, 64):
        loaded = load_config(config(tmp_path, f"correction_lanes: {count}"), (), ())
        folder = tmp_path / f"out{count}"
        with RunFolder.open(folder, loaded.to_dict(), loaded.config_hash, False, True) as out:
            (found[count],) = run(loaded, out, lambda *_: None)
        assert found[count].status is Status.OK, found[count].reason
        assert found[count].backend_options["correction_lanes"] == count
    assert found[64].cycles < found[8].cycles < found[0].cycles
    assert found[8].sparse_macs > 0 == found[8].shift_adds < found[0].shift_adds
    assert found[8].low_bit_macs == found[0].low_bit_macs


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("correction_lanes: 65", r"correction_lanes must be from 0 \(none\) to 64"),
        ("correction_lanes: many", r"correction_lanes"),
        ("correction_lane: 8", r"did you mean 'correction_lanes'"),
    ],
)
def test_a_wrong_option_is_named_with_its_place(tmp_path, option, message):
    with pytest.raises(InputError, match=message) as error:
        load_config(config(tmp_path, option), (), ())
    assert "run.yaml:5:" in str(error.value)
