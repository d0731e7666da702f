"""What docs/emulator.md says of shipped runs is what their records have."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from gemm_backends import GemmSpec
from gemm_backends.cost.lanes_study import designs, table
from gemm_backends.emulator.backend import Emulator

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "emulator.md").read_text()
WIDTHS = range(2, 9)


def records(name):
    return [json.loads(line) for line in (ROOT / "results" / name / "records.jsonl").open()]


def lines(heading, first):
    """Return the cells of the tables of a section, from the one whose head begins with `first`."""
    section = TEXT.split(f"\n{heading}\n")[1].split("\n#")[0]
    rows = [
        [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        for line in section.split(first, 1)[1].split("\n\n")[0].splitlines()[2:]
    ]
    assert rows
    return rows


def summed(name, key):
    """Sum cycles, seconds, energy and low-bit products over the GEMMs of each design."""
    found = defaultdict(lambda: defaultdict(float))
    for record in records(name):
        assert record["status"] in ("ok", "counted")
        sums = found[key(record)]
        for what in ("cycles", "stall_cycles", "seconds", "energy", "low_bit_macs", "dense_macs"):
            sums[what] += record[what] or 0
        for operand, moved in record["traffic"].get("dram", {}).items():
            sums["dram", operand] += moved
        for part, joules in (record["energy_by"] or {}).items():
            sums["energy", part] += joules
        sums["area"] = record["relative_area"]
        sums["mm2"] = record["area_mm2"]
    for sums in found.values():
        sums["area_time"] = sums["area"] * sums["cycles"]
    return found


def check_row(cells, values):
    """Each cell has its value over the least one; the least is bold, so `strip` left its digits."""
    least = min(values)
    assert [float(cell) for cell in cells] == [
        pytest.approx(value / least, abs=0.00501) for value in values
    ]


def test_which_b_is_cheapest():
    found = {
        key: sums
        for folder in ("design-space", "design-space-127")
        for key, sums in summed(
            folder, lambda r: (r["beta"], r["bits"], r["backend_options"]["accumulator_bits"])
        ).items()
    }
    for name, *cells in lines("## Which b is cheapest?", "| b | 2 |"):
        beta = float(name.removeprefix("β = "))
        best = [
            min(sums["area_time"] for key, sums in found.items() if key[:2] == (beta, b))
            for b in WIDTHS
        ]
        check_row(cells, best)
    accumulators = {
        beta: min((k for k in found if k[0] == beta), key=lambda k: found[k]["area_time"])
        for beta in (15, 31, 127)
    }
    assert accumulators == {15: (15, 6, 24), 31: (31, 8, 24), 127: (127, 8, 24)}
    assert (
        min(found[127, 4, bits]["area_time"] for bits in (16, 24, 32))
        == (found[127, 4, 16]["area_time"])
    )
    for beta, b, joules in ((15, 5, 7.4), (15, 8, 11.3), (31, 6, 9.6), (31, 8, 11.6)):
        least = {
            width: min(s["energy"] for key, s in found.items() if key[:2] == (beta, width))
            for width in WIDTHS
        }
        assert least[b] * 1e6 == pytest.approx(joules, abs=0.0501)
        assert b == 8 or least[b] == min(least.values())


def test_with_memory():
    found = summed(
        "design-space-memory",
        lambda r: (r["beta"], r["backend_options"]["memory"]["bandwidth"]["dram"], r["bits"]),
    )
    beta = None
    for name, speed, *cells in lines("### With memory", "| | bytes per cycle |"):
        beta = float(name.removeprefix("β = ")) if name else beta
        check_row(cells, [found[beta, float(speed), b]["area_time"] for b in WIDTHS])
    at_16 = {key: sums for key, sums in found.items() if key[1] == 16}
    shares = [sums["stall_cycles"] / sums["cycles"] for sums in at_16.values()]
    assert (round(100 * min(shares)), round(100 * max(shares))) == (76, 87)
    eight, four = at_16[15, 16, 8], at_16[15, 16, 4]
    memory = [
        sum(sums["energy", part] for part in ("sram", "dram", "leakage")) for sums in (eight, four)
    ]
    assert memory[0] / eight["energy"] == pytest.approx(0.98, abs=0.00501)
    assert [1e3 * joules for joules in memory] == pytest.approx([0.55, 1.27], abs=0.00501)
    moved = [sum(s[k] for k in list(s) if k[0] == "dram") / 1e6 for s in (four, eight)]
    assert moved == pytest.approx([18.8, 8.3], abs=0.0501)


def test_with_correction_lanes():
    made = table(designs(records("correction-lanes")))
    assert made == (ROOT / "results" / "correction-lanes" / "lanes.md").read_text()
    alone = {}
    for line in made.split("### Area x time, the array alone")[1].split("###")[0].splitlines()[4:]:
        if line:
            beta, lanes, *cells = (cell.strip().strip("*") for cell in line.strip("|").split("|"))
            alone[beta, lanes] = cells
    beta = None
    for name, lanes, *cells in lines("### With correction lanes", "| | lanes |"):
        beta = name.removeprefix("β = ") or beta
        assert cells == alone[beta, lanes]


def test_the_architects_session():
    found = summed(
        "architect",
        lambda r: (r["bits"], "search" in str(r["backend_options"]["memory"].get("mapping"))),
    )
    heading = "## A session: from a model to seconds, joules and mm²"
    for name, seconds, stalls, joules, mm2, ratio in lines(heading, "| | seconds |"):
        sums = found[int(name[0]), name.endswith("searched")]
        share = 100 * sums["stall_cycles"] / sums["cycles"]
        assert (seconds, stalls, joules, mm2, ratio) == (
            f"{sums['seconds']:.2f}",
            f"{share:.0f}%",
            f"{sums['energy']:.2f}",
            f"{sums['mm2']:.2f}",
            f"{sums['low_bit_macs'] / sums['dense_macs']:.2f}",
        )
    sums_of = {}
    for searched in (False, True):
        sums = found[4, searched]
        moved = {key[1]: sums[key] / 1e9 for key in list(sums) if key[0] == "dram"}
        sums_of[searched] = moved["c_read"] + moved["c_write"], sum(moved.values())
    assert [round(gb) for gb in sums_of[False]] == [152, 168]
    assert round(sums_of[True][0]) == 15
    shares = [
        found[4, True]["energy", part] / found[4, True]["energy"] for part in ("dram", "sram")
    ]
    assert [round(100 * share) for share in shares] == [62, 30]


def test_an_array_drains_while_it_works_unless_it_is_told_otherwise():
    """Sums leave with the next tile's first operands, by default."""
    spec = GemmSpec(8, 8, 64, 64, 64)
    plain, overlapped, drained = (
        Emulator(8, array=(8, 8), **options).cost(spec).cycles
        for options in ({}, {"drain": False}, {"drain": True})
    )
    assert plain == overlapped < drained
