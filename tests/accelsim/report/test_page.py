"""The HTML page of a report, as a parser sees it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from accelsim.records import Status
from accelsim.records.record import FirstMismatch, Minimised, Roofline
from accelsim.report.designs import designs
from accelsim.report.figures import MEASURED, OF_MODELS
from accelsim.report.html import render_page
from accelsim.report.limits import limits
from accelsim.report.problems import verdict

VOID = {"meta", "link", "input", "br", "path", "use", "image", "rect"}


class Page(HTMLParser):
    """Collects elements and texts, and checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append((self.open[-1] if self.open else "", data.strip()))

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def texts(self, tag):
        return [words for name, words in self.words if name == tag and words]


@pytest.fixture(scope="module")
def page(make_run, sweep, drawn):
    runs = [make_run(sweep)]
    return Page(render_page(runs, *drawn))


def test_every_figure_is_drawn_and_says_what_is_to_be_seen(page, drawn):
    figures, left_out = drawn
    assert len(figures) == len(MEASURED)
    assert set(left_out) == {function.__name__.replace("_", " ") for function in OF_MODELS}
    drawings = [div for div in page.of("div") if div.get("role") == "img"]
    assert [div["aria-label"] for div in drawings] == [figure.alt for figure in figures]
    assert all(len(figure.alt) > 60 and figure.caption for figure in figures)
    assert len(page.of("svg")) == 2 * len(figures)  # and each for a narrow screen


def test_nothing_is_loaded_from_elsewhere(page):
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href"):
            assert re.match(r"#|data:", attributes.get(name) or "#"), attributes
    style = " ".join(page.texts("style"))
    assert "url(" not in style
    assert "@import" not in style


def test_no_two_elements_have_the_same_id(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    # Matplotlib names the same marker the same in every panel of a figure, with the same shape.
    assert len([name for name in ids if "grid-" in name]) == 2
    for name in ("verdict", "asked", "sums", "figures", "all", "machine"):
        assert ids.count(name) == 1


def test_the_verdict_comes_first_and_headings_do_not_skip_a_level(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(low <= high + 1 for high, low in pairwise(levels))
    assert page.texts("h2")[0] == "Verdict"
    assert "36 of 36 exact" in page.texts("p")


def test_the_tables_hold_every_record_and_every_sum(page):
    tables = [json.loads(words) for name, words in page.words if words.startswith('{"page"')]
    assert [len(table["columns"][0]["rows"]) for table in tables] == [12, 36]
    titles = [column["title"] for column in tables[1]["columns"]]
    assert titles[:2] == ["GEMM", "op"]
    assert {"b", "strategy", "backend", "r", "total", "×fp32"} <= set(titles)


def test_a_failure_shows_its_first_mismatch_and_how_to_replay_it(make_record, make_run):
    broken = make_record(
        gemm="<bad>", status="inexact", exact=False, mismatches=7, max_abs_error=3,
        reason="7 entries differ by up to 3",
        first_mismatch=FirstMismatch(index=[0, 4, 5], expected=-12, found=-13),
        minimised=Minimised(config="mismatches/x.yaml", batch=1, n=1, d=2, h=1),
    )  # fmt: skip
    page = Page(render_page([make_run([make_record(), broken])], [], {}))
    cells = page.texts("td")
    assert "[0, 4, 5]: -12, -13" in cells
    assert "1×2×1: accelsim run mismatches/x.yaml" in cells
    assert "<bad>" in cells
    assert "1 of 2 exact; 1 inexact" in page.texts("p")
    assert page.of("p")[1]["class"] == "verdict bad"


def timed(make_record, total, baseline=2.0, **changes):
    """Return a record with repeats of a total and of a float GEMM."""
    return make_record(
        total_ms=total,
        samples_ms={"total": [total * (1 + 0.001 * index) for index in range(12)]},
        baselines={"fp32": baseline},
        baseline_samples_ms={"fp32": [baseline * (1 + 0.001 * index) for index in range(12)]},
        **changes,
    )


def differences(old, new, make_run):
    """Return the page of two runs and the rows of its table of differences, by the heads."""
    page = Page(render_page([make_run(old, "old"), make_run(new, "new")], [], {}))
    data = next(json.loads(words) for name, words in page.words if words.startswith('{"page"'))
    columns = {c["title"]: [c["texts"][row] for row in c["rows"]] for c in data["columns"]}
    return page, columns


def test_later_runs_are_compared_with_the_first_in_a_table(make_record, make_run):
    old = [timed(make_record, 4.0, gemm=gemm) for gemm in "pqr"] + [make_record(gemm="gone")]
    new = [
        timed(make_record, 4.0, gemm="p"),
        timed(make_record, 8.0, gemm="q", low_bit_macs=6000),
        timed(make_record, 2.0, gemm="r"),
    ]
    page, rows = differences(old, new, make_run)
    assert "new against old: FAILED: 1 of 3 records slower by more than 5%" in " ".join(
        page.texts("p")
    )
    assert rows["verdict"] == ["slower", "faster", "same", "missing"]
    assert rows["GEMM"] == ["q", "r", "p", "gone"]
    assert rows["times as long"] == ["2", "0.5", "1", "–"]
    assert rows["old, ms"][:2] == ["4.00", "4.00"]
    assert rows["new, ms"][:2] == ["8.00", "2.00"]
    assert rows["MACs: new"] == ["6.00k", "–", "–", "–"]


def test_no_green_tick_stands_above_a_regression(make_record, make_run):
    page, _ = differences([timed(make_record, 4.0)], [timed(make_record, 8.0)], make_run)
    verdicts = [p["class"] for p in page.of("p") if (p.get("class") or "").startswith("verdict")]
    assert verdicts == ["verdict good", "verdict bad", "verdict bad"]
    assert "1 of 1 exact; 1 slower than in old" in page.texts("p")


def test_no_tick_stands_where_nothing_was_judged(make_record, make_run):
    found = {}
    for status in ("counted", "error"):
        record = make_record(status=status, reason="why", exact=None, product="none")
        page = Page(render_page([make_run([record])], [], {}))
        (found[status],) = [
            p["class"] for p in page.of("p") if (p.get("class") or "").startswith("verdict")
        ]
        judged = "1 counted, without multiplying: exactness is not judged" not in page.texts("p")
        assert judged == (status == "error")
    assert found == {"counted": "verdict", "error": "verdict bad"}


def test_a_machine_that_drifted_refuses_the_comparison(make_record, make_run):
    old = [timed(make_record, 4.0, gemm="p"), timed(make_record, 4.0, gemm="q")]
    new = [timed(make_record, 30.0, 16.0, gemm="p"), timed(make_record, 4.0, gemm="q")]
    page = Page(render_page([make_run(old, "old"), make_run(new, "new")], [], {}))
    (said,) = [words for words in page.texts("p") if words.startswith("new against old")]
    assert "cannot be compared: by the intervals of their times" in said
    assert "grid-differences-0" not in [a.get("id") for _, a in page.elements]


def test_runs_that_cannot_be_compared_say_why(make_record, make_run):
    runs = [make_run([make_record()], "old"), make_run([make_record(gemm="other")], "new")]
    page = Page(render_page(runs, [], {}))
    assert "new against old: old and new have no exact, timed record in common" in page.texts("p")


def test_what_did_not_run_is_said_with_its_reason(make_record, make_run):
    records = [make_record(), make_record(backend="away", status="unavailable", reason="no device")]
    page = Page(render_page([make_run(records)], [], {}))
    assert "first: away is unavailable for 1 record: no device" in page.texts("li")


def test_modelled_accelerators_are_a_section_and_come_first_where_all_are_models(
    make_run, make_record
):
    model = {"cost_model": "4x4 array", "cycles": 100, "relative_area": 2.0, "area_time": 200.0}
    models = [make_record(backend="array", bits=bits, **model) for bits in (4, 8)]

    def sections(*records):
        return [s.get("id") for s in Page(render_page([make_run(records)], [], {})).of("section")]

    alone = sections(*models)
    assert alone.index("hardware") < alone.index("sums")
    mixed = sections(*models, make_record(backend="cpu"))
    assert mixed.index("hardware") > mixed.index("sums")
    assert "hardware" not in sections(make_record(backend="cpu"))
    page = Page(render_page([make_run(models)], [], {}))
    assert "Modelled accelerators" in page.texts("h2")
    assert "The least area × time, no product wrong: b 4." in page.texts("br") + page.texts("p")
    assert "area·cycles" in page.texts("th")


def test_a_line_for_each_accelerator_has_its_hardware_figures_and_sources(modelled, make_run):
    page = Page(render_page([make_run(modelled)], [], {}))
    tables = [json.loads(words) for name, words in page.words if words.startswith('{"page"')]
    columns = {column["title"]: column for column in tables[0]["columns"]}
    assert list(columns)[:3] == ["asked", "b", "dram"]
    assert {"cycles", "stalls", "time", "DRAM", "area, MACs", "mm²", "/least", "energy"} <= set(
        columns
    )
    assert len(columns["cycles"]["rows"]) == 16
    assert columns["time"]["texts"][0] == "22.5 µs"
    assert columns["MACs"]["rank"] == "asked"
    assert "energy of dram" in page.texts("dt")
    records = {column["title"]: column["rank"] for column in tables[-1]["columns"]}
    assert records["cycles"] == "always"
    assert records["total"] == "asked"


def test_products_that_were_only_counted_are_not_called_inexact(make_record, make_run):
    counted = {"status": "counted", "product": "none", "reason": "asked", "exact": None}
    counted |= {"mismatches": None, "max_abs_error": None}
    records = [make_record(gemm="a", **counted), make_record(gemm="b", beta=7)]

    def shown(records):
        page = Page(render_page([make_run(records)], [], {}))
        tables = [json.loads(words) for name, words in page.words if words.startswith('{"page"')]
        columns = {column["title"]: column["texts"] for column in tables[0]["columns"]}
        return columns.get("exact")

    assert shown(records) == ["–", "1/1"]
    assert shown(records[:1]) is None


def test_what_limits_accelerators_is_said_for_each_run(modelled, make_run):
    cut = [record.model_copy(update={"k_pieces": 3}) for record in modelled]
    (words,) = limits(designs(cut))
    assert "K is cut into up to 3 pieces" in words
    page = Page(render_page([make_run(cut)], [], {}))
    assert words in page.texts("br") + page.texts("p")
    both = Page(render_page([make_run(modelled, "wide"), make_run(cut, "narrow")], [], {}))
    assert f"narrow: {words}" in both.texts("br") + both.texts("p")
    assert not any(found.startswith("wide: ") for found in both.texts("br") + both.texts("p"))


def test_ratios_that_are_no_results_are_dashes_with_a_reason(make_record, make_run):
    wild = {"fp32": [0.1, 8.0] * 5}
    record = make_record(samples_ms={"total": [4.0] * 10}, baseline_samples_ms=wild)
    page = Page(render_page([make_run([record])], [], {}))
    tables = [json.loads(words) for name, words in page.words if words.startswith('{"page"')]
    (speedups,) = [c for c in tables[-1]["columns"] if c["title"] == "×fp32"]
    assert speedups["texts"] == ["–"]
    assert speedups["keys"] == [None]
    assert any("the repeats spread over a factor of 2" in words for words in page.texts("dd"))


def test_only_what_is_not_the_default_was_asked(make_record, make_run):
    run = make_run([make_record()])
    config = {
        "quantize": {"percentile": [95], "beta": [15, 31], "zero_alpha": ["error"]},
        "timing": {"repeats": 20, "cache": "cold", "graph": False, "target_error": None},
    }
    page = Page(render_page([replace(run, config=config)], [], {}))
    assert "percentile 95, beta 15, 31" in page.texts("dd")
    assert "repeats 20, cache cold" in page.texts("dd")


def test_what_was_only_counted_is_not_said_to_be_multiplied(make_run, modelled, sweep):
    counted = [
        record.model_copy(update={"status": Status.COUNTED, "exact": None, "product": "none"})
        for record in modelled
    ]
    drawn = [record.model_copy(update={"ratio_basis": "drawn"}) for record in counted]
    words = {
        name: " ".join(Page(render_page([make_run(records)], [], {})).texts("p"))
        for name, records in (("counted", counted), ("drawn", drawn), ("made", sweep))
    }
    assert "multiplied by a backend" in words["made"]
    assert "drawn from a profile" not in words["made"] + words["counted"]
    for name in ("counted", "drawn"):
        assert "nothing was multiplied" in words[name]
        assert "multiplied by a backend" not in words[name]
    assert "drawn from a profile of measured heavy hitters" in words["drawn"]
    assert verdict(counted) == f"{len(counted)} counted, without multiplying"
    assert verdict(drawn) == f"{verdict(counted)}, on operands drawn from a profile"


def test_designs_have_their_rates_per_cycle_and_bounds(make_run, modelled):
    placed = [
        record.model_copy(
            update={"roofline": Roofline(intensity=8, achieved=9, attainable=10, bound="dram")}
        )
        for record in modelled
    ]
    heads = Page(render_page([make_run(placed)], [], {})).texts("th")
    assert {"bound", "attained/cycle", "attainable/cycle", "peak/cycle"} <= {*heads}
    heads = Page(render_page([make_run(modelled)], [], {})).texts("th")
    assert not {"bound", "attainable"} & {*heads}
