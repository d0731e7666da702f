"""What docs/emulator.md says of areas and options is what the code has."""

import inspect
import re
from pathlib import Path

import pytest

from gemm_backends.cost import area
from gemm_backends.emulator.backend import Emulator
from gemm_backends.rtl.backend import RtlSystolic

DOCS = Path(__file__).parents[3] / "docs"


def test_the_areas_of_the_documentation_are_those_of_the_table():
    text = (DOCS / "emulator.md").read_text()
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
    table = area.load_table()

    def mac(b):
        return table.exact("mac", {"A": b, "B": b, "W": 32, "SATURATE": 0})

    assert [int(b) for b, _, _ in rows] == list(range(2, 17))
    for b, multiplier, whole in rows:
        found = area.multiplier(int(b), int(b)).value / area.multiplier(8, 8).value
        assert float(multiplier) == pytest.approx(found, abs=6e-4)
        assert float(whole) == pytest.approx(mac(int(b)) / mac(8), abs=6e-4)


@pytest.mark.parametrize(("page", "backend"), [("emulator.md", Emulator), ("rtl.md", RtlSystolic)])
def test_every_option_is_documented(page, backend):
    text = (DOCS / page).read_text()
    named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    options = set(inspect.signature(backend.__init__).parameters) - {"self"}
    assert options <= named
