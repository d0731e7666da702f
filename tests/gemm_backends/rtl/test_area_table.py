"""The committed table of areas against synthesis, and the netlists against the emulator."""

import json

import pytest

from accelsim.errors import InputError
from gemm_backends import load_backend
from gemm_backends.actions import added_actions
from gemm_backends.cost import area
from gemm_backends.rtl import area_table, netlists
from gemm_backends.rtl.synthesis import Component

FEW = [
    Component("skew", (("W", 1), ("DELAY", 1))),
    Component("multiplier", (("A", 4), ("B", 4))),
    Component("multiplier", (("A", 8), ("B", 3))),
    Component("accumulator", (("P", 8), ("W", 16), ("SATURATE", 0))),
    Component("accumulator", (("P", 4), ("W", 12), ("SATURATE", 1))),
    Component("mac", (("A", 4), ("B", 4), ("W", 12), ("SATURATE", 0))),
    Component("shift_add", (("W", 8), ("S", 64))),
]


def test_some_areas_are_what_synthesis_gives():
    assert area_table.compare(FEW).startswith(f"{len(FEW)} of ")


@pytest.mark.slow
def test_all_areas_are_what_synthesis_gives():
    (action,) = (a for a in added_actions("emulator") if a.flag == "area")
    (outcome,) = action.run(load_backend("emulator"))
    assert outcome.status == "passed", outcome.detail
    assert json.loads(area_table.table()) == json.loads(area.TABLE.read_text())


def test_the_table_holds_all_that_is_to_be_synthesized_and_nothing_else():
    rows = area.load_table().rows
    wanted = {(c.module, tuple(sorted(c.parameters))) for c in area_table.components()}
    assert rows.keys() == wanted


def changed_table(monkeypatch, **about):
    table = area.load_table()
    rows = dict(table.rows)
    rows["multiplier", (("A", 4), ("B", 4))] *= 1.05
    changed = area.AreaTable({**table.about, **about}, rows)
    monkeypatch.setattr(area_table, "load_table", lambda: changed)


def test_an_area_that_differs_is_found(monkeypatch):
    changed_table(monkeypatch)
    with pytest.raises(InputError, match=r"multiplier_A4_B4: area 2259, and 2371\.95 in the"):
        area_table.compare(FEW)


def test_another_version_of_yosys_may_differ_a_little(monkeypatch):
    changed_table(monkeypatch, pyosys="0.1")
    assert "equal to 4.8%, by another version of Yosys" in area_table.compare(FEW)


def test_a_table_of_other_sources_is_refused(monkeypatch):
    changed_table(monkeypatch, sources_sha256="0")
    with pytest.raises(InputError, match="of other sources"):
        area_table.compare(FEW)


@pytest.mark.parametrize(
    "widths",
    [pytest.param(range(2, 5), id="small"), pytest.param(range(2, 9), marks=pytest.mark.slow)],
)
def test_netlists_equal_the_emulator(widths):
    assert "exhausted" in netlists.prove(widths)
