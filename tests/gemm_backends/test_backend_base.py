"""What the base class checks and what it does for an author who writes one `matmul`."""

import copy
import pickle
import re
from typing import Any

import pytest
import torch

from accelsim.errors import InputError
from gemm_backends import (
    API_VERSION,
    Accumulator,
    AccumulatorOverflow,
    Availability,
    BackendError,
    Cost,
    GemmBackend,
    GemmSpec,
    OverflowReport,
    Prepared,
    Support,
    Tile,
    declaration,
)

WRAP32 = Accumulator(bits=32, overflow="wrap")


class Minimal(GemmBackend):
    name = "minimal"
    bits = 8
    accumulator = WRAP32

    def matmul(self, a, b):
        assert a.ndim == b.ndim == 2
        return a.to(torch.int32) @ b.to(torch.int32).T


class Configured(Minimal):
    name = "configured"

    def __init__(self, bits=(4, 8), *, rows: int = 16, **extra: Any):
        self.bits = bits


def digits(*shape, dtype=torch.int8):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-128, 128, shape, generator=generator).to(dtype)


COMPLETE = {"name": "x", "bits": 8, "accumulator": WRAP32, "matmul": Minimal.matmul}


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("name", 'has no name; add name = "my-backend"'),
        ("bits", "has no bits; add bits = 8"),
        ("accumulator", "has no accumulator; add accumulator = Accumulator("),
        ("matmul", "has no matmul; add def matmul(self, a, b)"),
    ],
)
def test_a_missing_attribute_is_named_when_the_class_is_defined(attribute, message):
    body = {key: value for key, value in COMPLETE.items() if key != attribute}
    with pytest.raises(TypeError, match=re.escape(f"Wrong {message}")) as caught:
        type(GemmBackend)("Wrong", (GemmBackend,), body)
    assert "class Wrong(..., abstract=True)" in str(caught.value)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("name", 3),
        ("name", ""),
        ("name", " x"),
        ("bits", 17),
        ("bits", 1),
        ("bits", True),
        ("bits", "8"),
        ("bits", (4, 8, 8)),
        ("accumulator", 32),
        ("name", "a/b.py:C"),
        ("signed", 1),
        ("signed", (True,)),
        ("tile", (4, 4, 4)),
        ("tile", Tile(0, 4, 4)),
        ("alignment", Tile(d=1.5)),
        ("batched", 1),
    ],
)
def test_a_wrong_attribute_is_named_when_the_class_is_defined(attribute, value):
    with pytest.raises(TypeError, match=rf"Wrong\.{attribute} must be .*{re.escape(repr(value))}"):
        type(GemmBackend)("Wrong", (GemmBackend,), {**COMPLETE, attribute: value})


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("matmul", lambda self, a: a, r"must take \(self, a, b\), got matmul\(self, a\)"),
        ("prepare", lambda self: 0, r"must take \(self, digits\)"),
        ("supports", lambda self, bits, n, d, h: 0, r"must take \(self, spec\)"),
        ("availability", Availability(True), r"must be a method, availability\(self\), got Avail"),
        ("cost", Cost(3), r"must be a method, cost\(self, spec\)"),
        ("actions", lambda: (), r"must take \(cls\)"),
    ],
)
def test_a_wrong_method_is_named_when_the_class_is_defined(method, value, message):
    with pytest.raises(TypeError, match=rf"Wrong\.{method} {message}"):
        type(GemmBackend)("Wrong", (GemmBackend,), {**COMPLETE, method: value})


@pytest.mark.parametrize("version", ["1.0", API_VERSION])
def test_a_class_may_be_written_for_an_earlier_minor_version(version, monkeypatch):
    monkeypatch.setattr(declaration, "API_VERSION", "1.7")
    assert type(GemmBackend)("Older", (GemmBackend,), {**COMPLETE, "api_version": version})


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("1.8", "is written for version 1.8 of the plug-in API, and this is 1.7; install"),
        ("0.9", "is written for version 0.9"),
        ("2.0", "is written for version 2.0"),
        ("1", "must be a string such as \"1.0\", got '1'"),
        (1.0, 'must be a string such as "1.0", got 1.0'),
    ],
)
def test_a_class_written_for_another_version_is_refused(version, message, monkeypatch):
    monkeypatch.setattr(declaration, "API_VERSION", "1.7")
    with pytest.raises(TypeError, match=re.escape(message)):
        type(GemmBackend)("Other", (GemmBackend,), {**COMPLETE, "api_version": version})


def test_methods_may_be_of_any_kind_and_take_more():
    class Varied(Minimal):
        @staticmethod
        def matmul(a, b, *, trace=False):
            return a.int() @ b.int().T

        @classmethod
        def actions(cls, *rest):
            return ()

    assert Varied().multiply(digits(2, 3), digits(4, 3)).shape == (2, 4)


def test_a_misspelt_name_is_found():
    body = {**COMPLETE, "matmull": COMPLETE["matmul"]}
    del body["matmul"]
    with pytest.raises(TypeError, match=r"Wrong has no matmul; .* \(did you mean 'matmull'"):
        type(GemmBackend)("Wrong", (GemmBackend,), body)


def test_an_abstract_class_may_be_incomplete_but_not_instantiated():
    class Family(GemmBackend, abstract=True):
        bits = 4

    class Member(Family):
        name = "member"
        accumulator = WRAP32
        matmul = Minimal.matmul

    assert Member().operand_bits == (4, 4)
    with pytest.raises(TypeError, match="abstract"):
        Family()


def test_what_the_constructor_sets_is_checked():
    assert Configured().operand_bits == (4, 8)
    with pytest.raises(TypeError, match=r"Configured.bits must be .*got 99"):
        Configured(bits=99)


@pytest.mark.parametrize(
    ("bits", "overflow", "message"),
    [
        (1, "wrap", "from 2 to 64, got 1"),
        (65, "wrap", "from 2 to 64, got 65"),
        (True, "wrap", "from 2 to 64, got True"),
        (32.0, "wrap", "from 2 to 64, got 32.0"),
        (32, "warp", "one of wrap, saturate, error, undefined, got 'warp'"),
    ],
)
def test_a_wrong_accumulator(bits, overflow, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Accumulator(bits, overflow)


def test_accumulator_limits():
    assert (Accumulator(8, "wrap").minimum, Accumulator(8, "wrap").maximum) == (-128, 127)
    assert Accumulator(64, "wrap").maximum == 2**63 - 1


def test_options_are_what_was_given_and_the_defaults():
    assert Minimal().options == {}
    assert Configured().options == {"bits": (4, 8), "rows": 16}
    assert Configured(5, depth=2).options == {"bits": 5, "rows": 16, "depth": 2}
    assert Configured(5, depth=2).with_options(rows=8).options == {
        "bits": 5,
        "rows": 8,
        "depth": 2,
    }


def test_instances_can_be_copied_and_pickled():
    for twin in (copy.deepcopy(Configured(5)), pickle.loads(pickle.dumps(Configured(5)))):
        assert twin.options == {"bits": 5, "rows": 16}


def test_defaults():
    backend, spec = Minimal(), GemmSpec(8, 8, 2, 3, 4)
    assert backend.availability().available
    assert backend.supports(spec)
    assert backend.executed_macs(spec) == 24
    assert backend.cost(spec) is None
    assert backend.for_bits(2, 3) is backend
    assert backend.actions() == ()


class Shaped(Minimal):
    tile = Tile(16, 64, 8)
    alignment = Tile(d=8)
    signed = (False, True)


def test_declared_shapes_and_signs_decide_what_is_supported_and_counted():
    shaped = Shaped()
    assert shaped.supports(GemmSpec(8, 8, 3, 8, 5, signed_a=False))
    assert (
        shaped.supports(GemmSpec(8, 8, 3, 9, 5, signed_a=False)).reason
        == "d must be a multiple of 8, got 9"
    )
    assert shaped.supports(GemmSpec(8, 8, 3, 8, 5)).reason == "takes no negative digits of A"
    assert shaped.executed_macs(GemmSpec(8, 8, 17, 65, 1)) == 32 * 128 * 8
    a, b = digits(3, 8), digits(5, 8)
    with pytest.raises(InputError, match="takes no negative digits of A"):
        shaped.multiply(a, b)
    assert shaped.multiply(a.abs().clamp(0, 127), b).shape == (3, 5)
    assert not shaped.may_be_negative(a.abs().clamp(0, 127))
    assert Minimal().may_be_negative(a.abs().clamp(0, 127)), "it is not worth a look"


def test_an_execution_that_is_none_is_refused():
    message = "execution must be one of native, emulated, fallback, got 'soft'"
    with pytest.raises(ValueError, match=message):
        Availability(True, execution="soft")


@pytest.mark.parametrize("said", [None, True, RuntimeError("no driver")])
def test_an_availability_that_is_none_is_an_error_of_the_backend(said):
    class Vague(Minimal):
        def availability(self):
            if isinstance(said, Exception):
                raise said
            return said

    message = (
        "raised RuntimeError: no driver" if isinstance(said, Exception) else f"returned {said}"
    )
    with pytest.raises(BackendError, match=re.escape(f"'minimal': availability() {message}")):
        Vague().status()
    assert Minimal().status() == Availability(True, execution="emulated", device="cpu")


@pytest.mark.parametrize(
    ("given", "count", "message"),
    [
        ((), None, "overflowed in some steps"),
        (("at step 3",), None, "^at step 3$"),
        ((OverflowReport(2),), 2, "overflowed in 2 steps"),
    ],
)
def test_an_overflow_may_be_raised_with_or_without_a_report(given, count, message):
    with pytest.raises(AccumulatorOverflow, match=message) as caught:
        raise AccumulatorOverflow(*given)
    assert caught.value.report.count == count


def test_supports_names_the_operand_that_is_too_wide():
    assert not Configured().supports(GemmSpec(5, 8, 1, 1, 1))
    assert (
        Configured().supports(GemmSpec(4, 9, 1, 1, 1)).reason
        == "takes 8-bit digits of B, not 9-bit"
    )


@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3), (0,), (2, 0)])
@pytest.mark.parametrize(("n", "d", "h"), [(4, 5, 6), (0, 5, 6), (4, 0, 6), (4, 5, 0)])
def test_batches_for_an_author_who_writes_2d(batch, n, d, h):
    a, b = digits(*batch, n, d), digits(*batch, h, d)
    backend = Minimal()
    product = backend.multiply(a, b)
    assert product.shape == (*batch, n, h)
    assert torch.equal(product.to(torch.int64), a.to(torch.int64) @ b.to(torch.int64).mT)
    twice = backend.multiply(backend.prepared(a), backend.prepared(b))
    assert torch.equal(product, twice)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (digits(2, 3), digits(2, 4), "differ in their last dimension"),
        (digits(2, 2, 3), digits(2, 3), "differ in their batch dimensions"),
        (digits(2, 2, 3), digits(3, 2, 3), "differ in their batch dimensions"),
        (digits(3), digits(2, 3), r"must be a matrix or a batch of them, got shape \[3\]"),
        (digits(2, 3, dtype=torch.float32), digits(2, 3), "must hold int8 digits, got float32"),
        (digits(2, 3), digits(2, 3, dtype=torch.int16), "must hold int8 digits, got int16"),
    ],
)
def test_operands_that_do_not_fit(a, b, message):
    for call in (Minimal().multiply, Minimal().multiply_report):
        with pytest.raises(InputError, match=message):
            call(a, b)


def test_what_supports_refuses_never_reaches_matmul():
    class Aligned(Minimal):
        def supports(self, spec):
            return Support(spec.d % 4 == 0, f"d must be a multiple of 4, got {spec.d}")

    assert Aligned().multiply(digits(2, 8), digits(3, 8)).shape == (2, 3)
    with pytest.raises(InputError, match=r"'minimal' does not support \[2, 7\] x \[3, 7\]: d must"):
        Aligned().multiply(digits(2, 7), digits(3, 7))


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda c: c.float(), "returned float32 instead of int32 or int64"),
        (lambda c: c.to(torch.int16), "returned int16 instead"),
        (lambda c: c.tolist(), "returned list instead of a tensor"),
        (lambda c: c.T, r"returned shape \[5, 4\] instead of \[4, 5\]"),
    ],
)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_a_result_that_breaks_the_contract(result, message, batch):
    class Wrong(Minimal):
        def matmul(self, a, b):
            return result(super().matmul(a, b))

    with pytest.raises(BackendError, match=message):
        Wrong().multiply(digits(*batch, 4, 3), digits(*batch, 5, 3))


def test_prepare_may_return_anything_and_sees_one_matrix_at_a_time():
    class Opaque(Minimal):
        def prepare(self, digits):
            return {"columns": [*digits.T.to(torch.int32)], "rows": len(digits)}

        def matmul(self, a, b):
            product = torch.zeros((a["rows"], b["rows"]), dtype=torch.int32)
            for x, y in zip(a["columns"], b["columns"], strict=True):
                product += x[:, None] * y
            return product

    a, b = digits(2, 3, 4), digits(2, 5, 4)
    prepared = Opaque().prepared(b)
    assert isinstance(prepared, Prepared)
    assert prepared.shape == b.shape
    assert torch.equal(Opaque().multiply(a, prepared), Minimal().multiply(a, b))
    with pytest.raises(InputError, match="differ in their last dimension"):
        Opaque().multiply(digits(2, 3, 5), prepared)


class Reporting(Minimal):
    """Overflows at (0, 1, 2) of every matrix whose first digit is 1."""

    def matmul_report(self, a, b):
        if a[0, 0] == 1:
            return self.matmul(a, b), OverflowReport(7, (0, 1, 2))
        return self.matmul(a, b), OverflowReport(0)


class Raising(Reporting):
    accumulator = Accumulator(16, "error")

    def matmul(self, a, b):
        if a[0, 0] == 1:
            raise AccumulatorOverflow(OverflowReport(7, (0, 1, 2)))
        return super().matmul(a, b)


def test_reports_of_a_batch_are_added():
    a = torch.zeros(2, 3, 4, 5, dtype=torch.int8)
    a[0, 2, 0, 0] = a[1, 0, 0, 0] = 1
    product, report = Reporting().multiply_report(a, a)
    assert product.shape == (2, 3, 4, 4)
    assert report == OverflowReport(14, (0, 2, 0, 1, 2))
    assert Reporting().multiply_report(a[0, 2], a[0, 2])[1] == OverflowReport(7, (0, 1, 2))
    assert Reporting().multiply_report(a[:0], a[:0])[1] == OverflowReport(0)


def test_an_overflow_in_a_batch_says_in_which_matrix():
    a = torch.zeros(2, 3, 4, 5, dtype=torch.int8)
    a[1, 0, 0, 0] = 1
    for call in (Raising().multiply, Raising().multiply_report):
        with pytest.raises(AccumulatorOverflow, match=r"7 steps, .* = \(1, 0, 0, 1, 2\)"):
            call(a, a)


def test_a_backend_that_cannot_tell_says_so():
    assert Minimal().multiply_report(digits(2, 3), digits(2, 3))[1] == OverflowReport(None)

    class Checked(Minimal):
        accumulator = Accumulator(32, "error")

    assert Checked().multiply_report(digits(2, 3), digits(2, 3))[1] == OverflowReport(0)
