"""The record is typed, strict JSON, and known by its key."""

import json
import math

import pytest
from pydantic import ValidationError

from accelsim.records import KEY_FIELDS, Record, Status, record_key

FIELDS = """
    workload gemm op layer phase batch n d h
    percentile beta granularity bits strategy strategy_chosen digits block
    backend backend_options execution device
    status reason exact mismatches max_abs_error relative_error_vs_float
    ratio dense_macs low_bit_macs executed_macs shift_adds products max_digits_a max_digits_b
    out_of_bound_a out_of_bound_b
    time_ms baselines tops effective_tops speedup_vs cycles energy cost_model
    correction_macs sparse_macs gather_bytes scatter_bytes
"""
"""The contract; what was added since stands behind it."""


def test_the_fields_are_the_documented_ones_in_their_order(make_record):
    fields = FIELDS.split()
    assert list(json.loads(make_record().to_json()))[: len(fields)] == fields


def test_a_record_survives_its_line(make_record):
    record = make_record(
        bits={"a": 8, "b": 4},
        beta={"a": 255, "b": 15.5},
        backend_options={"accumulator_bits": 24, "nested": {"list": [1, None, "ü\n"]}},
        gemm="weird\nname \u2028 ü",
        block=32,
    )
    line = record.to_json()
    assert "\n" not in line
    assert Record.from_json(line) == record


@pytest.mark.parametrize("value", [2**53 + 1, 2**64 + 1, 10**40 + 7])
def test_integers_stay_exact_beyond_doubles(make_record, value):
    record = make_record(
        low_bit_macs=value, status="inexact", exact=False, mismatches=1, max_abs_error=value
    )
    read = Record.from_json(record.to_json())
    assert read.low_bit_macs == read.max_abs_error == value
    assert isinstance(read.low_bit_macs, int)


def test_integers_are_written_as_integers_and_floats_as_floats(make_record):
    line = make_record(percentile=95.0, beta=31).to_json()
    assert '"percentile": 95.0' in line
    assert '"beta": 31,' in line


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["ratio", "tops", "relative_error_vs_float", "beta"])
def test_no_number_is_nan_or_infinite(make_record, field, bad):
    with pytest.raises(ValidationError):
        make_record(**{field: bad})


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_backend_option_that_is_not_finite_is_not_written(make_record, bad):
    with pytest.raises(ValueError, match=r"not JSON compliant|finite"):
        make_record(backend_options={"voltage": bad}).to_json()


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_line_with_a_javascript_constant_is_refused(make_record, constant):
    line = (
        make_record()
        .to_json()
        .replace('"backend_options": {}', f'"backend_options": {{"x": {constant}}}')
    )
    with pytest.raises(ValueError, match="strict JSON"):
        Record.from_json(line)


@pytest.mark.parametrize(
    "changes",
    [
        {"n": "16"},
        {"n": 16.0},
        {"n": True},
        {"n": -1},
        {"status": "fine"},
        {"execution": "simulated"},
        {"colour": "red"},
        {"time_ms": {"lunch": {"median": 1.0, "p25": 1.0, "p75": 1.0, "repeats": 1}}},
        {"time_ms": {"gemm": {"median": 1.0, "p25": 1.0, "p75": 1.0, "repeats": 0}}},
        {"time_ms": {"gemm": {"median": 1.0}}},
        {"bits": {"a": 8}},
        {"baselines": {"fp32": -1.0}},
    ],
)
def test_wrong_types_values_and_names_are_refused(make_record, changes):
    with pytest.raises(ValidationError):
        make_record(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"exact": False, "mismatches": 3},
        {"exact": None, "reason": "?"},
        {"mismatches": 1},
        {"max_abs_error": 1},
        {"max_abs_error": None},
        {"status": "inexact"},
        {"status": "inexact", "exact": False, "mismatches": 0, "max_abs_error": 1},
        {"status": "error"},
        {"status": "unavailable"},
        {"cycles": 100},
        {"energy": 0.5},
    ],
)
def test_a_verdict_that_contradicts_itself_is_refused(make_record, changes):
    with pytest.raises(ValidationError):
        make_record(**changes)


def test_a_record_cannot_be_changed(make_record):
    with pytest.raises(ValidationError):
        make_record().exact = False


def test_statuses_that_fail_a_run():
    assert {status for status in Status if status.failed} == {
        Status.INEXACT,
        Status.OVERFLOW,
        Status.ERROR,
        Status.TIMEOUT,
    }


def test_the_key_of_a_plan_is_the_key_of_its_record(make_record):
    record = make_record(percentile=95.0, backend_options={"b": 1, "a": {"d": 2.0, "c": 3}})
    plan = {field: getattr(record, field) for field in KEY_FIELDS}
    plan |= {"percentile": 95, "backend_options": {"a": {"c": 3.0, "d": 2}, "b": 1}}
    assert record_key(plan) == record_key(record)
    assert record_key(Record.from_json(record.to_json())) == record_key(record)


@pytest.mark.parametrize(
    "changes",
    [
        {"workload": "other"},
        {"gemm": "layers.0.k"},
        {"percentile": 99.9},
        {"beta": {"a": 31, "b": 15}},
        {"granularity": "row"},
        {"bits": 8},
        {"strategy": "row/column"},
        {"digits": "paper"},
        {"block": 32},
        {"backend": "cpu-int8"},
        {"backend_options": {"accumulator_bits": 24}},
    ],
)
def test_every_key_field_tells_records_apart(make_record, changes):
    assert record_key(make_record(**changes)) != record_key(make_record())


def test_results_do_not_tell_records_apart(make_record):
    other = make_record(status="error", reason="out of memory", device="cpu")
    assert record_key(other) == record_key(make_record())


def test_a_plan_without_a_key_field_is_a_mistake():
    with pytest.raises(KeyError):
        record_key({"workload": "tiny"})


def test_a_record_as_plain_values_is_what_its_line_says(make_record):
    record = make_record()
    assert json.loads(record.to_json()) == record.to_dict()
    assert type(record.to_dict()["status"]) is str
