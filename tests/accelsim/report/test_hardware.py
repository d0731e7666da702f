"""The table of modelled accelerators."""

import pytest

from accelsim.records import Status
from accelsim.report.designs import cheapest, designs
from accelsim.report.hardware import hardware

MODEL = {"cost_model": "4x4 array", "cost_basis": {"cycles": "computed: a formula"}}


@pytest.fixture
def modelled(make_record):
    def make(gemm, bits, cycles, area, beta=15, **changes):
        fields = {
            "gemm": gemm,
            "bits": bits,
            "beta": beta,
            "backend": "array",
            "low_bit_macs": 8 * cycles,
            "cycles": cycles,
            "utilization": 0.5,
            "relative_area": area,
            "area_time": area * cycles,
            **MODEL,
        }
        return make_record(**fields | changes)

    return make


def test_the_least_area_time_of_the_exact_designs_wins(modelled):
    records = [
        *(modelled(gemm, 4, 100, 0.5) for gemm in "pq"),
        *(modelled(gemm, 6, 60, 0.7) for gemm in "pq"),
        *(modelled(gemm, 8, 50, 1.0) for gemm in "pq"),
    ]
    found = designs(records)
    assert [design.area_time for design in found] == [100, 84, 100]
    assert cheapest(found) is found[1]
    wrong = {"status": Status.INEXACT, "exact": False, "mismatches": 3, "max_abs_error": 1}
    records[2] = modelled("p", 6, 60, 0.7, **wrong)
    assert cheapest(designs(records)) is not found[1]
    text = "\n".join(hardware(records))
    assert "1/2" in text
    assert "The least area × time, and exact: 4 bits, array" in text


def test_a_design_that_finished_nothing_is_named(modelled, make_record):
    lost = make_record(
        gemm="p",
        bits=8,
        beta=15,
        backend="array",
        status="overflow",
        exact=None,
        reason="7 steps",
        cycles=None,
    )
    other = make_record(gemm="p", bits=8, beta=15, backend="int64", status="error", reason="no")
    text = "\n".join(hardware([modelled("p", 4, 100, 0.5), lost, other]))
    assert "No figures, as no product was finished: 8 bits, array (overflow)." in text
    assert text.count("No figures") == 1


def test_a_gemm_without_a_model_leaves_no_sum(modelled, make_record):
    missing = make_record(gemm="q", bits=4, beta=15, backend="array")
    found = designs([modelled("p", 4, 100, 0.5), missing])
    assert [design.cycles for design in found] == [None]
    assert cheapest(found) is None


def test_roundings_are_not_compared_with_each_other(modelled):
    records = [modelled("p", b, 10 * b, 1.0, beta=beta) for beta in (15, 31) for b in (4, 8)]
    text = "\n".join(hardware(records))
    assert text.count("The least area × time") == 2
    assert text.index("β 15") < text.index("β 31")


def test_use_is_weighted_by_cycles(modelled):
    records = [modelled("p", 4, 100, 1.0), modelled("q", 4, 300, 1.0, utilization=0.9)]
    assert designs(records)[0].utilization == pytest.approx(0.8)


def test_where_figures_come_from_is_said_once(modelled):
    lines = hardware([modelled(gemm, b, 100, 0.5) for gemm in "pq" for b in (4, 8)])
    assert lines.count("cycles: computed: a formula") == 1
    assert "array: 4x4 array" in lines
    assert all(len(line) <= 80 for line in lines)


def test_without_a_model_there_is_no_table(make_record):
    assert hardware([make_record()]) == []


def test_memory_is_shown_and_a_design_without_one_does_not_win_over_one_with_it(modelled):
    memory = {
        "compute_cycles": 60,
        "stall_cycles": 40,
        "seconds": 1e-7,
        "traffic": {"dram": {"a": 300.0, "b": 200.0}, "sram": {"a": 900.0}},
        "energy_by": {"multiply": 1e-9, "sram": 2e-9, "dram": 3e-9},
        "energy": 6e-9,
        "area_mm2": 1.5,
    }
    bare = [modelled(gemm, 4, 60, 0.5, backend_options={"memory": "none"}) for gemm in "pq"]
    whole = [
        modelled(gemm, bits, 100, 0.7, backend_options={"memory": {"sram_kb": 4}}, **memory)
        for gemm in "pq"
        for bits in (4, 8)
    ]
    text = "\n".join(hardware([*bare, *whole]))
    with_memory = text[text.index("with memory") :]
    assert "The least area × time, and exact: 4 bits, array" in with_memory
    (found, _) = designs(whole)
    assert found.stall_share == pytest.approx(0.4)
    assert found.dram_bytes == 1000
    assert found.energy_of("sram", "dram", "leakage") == pytest.approx(10e-9)
    assert found.energy_delay == pytest.approx(12e-9 * 2e-7)
    for words in ("40.0%", "1.00k", "1.500", "waits for memory"):
        assert words in with_memory
    assert "waits for memory" not in "\n".join(hardware(bare))
