"""Names of designs that are the same backend with other options."""

import copy

import pytest

from accelsim.report.brief import brief
from accelsim.report.designs import cheapest, designs
from accelsim.report.figures import draw
from accelsim.report.hardware import hardware
from accelsim.report.html.page import render_page
from accelsim.report.limits import limits
from accelsim.report.option_names import OptionNames, accelerator_name, option_title
from gemm_backends.cost.accelerators import accelerator_options

MEMORY = {
    "sram_kb": {"a": 64, "b": 64, "c": 128}, "bandwidth": {"dram": 22.857}, "frequency_mhz": 700,
    "dram": "lpddr4", "mapping": {"search": "cycles"},
}  # fmt: skip
OWN = {
    "array": [24, 40], "dataflow": "weight-stationary", "accumulator_bits": 20, "memory": MEMORY,
}  # fmt: skip


@pytest.fixture
def design(make_record):
    def make(options, bits=8, seconds=1e-3, cycles=1000, beta=31, area=2.0, **changes):
        traffic = {"dram": {"a": 1e3 * bits, "b": 10.0, "c_read": 5.0, "c_write": 5.0}}
        fields = {
            "backend": "emulator", "execution": "emulated", "bits": bits, "beta": beta,
            "backend_options": {"bits": bits, **options}, "cycles": cycles, "seconds": seconds,
            "stall_cycles": cycles // 2, "utilization": 0.25, "relative_area": area,
            "area_time": area * cycles, "area_mm2": area / 10, "energy": 1e-6 * bits,
            "energy_by": {"dram": 1e-6 * bits}, "traffic": traffic, "low_bit_macs": 100 * bits,
            "cost_model": f"an array of {options.get('array')}",
        }  # fmt: skip
        return make_record(**fields | changes)

    return make


def other(**sizes):
    """Return the own design with other sizes of SRAM."""
    options = copy.deepcopy(OWN)
    options["memory"]["sram_kb"] |= sizes
    return options


def test_an_option_is_called_as_in_the_config_and_never_as_a_setting():
    assert option_title("memory.sram_kb.b") == "sram_kb.b"
    assert option_title("accumulator_bits") == "accumulator_bits"
    assert option_title("b") == "backend_options.b"
    assert option_title("memory.b") == "backend_options.memory.b"


def test_kilobytes_do_not_take_the_place_of_the_width(design, make_run):
    records = [design(options, bits=b) for options in (OWN, other(b=32)) for b in (4, 5, 8)]
    found = designs(records)
    assert {d.parts["b"] for d in found} == {"4", "5", "8"}
    assert {d.parts["sram_kb.b"] for d in found} == {"32", "64"}
    assert len({d.label for d in found}) == 6
    head = next(line for line in brief(records).splitlines() if " cycles " in line)
    assert head.split()[:2] == ["b", "sram_kb.b"]
    page = render_page([make_run(records)], [], {})
    assert '"sram_kb.b"' in page
    assert "The least area × time, no product wrong: b 4, sram_kb.b 64." in page


def test_the_width_is_a_column_of_the_page_where_all_have_one(design, make_run):
    records = [design(options, bits=5) for options in (OWN, other(b=32))]
    assert all(d.parts["b"] == "5" for d in designs(records))
    assert '"title":"b"' in render_page([make_run(records)], [], {}).replace(": ", ":")


def test_designs_are_never_summed_into_one(design):
    first, second = OWN, {**OWN, "drain": True}
    records = [design(first, cycles=10), design(second, cycles=20, bits=4)]
    assert [d.cycles for d in designs(records)] == [10, 20]
    same = [design(first, cycles=10), design(second, cycles=20)]
    assert sorted(d.cycles for d in designs(same)) == [10, 20]


def test_described_accelerators_have_their_names(design, tmp_path):
    edge, eyeriss = (accelerator_options(name, tmp_path) for name in ("edge", "eyeriss"))
    assert accelerator_name(edge) == "edge"
    fast = copy.deepcopy(edge)
    fast["memory"]["frequency_mhz"] = 500
    assert accelerator_name(fast) == "edge, frequency_mhz=500"
    assert accelerator_name({**edge, "array": [8, 8]}) is None
    assert accelerator_name(OWN) is None
    records = [design(options, bits=b) for options in (OWN, edge, eyeriss) for b in (4, 8)]
    assert [d.parts["accelerator"] for d in designs(records)] == [
        *["array=[24, 40]"] * 2, *["edge"] * 2, *["eyeriss"] * 2,
    ]  # fmt: skip
    assert designs(records)[2].label == "4 bits, emulator edge*"
    text = "\n".join(hardware(records))
    assert "emulator edge*: an array of [16, 16]" in text
    assert "emulator eyeriss*: an array of [12, 14]" in text
    alone = brief([design(edge)])
    assert ": emulator, edge, " in alone.splitlines()[0]


def test_many_options_leave_the_results_their_columns(design):
    options = [
        {**other(b=kb), "accumulator_bits": acc, "drain": drain}
        for kb, acc, drain in ((64, 20, False), (32, 24, True), (32, 32, False), (64, 24, False))
    ]
    records = [design(each, bits=b) for each in options for b in (4, 8)]
    roofline = {"intensity": 1.0, "achieved": 1.0, "attainable": 2.0, "bound": "dram"}
    records = [r.model_validate({**r.to_dict(), "roofline": roofline}) for r in records]
    for width in (80, 120):
        lines = brief(records, width=width).splitlines()
        head = next(line for line in lines if " cycles " in line)
        for title in ("seconds", "stalls", "energy, J", "mm²", "bound", "/least"):
            assert title in head
        assert max(map(len, lines)) <= width


def test_time_is_seconds_where_clocks_differ(design, make_run):
    slow = design(OWN, cycles=1000, seconds=1000 / 700e6)
    fast_options = copy.deepcopy(OWN)
    fast_options["memory"]["frequency_mhz"] = 1400
    fast = design(fast_options, cycles=1100, seconds=1100 / 1400e6)
    found = designs([slow, fast])
    assert [d.area_time for d in found] == pytest.approx([2000 / 700e6, 2200 / 1400e6])
    assert cheapest(found).records[0] == fast
    rows = [line.split() for line in brief([slow, fast]).splitlines()]
    assert [row[0] for row in rows if row[:1] in (["700"], ["1400"])] == ["1400", "700"]
    unclocked = design({**OWN, "drain": True}, seconds=None)
    assert {d.asked for d in designs([slow, unclocked])} == {
        "with memory", "with memory, without a clock",
    }  # fmt: skip


def test_a_search_beside_a_default_order_is_said(design, tmp_path):
    edge = accelerator_options("edge", tmp_path)
    said = "The order of tiles is searched (`mapping`) for array=[24, 40], not for edge: "
    assert any(words.startswith(said) for words in limits(designs([design(OWN), design(edge)])))
    default = copy.deepcopy(OWN)
    del default["memory"]["mapping"]
    pair = [design(OWN), design(default)]  # compared on purpose
    assert not any("searched" in words for words in limits(designs(pair)))
    assert not any("searched" in words for words in limits(designs([design(OWN)])))


def test_every_design_has_a_bar_a_marker_and_a_line_of_its_own(design, make_run, tmp_path):
    edge, eyeriss = (accelerator_options(name, tmp_path) for name in ("edge", "eyeriss"))
    records = [
        design(options, bits=b, beta=beta, area=b + place, seconds=1e-3 / b)
        for beta in (31, 127)
        for place, options in enumerate((other(b=32), edge, eyeriss))
        for b in (4, 5, 8)
    ]
    figures, _ = draw([make_run(records)])
    found = {figure.name: figure for figure in figures}
    for name in ("energy-by-component", "traffic-by-operand"):
        (axes,) = found[name].canvas.axes
        bars = {round(patch.get_y(), 3) for patch in axes.patches}
        assert len(bars) == 18, name
        assert found[name].alt.startswith("Stacked bars of 18 designs")
    (axes,) = found["stalls-by-gemm"].canvas.axes
    labels = [line.get_label() for line in axes.get_lines()]
    assert len({*labels}) == len(labels) == 6
    assert "Of 18 designs the 6" in found["stalls-by-gemm"].caption
    lines = found["design-space"].canvas.axes[0].get_lines()[:3]
    assert {line.get_label() for line in lines} == {"array=[24, 40]", "edge", "eyeriss"}
    assert all(sorted(line.get_xdata()) == [4, 5, 8] for line in lines)


def test_a_line_never_joins_different_accelerators(design, make_run, tmp_path):
    # Without the axis the other parts must tell designs apart, even if b would do.
    edge, eyeriss = (accelerator_options(name, tmp_path) for name in ("edge", "eyeriss"))
    records = [design(o, bits=b) for o, b in ((edge, 4), (edge, 5), (eyeriss, 6), (eyeriss, 8))]
    figures, _ = draw([make_run(records)])
    (space,) = (figure for figure in figures if figure.name == "design-space")
    lines = {
        line.get_label(): sorted(line.get_xdata())
        for line in space.canvas.axes[0].get_lines()
        if not line.get_label().startswith("_")
    }
    assert lines == {"edge": [4, 5], "eyeriss": [6, 8]}
    records = [design(o, bits=b) for o, b in ((OWN, 4), (OWN, 5), (other(b=32), 8))]
    figures, _ = draw([make_run(records)])
    (space,) = (figure for figure in figures if figure.name == "design-space")
    labels = [line.get_label() for line in space.canvas.axes[0].get_lines()]
    assert {"sram_kb.b 64", "sram_kb.b 32"} <= {*labels}


def test_names_of_cases_are_those_of_designs():
    fields = {
        "backend": "emulator", "percentile": 95, "beta": 31, "granularity": "tensor", "bits": 8,
        "workload": "w", "gemm": "q", "strategy": "mix", "digits": "balanced", "block": None,
        "product": "integers", "zero_alpha": "error", "plan": None, "tolerance": None,
    }  # fmt: skip
    cases = [{**fields, "backend_options": options} for options in (OWN, other(b=32))]
    names = OptionNames(cases)
    assert names.words("emulator", OWN) == ["sram_kb.b=64"]
    assert names.words("emulator", other(b=32)) == ["sram_kb.b=32"]
