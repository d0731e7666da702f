"""The HTML page of a report, as a parser sees it."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from accelsim.records.record import FirstMismatch, Minimised
from accelsim.report.figures import FIGURES
from accelsim.report.html import render_page

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
    assert len(figures) == len(FIGURES)
    assert not left_out
    drawings = [div for div in page.of("div") if div.get("role") == "img"]
    assert [div["aria-label"] for div in drawings] == [figure.alt for figure in figures]
    assert all(len(figure.alt) > 60 and figure.caption for figure in figures)
    assert len(page.of("svg")) == len(figures)


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


def test_later_runs_are_compared_with_the_first(make_record, make_run):
    def timed(total):
        samples = {"total": [total + 0.01 * index for index in range(12)]}
        return make_record(total_ms=total, samples_ms=samples)

    page = Page(render_page([make_run([timed(4.0)], "old"), make_run([timed(8.0)], "new")], [], {}))
    said = [words for words in page.texts("p") if words.startswith("new against old")]
    assert len(said) == 1
    assert "FAILED: 1 of 1 records slower by more than 5%" in said[0]


def test_runs_that_cannot_be_compared_say_why(make_record, make_run):
    runs = [make_run([make_record()], "old"), make_run([make_record(gemm="other")], "new")]
    page = Page(render_page(runs, [], {}))
    assert "old and new have no exact, timed record in common" in page.texts("p")


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
    assert "area·time" in page.texts("th")
