"""The formulas beside SCALE-Sim 3: its committed numbers, and a few that it computes anew."""

import subprocess
import venv
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from gemm_backends.cost import scalesim
from gemm_backends.cost.ring import play
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
    assert len(found) >= 63
    differences = sorted(pair.difference for pair in found)
    assert differences[len(differences) // 2] == 0
    assert differences[-1] <= 0.002


def test_cycles_and_words_from_dram_are_equal_on_more_than_two_hundred(compared):
    for quantity, count in zip(AGREES[:4], (378, 378, 378, 252), strict=True):
        found = pairs(quantity, compared)
        assert len(found) == count
        assert all(pair.ours == pair.theirs for pair in found)


def test_the_switch_gives_stalls_and_words_of_every_operand(compared):
    found = [each for each in compared if not each.estimated]
    assert len(found) == 189
    for each in found:
        s, ours = each.simulated, each.alike
        assert ours.cycles - ours.compute_cycles == s.stalls
        assert (ours.dram_a, ours.dram_b, ours.dram_c) == (s.dram_a, s.dram_b, s.dram_c)
    assert sum(s.stalls > 0 for s in (each.simulated for each in found)) >= 50


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


def test_where_its_prefetcher_reads_twice_the_own_way_reads_less(compared):
    """What docs/emulator.md says of SCALE-Sim's mode with a given bandwidth."""
    worst = max(
        (c for c in compared if not c.estimated and not c.fits),
        key=lambda c: c.simulated.dram_b / c.own.dram_b,
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
    draw = Random(0)
    for _ in range(6):
        array = draw.choice([(8, 16), (16, 8), (12, 14)])
        small = {
            str(i): (draw.randint(1, 60), draw.randint(1, 80), draw.randint(1, 60))
            for i in range(3)
        }
        kb, bandwidth = draw.choice([1, 2, 3]), draw.choice([1, 7, 10])
        flow = draw.choice(list(scalesim.DATAFLOWS))
        for s in scalesim.simulate(str(python), small, flow, kb, bandwidth, array):
            played = play(flow, *array, s.n, s.d, s.h, (1024 * kb,) * 3, bandwidth)
            assert played == (s.stalls, s.dram_a, s.dram_b, s.dram_c)
