"""The formulas beside SCALE-Sim 3: its committed numbers, and a few that it computes anew."""

import subprocess
import venv
from dataclasses import replace
from pathlib import Path

import pytest

from gemm_backends.cost import scalesim
from gemm_backends.cost.scalesim_comparison import AGREES, DIFFERS, compare, pairs, table

FOLDER = Path(__file__).parents[3] / "results" / "scalesim"


@pytest.fixture(scope="module")
def compared():
    return [compare(each) for each in scalesim.read(FOLDER / "simulated.csv")]


def test_the_grid_is_what_the_script_runs(compared):
    found = {
        (c.simulated.name, c.simulated.dataflow, c.simulated.sram_kb, c.simulated.bandwidth)
        for c in compared
    }
    assert len(found) == len(compared) == 378
    for each in compared:
        s = each.simulated
        assert scalesim.SHAPES[s.name] == (s.n, s.d, s.h)


@pytest.mark.parametrize("quantity", AGREES, ids=lambda quantity: quantity[0])
def test_formulas_agree(compared, quantity):
    found = pairs(quantity, compared)
    assert len(found) >= 126
    differences = sorted(pair.difference for pair in found)
    assert differences[len(differences) // 2] == 0
    assert differences[-1] <= 0.002


def test_cycles_are_equal_on_more_than_two_hundred(compared):
    for quantity in AGREES[:2]:
        found = pairs(quantity, compared)
        assert len(found) >= 300
        assert all(pair.ours == pair.theirs for pair in found)


def test_the_comparison_can_fail(compared):
    """SRAM of another size, or another dataflow, is seen."""
    wrong = [
        compare(replace(each.simulated, sram_kb=2 * each.simulated.sram_kb)) for each in compared
    ]
    dram_a = next(q for q in AGREES if q[0].startswith("words of A from DRAM"))
    assert any(pair.difference > 0.02 for pair in pairs(dram_a, wrong))
    turned = {"output-stationary": "weight-stationary"}
    other = [
        compare(replace(each.simulated, dataflow=turned[each.simulated.dataflow]))
        for each in compared
        if each.simulated.dataflow in turned
    ]
    assert any(pair.ours != pair.theirs for pair in pairs(AGREES[0], other))


def test_where_its_prefetcher_reads_twice_the_formulas_read_less(compared):
    """What docs/emulator.md says of SCALE-Sim's mode with a given bandwidth."""
    worst = max(
        (c for c in compared if not c.settled), key=lambda c: c.simulated.dram_b / c.dram_b
    ).simulated
    assert worst.dram_b / (worst.h * worst.d) > 25
    assert all(pairs(quantity, compared) for quantity in DIFFERS)


def test_the_committed_table_is_of_this_code(compared):
    assert (FOLDER / "table.md").read_text() == table(compared)


@pytest.mark.slow
def test_scalesim_still_says_so(tmp_path):
    """Needs a package index."""
    venv.create(tmp_path / "peer", with_pip=True)
    python = tmp_path / "peer" / "bin" / "python"
    packages = ["scalesim==3.0.0", "numpy<2", "pandas<2.3"]
    installed = subprocess.run(
        [python, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True
    )
    if installed.returncode:
        pytest.skip(f"scalesim cannot be installed here: {installed.stderr[-200:]}")
    shapes = {name: scalesim.SHAPES[name] for name in ("cube-64", "ragged", "square-96")}
    committed = scalesim.read(FOLDER / "simulated.csv")
    for dataflow in scalesim.DATAFLOWS:
        found = scalesim.simulate(str(python), shapes, dataflow, 32, None)
        assert set(found) <= set(committed)
