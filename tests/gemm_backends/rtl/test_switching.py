"""What netlists switch: counted by hand, and the committed table."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accelsim.errors import InputError
from gemm_backends.cost import energy
from gemm_backends.rtl import switching_table
from gemm_backends.rtl.simulate import to_bits
from gemm_backends.rtl.switching import CAPACITANCE, switching
from gemm_backends.rtl.synthesis import Component

BUNDLES = [
    Path(__file__).parents[3] / "workloads" / "data" / f"{name}.safetensors"
    for name in ("smollm2", "minilm")
]


def test_a_gate_charges_the_pins_behind_its_nets():
    """One AND gate: its two inputs are its only load, whose changes are counted by hand."""
    pins = json.loads(CAPACITANCE.read_text())["cells"]["AND2X1"]
    data = np.array([[0], [1], [1], [0], [1]], np.uint8)
    enabled = np.array([[0], [0], [1], [1], [1]], np.uint8)
    found = switching(Component("gate", (("W", 1),)), {"in": data, "enabled": enabled})
    assert found.outputs["out"].tolist() == [[0], [0], [1], [0], [1]]
    loads = sorted([(3 * pins["A"] + pins["B"]) / 4, (pins["A"] + 3 * pins["B"]) / 4])
    assert found.data == pytest.approx(loads[0]) or found.data == pytest.approx(loads[1])
    assert found.clock == 0


def test_a_register_takes_the_clock_twice():
    pins = json.loads(CAPACITANCE.read_text())["cells"]["DFFPOSX1"]
    still = np.zeros((100, 1), np.uint8)
    inputs = {"in": still, "reset": still, "out": still}
    found = switching(Component("skew", (("W", 1), ("DELAY", 1))), inputs, "out")
    assert found.clock == pytest.approx(2 * pins["CLK"])
    assert found.data == 0


def test_a_port_without_bits_is_an_error():
    with pytest.raises(ValueError, match="gate_W1 needs bits of enabled"):
        switching(Component("gate", (("W", 1),)), {"in": np.zeros((4, 1), np.uint8)})


def test_the_table_is_what_netlists_switch():
    assert switching_table.compare(BUNDLES, [2]).endswith("equal")


def test_a_figure_that_differs_is_found(monkeypatch):
    table = energy.load_switching()
    rows = [{**row, "data_pf": row["data_pf"] * 1.01} for row in table.rows]
    monkeypatch.setattr(switching_table, "load_switching", lambda: replace(table, rows=rows))
    with pytest.raises(InputError, match=r"not in the table: .*multiplier"):
        switching_table.compare(BUNDLES, [2])


def test_a_netlist_that_computes_something_else_is_found(monkeypatch):
    wrong = switching_table.to_bits
    monkeypatch.setattr(switching_table, "to_bits", lambda v, w: wrong(np.asarray(v) ^ 1, w))
    seen = {2: switching_table.Stream(*(np.array([1, 0, -1, 1]),) * 4, np.zeros(4, np.float32))}
    with pytest.raises(InputError, match="multiplier_A2_B2: the netlist computes something else"):
        list(switching_table.rows(seen, [2]))


def test_bits_are_those_of_integers():
    assert to_bits([2, -1], 3).tolist() == [[0, 1, 0], [1, 1, 1]]
