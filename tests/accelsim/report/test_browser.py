"""A page of 10,000 records in a real headless Chromium."""

import shutil
import time

import pytest

from accelsim.report.figures import draw
from accelsim.report.html import render_page

sync_api = pytest.importorskip("playwright.sync_api", reason="needs accelsim[browser]")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]

RECORDS = "#grid-records"


@pytest.fixture(scope="module")
def path(make_record, make_run, sweep, tmp_path_factory):
    records = [
        make_record(
            total_ms=1 + (index * 37 % 10_007) / 7, gemm=f"layers.{index // 40}.q",
            bits=2 + index % 8, strategy=("mix", "row", "column", "both", "block")[index // 8 % 5],
            gemm_bytes=2048, low_bit_macs=4096 + index, ratio=1 + index / 4096,
            out_of_bound_a=index % 99, out_of_bound_b=index % 7,
        )
        for index in range(10_000)
    ]  # fmt: skip
    runs = [make_run(records)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_page(runs, *draw(runs)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, path):
    """Open the page and return it with all that the console said and all that was asked for."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(120_000)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    yield page, said, asked
    context.close()


def cells(page, title):
    """Return the texts of a column as they stand in the page."""
    place = shown_heads(page).index(title)
    return page.locator(f"{RECORDS} tbody tr td:nth-child({place + 1})").all_inner_texts()


def test_it_stays_small_and_opens_without_a_word_or_the_network(path, opened):
    page, said, asked = opened
    assert path.stat().st_size < 10_000_000
    assert not said
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert page.locator("h1").inner_text() == "first"
    assert "10000 of 10000 exact" in page.locator("#verdict").inner_text()


def test_it_sorts_by_number_and_back(opened):
    page, said, _ = opened
    head = page.get_by_role("columnheader", name="total")
    of_records = page.locator(RECORDS).get_by_role("button", name="total", exact=True)
    of_records.click()
    values = [float(text) for text in cells(page, "total")]
    assert values[0] == 1.0
    assert values == sorted(values)
    of_records.click()
    values = [float(text) for text in cells(page, "total")]
    assert values == sorted(values, reverse=True)
    assert values[0] > 1000
    assert head.last.get_attribute("aria-sort") == "descending"
    assert not said


def test_it_filters_by_words_and_by_choice_and_shows_more_rows(opened):
    page, said, _ = opened
    grid = page.locator(RECORDS)
    status = grid.get_by_role("status")
    assert status.inner_text() == "10000 rows, 100 shown"
    grid.get_by_label("find").fill("layers.7.q")
    assert status.inner_text() == "40 of 10000 rows"
    assert set(cells(page, "GEMM")) == {"layers.7.q"}
    grid.get_by_role("combobox", name="strategy").select_option("column")
    assert status.inner_text() == "8 of 10000 rows"
    assert set(cells(page, "strategy")) == {"column"}
    grid.get_by_label("find").fill("")
    assert status.inner_text() == "2000 of 10000 rows, 100 shown"
    grid.get_by_role("button", name="100 more rows").click()
    assert len(cells(page, "GEMM")) == 200
    grid.get_by_role("button", name="all rows").click()
    assert len(cells(page, "GEMM")) == 2000
    assert not said


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_tables_and_not_the_page(browser, path, scheme):
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.locator(f"{RECORDS} .scroll").evaluate("e => e.scrollWidth > e.clientWidth")
    colours = page.locator("body").evaluate(
        "e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]"
    )
    assert contrast(*colours) >= 7
    context.close()


def shown_heads(page):
    return page.locator(f"{RECORDS} thead th:visible").all_inner_texts()


def test_heads_show_that_they_sort_and_stay_in_sight(opened):
    page, _, _ = opened
    head = page.locator(RECORDS).get_by_role("button", name="total", exact=True)
    mark = head.evaluate("e => getComputedStyle(e, '::after').content")
    assert "↕" in mark
    head.click()
    assert "▲" in head.evaluate("e => getComputedStyle(e, '::after').content")
    scroll = page.locator(f"{RECORDS} .scroll")
    before = head.bounding_box()["y"] - scroll.bounding_box()["y"]
    scroll.evaluate("e => e.scrollTo(0, 500)")
    assert scroll.evaluate("e => e.scrollTop") == 500
    assert head.bounding_box()["y"] - scroll.bounding_box()["y"] == pytest.approx(before, abs=1)


def test_columns_are_shown_and_hidden_by_choice(opened):
    page, said, _ = opened
    grid = page.locator(RECORDS)
    assert "MACs" not in shown_heads(page)
    assert "total" in shown_heads(page)
    widths = page.locator(f"{RECORDS} tbody tr").first.locator("td")
    count = widths.count()
    grid.locator(".columns summary").click()
    grid.get_by_role("checkbox", name="MACs").check()
    grid.get_by_role("checkbox", name="total").uncheck()
    assert "MACs" in shown_heads(page)
    assert "total" not in shown_heads(page)
    assert widths.count() == count
    page.keyboard.press("Escape")
    assert not grid.get_by_role("checkbox", name="MACs").is_visible()
    assert not said


def test_heads_sort_by_keyboard(opened):
    page, _, _ = opened
    head = page.locator(RECORDS).get_by_role("button", name="total", exact=True)
    head.focus()
    for key, order in (("Enter", "ascending"), (" ", "descending")):
        page.keyboard.press(key)
        parent = page.locator(f"{RECORDS} thead th[aria-sort]")
        assert parent.inner_text() == "total"
        assert parent.get_attribute("aria-sort") == order


def test_no_match_says_so(opened):
    page, _, _ = opened
    page.locator(RECORDS).get_by_label("find").fill("zzz")
    assert page.locator(f"{RECORDS} tbody").inner_text() == "no row matches"


@pytest.mark.parametrize("width", [1400, 400])
def test_tables_fit_or_visibly_scroll(browser, path, width):
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for grid in page.locator(".grid").all():
        cut = grid.locator(".scroll").evaluate("e => e.scrollWidth - e.clientWidth > 2")
        assert ("cut" in grid.locator(".frame").get_attribute("class").split()) is cut
        assert grid.get_by_text("more columns to the right").is_visible() is cut
        if width == 1400:
            assert not cut
    context.close()


@pytest.mark.parametrize(("width", "shown"), [(1400, ".wide"), (400, ".narrow")])
def test_figures_have_a_narrow_version_and_are_not_cut(browser, path, width, shown):
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(path.as_uri())
    drawings = page.locator(".drawing").all()
    assert drawings
    for drawing in drawings:
        assert drawing.locator(shown).is_visible()
        assert drawing.locator(":scope > div:visible").count() == 1
        assert drawing.evaluate("e => e.scrollWidth <= e.clientWidth")
        sizes = drawing.locator(f"{shown} svg text").evaluate_all(
            "es => es.map(e => e.getBoundingClientRect().height)"
        )
        assert min(sizes) >= 7
    context.close()


def test_it_prints_without_controls_and_in_full_width(browser, path):
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(path.as_uri())
    page.emulate_media(media="print")
    assert not page.locator(".controls").first.is_visible()
    assert not page.locator("nav").is_visible()
    assert page.locator(f"{RECORDS} .scroll").evaluate("e => getComputedStyle(e).overflow") == (
        "visible"
    )
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    # Chromium does not repeat a head that holds a form control on every page.
    assert page.locator("thead :is(button, input, select)").count() == 0
    context.close()


def test_how_fast_it_opens(browser, path, record_property):
    """The time is told, not judged: the machine may be busy."""
    page = browser.new_page()
    start = time.perf_counter()
    page.goto(path.as_uri())
    record_property("seconds", time.perf_counter() - start)
    assert page.locator(f"{RECORDS} tbody tr").count() == 100
    page.close()


def contrast(one, other):
    """Return the contrast ratio of two ``rgb(r, g, b)`` (WCAG 2, 1.4.3)."""
    light, dark = sorted(map(luminance, (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
