"""The page of `accelsim invariance`: verdicts, the number of results, and every way."""

import json
from pathlib import Path

import pytest
from test_page import Page

from accelsim.errors import InputError
from accelsim.report.html.invariance import render_invariance

PUBLISHED = Path(__file__).parents[3] / "results" / "invariance" / "smollm2-2xh200.json"


def test_a_page_has_every_level_and_way():
    page = Page(render_invariance(PUBLISHED))
    verdicts = [p for p in page.of("p") if "verdict" in p.get("class", "")]
    assert [p["class"] for p in verdicts] == ["verdict good"] * 3
    assert {"1 different result", "12 different results"} <= set(page.texts("dd"))
    cells = page.texts("td")
    assert cells.count("K cut over 2 GPUs") == 1
    assert "96c0ae06ed" in cells


def test_a_level_that_is_not_shown_says_why(tmp_path):
    found = json.loads(PUBLISHED.read_text())
    found["levels"][1] = {"level": 2, "holds": False, "reasons": ["cuda did not run", "and more"]}
    file = tmp_path / "found.json"
    file.write_text(json.dumps(found))
    page = Page(render_invariance(file))
    assert any(
        "Level 2 is not established: cuda did not run; and more" in x for x in page.texts("p")
    )
    assert [p["class"] for p in page.of("p") if "bad" in p.get("class", "")] == ["verdict bad"]


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"outcomes": []}'])
def test_another_file_is_refused(tmp_path, content):
    file = tmp_path / "found.json"
    file.write_text(content)
    with pytest.raises(InputError, match=r"found\.json"):
        render_invariance(file)
