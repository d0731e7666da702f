"""Which figures can be drawn of which records, and their files."""

from dataclasses import replace

import pytest

from accelsim.report.figures import FIGURES, draw
from accelsim.report.figures.design_space import design_space
from accelsim.report.figures.figure import NothingToDrawError
from accelsim.report.figures.frame import frame, need


def test_the_frame_has_a_row_for_each_record_that_ran(make_record, make_run):
    records = [
        make_record(),
        make_record(gemm="g", status="error", reason="r"),
        make_record(backend="away", status="unavailable", reason="r"),
        make_record(bits={"a": 8, "b": 4}),
    ]
    data = frame([make_run(records)])
    assert list(data["gemm"]) == ["tiny/layers.0.q", "tiny/g", "tiny/layers.0.q"]
    assert list(data["bits"]) == ["4", "4", "8/4"]
    assert list(data["ms.gemm"].dropna()) == [3.0, 3.0]


def test_backends_carry_the_name_of_the_run_where_there_are_several(make_record, make_run):
    runs = [make_run([make_record()], "one"), make_run([make_record()], "two")]
    assert list(frame(runs)["backend"]) == ["one: emulator", "two: emulator"]


def test_missing_columns_say_so(make_record, make_run):
    with pytest.raises(NothingToDrawError, match=r"no record has gemm_bytes"):
        need(frame([make_run([make_record()])]), "gemm_bytes")


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
    assert "at 2 bits from 4 (" in figure.alt


def test_the_design_space_shows_the_least_of_the_designs_that_are_exact(make_record, make_run):
    def design(gemm, bits, area_time, **changes):
        model = {"cost_model": "array", "cycles": 1, "area_time": area_time}
        return make_record(gemm=gemm, bits=bits, strategy="mix", **model, **changes)

    wrong = {"status": "inexact", "exact": False, "mismatches": 1, "max_abs_error": 1}
    records = [design(gemm, bits, 100.0 + bits) for gemm in "pq" for bits in (3, 4, 8)]
    records += [design("p", 2, 1.0), design("q", 2, 1.0, **wrong)]
    data = frame([make_run(records)])
    figure = design_space(data, [])
    assert "over 3 widths" in figure.alt
    assert "b = 3 with emulator" in figure.alt
    with pytest.raises(NothingToDrawError, match="fewer than two widths"):
        design_space(data[data["bits"] == "4"], [])


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
    corners = [points[1].tolist() for points in drawn if len(points)]
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
