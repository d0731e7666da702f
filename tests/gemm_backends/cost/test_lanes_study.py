"""The study of lanes: sums over GEMMs, the cheaper way for each, and what is not exact."""

import pytest

from accelsim.errors import InputError
from gemm_backends.cost.lanes_study import designs, figure, table


def record(bits, lanes, strategy, cycles, gemm="q", energy=2.0, memory="none", status="ok"):
    return {
        "workload": "net",
        "gemm": gemm,
        "status": status,
        "reason": "3 entries differ",
        "beta": 15.0,
        "bits": bits,
        "strategy": strategy,
        "cycles": cycles,
        "energy": energy,
        "relative_area": 100.0 + bits + lanes,
        "backend_options": {"correction_lanes": lanes, "memory": memory},
    }


def run():
    return [
        record(8, 0, "mix", 10),
        record(8, 0, "block", 30),
        record(8, 0, "mix", 20, gemm="k"),
        record(8, 0, "block", 5, gemm="k", energy=4.0),
        record(4, 32, "mix", 9),
        record(4, 32, "block", 7),
        record(4, 32, "mix", 8, gemm="k"),
        record(4, 32, "block", 9, gemm="k"),
        record(4, 0, "mix", 40),
        record(4, 0, "mix", 40, gemm="k"),
        record(8, 32, "block", 10),
        record(8, 32, "block", 10, gemm="k"),
    ]


def test_every_gemm_is_unpacked_in_the_way_that_takes_fewest_cycles():
    found = {(d.bits, d.lanes): d for d in designs(run())}
    assert found[8, 0].cycles == 15
    assert found[8, 0].energy == 6.0
    assert found[8, 0].lane_share == 0
    assert found[4, 32].cycles == 15
    assert found[4, 32].lane_share == 0.5
    assert found[4, 32].area_time == 15 * 136
    assert found[4, 32].energy_delay == 15 * 4.0


def test_the_least_of_each_beta_is_marked():
    text = table(designs(run()))
    area_time = text.split("### ")[1]
    assert f"| 15 | none | {80 * 104 / (15 * 108):.2f} | **1.00** |" in area_time
    assert f"| 15 | 32 | {15 * 136 / (15 * 108):.2f} |" in area_time
    assert area_time.count("**") == 2


def test_a_product_that_is_not_exact_is_an_error():
    with pytest.raises(InputError, match="q: inexact, 3 entries differ"):
        designs([record(4, 0, "mix", 1, status="inexact")])


def test_a_figure_has_both_measures_with_and_without_memory(tmp_path):
    pytest.importorskip("matplotlib")
    memory = [{**r, "backend_options": {**r["backend_options"], "memory": {}}} for r in run()]
    figure(designs([*run(), *memory]), tmp_path / "lanes.png")
    assert (tmp_path / "lanes.png").read_bytes().startswith(b"\x89PNG")
