"""Which figures can be drawn of which records, what they leave out, and their files."""

from dataclasses import replace

import numpy as np
import pytest

from accelsim.report.described import describe
from accelsim.report.figures import FIGURES, draw
from accelsim.report.figures.choosing import MOST_POINTS, chosen, thin
from accelsim.report.figures.design_space import design_space
from accelsim.report.figures.figure import NothingToDrawError, style
from accelsim.report.figures.frame import design_frame, frame, need
from accelsim.report.figures.pareto import front_of
from accelsim.report.figures.sheet import NARROW, WIDE, trace


def named(figures, name):
    return next(figure for figure in figures if figure.name == name)


def test_the_frame_has_a_row_for_each_record_that_ran(make_record, make_run):
    records = [
        make_record(),
        make_record(gemm="g", status="error", reason="r"),
        make_record(backend="away", status="unavailable", reason="r"),
        make_record(bits={"a": 8, "b": 4}),
    ]
    data = frame(describe([make_run(records)]))
    assert list(data["gemm"]) == ["tiny/layers.0.q", "tiny/g", "tiny/layers.0.q"]
    assert list(data["bits"]) == ["4", "4", "8/4"]
    assert list(data["ms.gemm"].dropna()) == [3.0, 3.0]


def test_backends_carry_the_name_of_the_run_where_there_are_several(make_record, make_run):
    runs = [make_run([make_record()], "one"), make_run([make_record()], "two")]
    assert list(frame(describe(runs))["backend"]) == ["one: emulator", "two: emulator"]


def test_missing_columns_say_so(make_record, make_run):
    with pytest.raises(NothingToDrawError, match=r"no record has gemm_bytes"):
        need(frame(describe([make_run([make_record()])])), "gemm_bytes")


def test_nothing_is_drawn_of_nothing_and_each_figure_says_why(make_record, make_run):
    figures, left_out = draw([make_run([make_record(status="error", reason="r")])])
    assert not figures
    assert len(left_out) == len(FIGURES)
    assert all(left_out.values())


def test_files_for_papers(drawn, tmp_path):
    figure = next(figure for figure in drawn[0] if figure.name == "ratio-by-bits")
    pdf, png = figure.save(tmp_path / "figures")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "2 strategies over 3 widths" in figure.alt
    assert "at b = 2 from 4 (" in figure.alt


def test_the_design_space_shows_the_least_of_the_designs_that_are_exact(make_record, make_run):
    def design(gemm, bits, area_time, **changes):
        model = {"cost_model": "array", "cycles": 1, "area_time": area_time}
        return make_record(gemm=gemm, bits=bits, strategy="mix", **model, **changes)

    wrong = {"status": "inexact", "exact": False, "mismatches": 1, "max_abs_error": 1}
    records = [design(gemm, bits, 100.0 + bits) for gemm in "pq" for bits in (3, 4, 8)]
    records += [design("p", 2, 1.0), design("q", 2, 1.0, **wrong)]
    figure = design_space(None, describe([make_run(records)]), WIDE)
    assert "over 3 widths" in figure.alt
    assert "b = 3 with emulator" in figure.alt
    few = [record for record in records if record.bits == 4]
    with pytest.raises(NothingToDrawError, match="fewer than two widths"):
        design_space(None, describe([make_run(few)]), WIDE)


def test_no_design_leaves_the_panels(drawn_models):
    canvas = named(drawn_models[0], "design-space").canvas
    for axes in canvas.axes:
        low, high = axes.get_ylim()
        values = [value for line in axes.get_lines() for value in line.get_ydata()]
        assert low < min(values)
        assert max(values) < high
    labels = [text.get_text() for text in canvas.legends[0].get_texts()]
    assert labels == ["dram 4", "dram 1"]


def test_each_width_has_its_roof(make_record, make_run):
    records = [
        make_record(bits=bits, gemm_bytes=2048, backend_options={"bits": bits}) for bits in (4, 8)
    ]
    roofs = [
        {"backend": "emulator", "backend_options": {"bits": bits}, "bits": bits, "device": "cpu",
         "tops": tops}
        for bits, tops in ((4, 0.02), (8, 0.01))
    ]  # fmt: skip
    run = make_run(records)
    session = run.sessions[0] | {"roofs": {"compute": roofs, "bandwidth_gb_s": {"cpu": 10.0}}}
    figures, _ = draw([replace(run, sessions=(session,))])
    figure = next(figure for figure in figures if figure.name == "roofline")
    (axes,) = figure.canvas.axes
    drawn = [line.get_xydata() for line in axes.get_lines()]
    corners = [points[1].tolist() for points in drawn if len(points) == 3]
    assert corners == [[2, 20], [1, 10]]
    assert [words.get_text() for words in axes.texts] == ["b 8", "b 4"]


def test_a_roofline_without_roofs_says_how_to_measure_them(make_record, make_run):
    run = make_run([make_record(gemm_bytes=2048)])
    session = {key: value for key, value in run.sessions[0].items() if key != "roofs"}
    figures, _ = draw([replace(run, sessions=(session,))])
    figure = next(figure for figure in figures if figure.name == "roofline")
    assert "timing.roofline: true" in figure.caption


def test_a_bar_that_averages_over_beta_says_so(make_record, make_run):
    records = [make_record(beta=beta, out_of_bound_a=1, out_of_bound_b=2) for beta in (15, 31)]
    captions = [
        next(figure for figure in draw([make_run(rs)])[0] if figure.name == "heavy-hitters").caption
        for rs in (records, records[:1])
    ]
    assert "and over β = 15, 31." in captions[0]
    assert "β" not in captions[1]


def test_ratios_are_those_of_all_gemms_together(make_record, make_run):
    records = [
        make_record(gemm=gemm, beta=beta, bits=bits, low_bit_macs=beta * low, ratio=beta * low / n)
        for gemm, low, n in (("small", 30, 10), ("large", 170, 90))
        for beta in (1, 15)
        for bits in (4, 8)
    ]
    figures, _ = draw([make_run(records)])
    figure = next(figure for figure in figures if figure.name == "ratio-by-bits")
    drawn = [axes.get_lines()[0].get_ydata().tolist() for axes in figure.canvas.axes]
    assert drawn == [[2, 2], [30, 30]]


def test_models_have_their_figures_first_and_no_times(drawn_models):
    figures, left_out = drawn_models
    assert [figure.name for figure in figures] == [
        "pareto", "design-space", "energy-by-component", "stalls-by-gemm", "traffic-by-operand",
        "ratio-by-bits",
    ]  # fmt: skip
    for name in ("time by stage", "speedup by ratio"):
        assert left_out[name] == "every time is that of a model in software, not of hardware"


def test_every_figure_has_a_narrow_one_that_fits_a_phone(drawn, drawn_models):
    for figure in [*drawn[0], *drawn_models[0]]:
        assert figure.canvas.get_figwidth() <= WIDE
        assert figure.narrow.get_figwidth() <= NARROW
        assert len(figure.narrow.axes) == len(figure.canvas.axes)


def test_the_front_holds_what_nothing_beats():
    points = [(1, 9, "fast"), (2, 5, "mid"), (2, 6, "beaten"), (4, 5, "tied"), (5, 1, "cheap")]
    assert [name for *_, name in front_of(points)] == ["fast", "mid", "cheap"]


def test_the_pareto_figure_says_what_has_no_energy(drawn_models):
    figure = named(drawn_models[0], "pareto")
    assert figure.title == "Energy against time"
    assert "4 of 16 designs have no energy." in figure.caption
    # Two costs for two β; energy rises with b here, so the front is every width with fast memory.
    assert len(figure.canvas.axes) == 4
    assert "energy, β 15: b 8, dram 4 and b 3, dram 4" in figure.alt


def test_energy_of_an_unknown_component_is_marked(drawn_models):
    figure = named(drawn_models[0], "energy-by-component")
    (axes,) = figure.canvas.axes
    assert [text.get_text() for text in axes.texts].count(" + ?") == 4
    assert "is unknown" in figure.caption
    widths = dict.fromkeys(("dram", "sram", "multiply"), 0.0)
    for bars in axes.containers:
        widths[bars.get_label()] += sum(bar.get_width() for bar in bars)
    assert widths == pytest.approx({"dram": 48e-6, "sram": 9.6e-6, "multiply": 3.6e-6})


def test_traffic_and_stalls_are_those_of_the_records(drawn_models, modelled):
    figure = named(drawn_models[0], "traffic-by-operand")
    (axes,) = figure.canvas.axes
    shown = sum(bar.get_width() for bars in axes.containers for bar in bars)
    assert shown == pytest.approx(sum(sum(r.traffic["dram"].values()) for r in modelled))
    (axes,) = named(drawn_models[0], "stalls-by-gemm").canvas.axes
    assert len(axes.get_lines()) == 6
    assert "Of 16 designs the 6 with the least area × time" in (
        named(drawn_models[0], "stalls-by-gemm").caption
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "layers.0.q", "layers.1.q", "layers.2.q"
    ]  # fmt: skip


def test_designs_are_named_by_what_tells_them_apart(modelled, make_run):
    data, parts = design_frame(describe([make_run(modelled)]))
    assert parts == ["b", "dram"]
    assert list(data["label"])[:2] == ["b 2, dram 1", "b 2, dram 4"]
    assert len(data) == 16


def test_two_points_are_not_a_line():
    from matplotlib.figure import Figure as Canvas

    with style():
        axes = Canvas().subplots()
        for count in (1, 2, 3):
            trace(axes, list(range(count)), list(range(count)), 0, "x")
    assert [line.get_linestyle() for line in axes.get_lines()] == ["None", "None", "-"]


@pytest.mark.parametrize(("count", "most"), [(3, 3), (200, 6), (7, 1), (8, 7), (2, 2)])
def test_what_is_chosen_is_spread_from_the_first_to_the_last(count, most):
    found = chosen(range(count), most)
    assert len(found) == len(set(found)) == min(count, most)
    assert found[0] == 0
    assert found == sorted(found)
    if most > 1:
        assert found[-1] == count - 1


def test_too_many_combinations_are_thinned_and_told():
    from pandas import DataFrame

    rows = DataFrame([{"beta": beta, "bits": bits} for beta in range(200) for bits in (4, 8)])
    kept, words = thin(rows, ["beta", "bits"], 24)
    assert len(kept) <= 24
    assert kept["bits"].nunique() == 2
    assert words.startswith(" Of 200 values of β these are shown: 0, ")
    assert words.endswith("199.")
    assert thin(rows[:4], ["beta", "bits"], 4)[1] == ""


def test_two_hundred_values_of_beta_are_an_axis_and_not_panels(make_record, make_run):
    records = [
        make_record(beta=beta, bits=bits, ratio=1 + beta / bits, low_bit_macs=100 + beta)
        for beta in range(1, 201)
        for bits in (4, 8)
    ]
    figures, _ = draw([make_run(records)])
    figure = named(figures, "ratio-by-bits")
    assert figure.title == "Unpack ratio against β"
    assert len(figure.canvas.axes) == 2
    assert len(figure.canvas.axes[0].get_lines()[0].get_xdata()) == 200
    bars = named(figures, "time-by-stage").canvas.axes[0].containers
    assert max(map(len, bars)) <= 24
    assert "Of 200 values of β" in named(figures, "time-by-stage").caption


def test_scatter_plots_show_a_sample_of_very_many_records(make_record, make_run):
    records = [
        make_record(gemm=f"g{index}", ratio=1 + index / 1000, gemm_bytes=2048)
        for index in range(MOST_POINTS + 500)
    ]
    figures, _ = draw([make_run(records)])
    for name in ("speedup-by-ratio", "roofline"):
        assert f"{MOST_POINTS} of {MOST_POINTS + 500} records are shown" in (
            named(figures, name).caption
        )


def test_the_total_of_a_bar_has_its_interval(make_record, make_run):
    rng = np.random.default_rng(0)
    records = [
        make_record(gemm=gemm, samples_ms={"total": rng.uniform(3.9, 4.1, 9).tolist()})
        for gemm in "ab"
    ]
    axes = named(draw([make_run(records)])[0], "time-by-stage").canvas.axes[0]
    (whisker,) = axes.get_lines()
    low, high = whisker.get_xdata()
    assert 0.0078 < low < 0.008 < high < 0.0082


def test_ratios_that_are_no_results_are_not_drawn(make_record, make_run):
    wild = {"fp32": [0.1, 8.0] * 5}
    calm = {"fp32": [2.0] * 10}
    records = [
        make_record(gemm=name, samples_ms={"total": [4.0] * 10}, baseline_samples_ms=samples)
        for name, samples in (("wild", wild), ("calm", calm))
    ]
    figure = named(draw([make_run(records)])[0], "speedup-by-ratio")
    assert figure.alt.startswith("A scatter plot of 1 speed-ups")
    assert "1 ratios were too uncertain" in figure.caption
    _, left_out = draw([make_run(records[:1])])
    assert left_out["speedup by ratio"] == "no record has a speed-up that is a result"


def test_the_same_records_give_the_same_files(sweep, make_run, tmp_path):
    for suffix in ("svg", "pdf", "png"):
        files = [tmp_path / f"{name}.{suffix}" for name in ("one", "two")]
        for file in files:
            named(draw([make_run(sweep)])[0], "ratio-by-bits").write(file)
        assert files[0].read_bytes() == files[1].read_bytes()


def mixed(make_record):
    """Return records of models with and without a memory, named by parts that follow each other."""
    records = []
    for memory in ("none", {"sram_kb": 64, "dram": "lpddr4"}):
        for lanes in (0, 8, 32):
            for bits in (4, 8):
                modelled = memory != "none"
                records.append(
                    make_record(
                        bits=bits, backend="array", execution="emulated", cost_model="an array",
                        backend_options={
                            "memory": memory, "correction_lanes": lanes, "unpacker": 8 * modelled
                        },
                        cycles=100 * bits + lanes, relative_area=1.0 + lanes,
                        area_time=100.0 + lanes,
                        seconds=1e-6 * (100 * bits + lanes) if modelled else None,
                        stall_cycles=10 if modelled else None,
                        energy=1e-6 * (bits + lanes + modelled),
                        energy_by={"multiply": 1e-6 * (bits + lanes + modelled)},
                        traffic={"dram": {"a": 10.0}} if modelled else {},
                    )
                )  # fmt: skip
    return records


def test_models_with_and_without_memory_have_panels_of_their_own(make_record, make_run):
    figures, _ = draw([make_run(mixed(make_record))])
    axes = named(figures, "pareto").canvas.axes
    assert [(a.get_title(), a.get_xlabel()) for a in axes[:2]] == [
        ("without memory", "time, cycles"), ("with memory", "time")
    ]  # fmt: skip


def test_parts_that_follow_from_others_are_in_no_name(make_record, make_run):
    data, parts = design_frame(describe([make_run(mixed(make_record))]))
    assert parts == ["b", "correction_lanes"]
    assert list(data["label"])[:2] == ["b 4, correction_lanes 0", "b 8, correction_lanes 0"]


def test_long_names_stand_above_their_bars(make_record, make_run):
    runs = [make_run(mixed(make_record), name) for name in ("a" * 20, "b" * 20)]
    (axes,) = named(draw(runs)[0], "energy-by-component").canvas.axes
    assert not axes.get_yticks().size
    assert any(text.get_text().startswith("without memory, aaaa") for text in axes.texts)
