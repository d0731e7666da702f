"""What limits the modelled accelerators of a run."""

import pytest

from accelsim.cli import main
from accelsim.records import load_run
from accelsim.report.brief import brief
from accelsim.report.designs import designs
from accelsim.report.limits import limits


def run(folder, *options, accumulator_bits=18, memory=""):
    config = folder / "config.yaml"
    config.write_text(f"""
workloads: [{{synthetic: {{n: 32, d: 512, h: 32}}}}]
quantize: {{beta: 31}}
unpack: {{bits: [5, 8]}}
backends: [{{name: emulator, accumulator_bits: {accumulator_bits}{memory}}}]
timing: {{repeats: 1, warmup: 0}}
output: {folder / "run"}
""")
    with pytest.raises(SystemExit) as exit_:
        main(["run", str(config), *options])
    assert not exit_.value.code
    return load_run(folder / "run").records


def test_a_narrow_accumulator_is_named_with_the_pieces_of_k(tmp_path):
    narrow, wide = run(tmp_path), run(tmp_path, "--overwrite", accumulator_bits=32)
    assert [record.k_pieces for record in wide] == [1, 1]
    assert limits(designs(wide)) == []
    five, eight = narrow
    assert 1 < five.k_pieces < eight.k_pieces <= 64
    assert eight.products == eight.k_pieces  # all fits 8 bits, so that there was one product
    (words,) = limits(designs(narrow))
    assert words.startswith("With 18-bit accumulators K is cut into up to ")
    assert f"{eight.k_pieces} pieces at 8 bits (" in words
    assert "wider accumulators may be cheaper" in " ".join(brief(narrow).split())


def test_the_bound_and_the_stalls_are_said(tmp_path):
    memory = ", memory: {sram_kb: 64, bandwidth: {dram: 4}}"
    records = run(tmp_path, accumulator_bits=32, memory=memory)
    stalls = [f"{r.stall_cycles / r.cycles:.1%}" for r in records]
    front = sorted(
        round(100 * r.traffic["dram"]["front_end"] / sum(r.traffic["dram"].values()))
        for r in records
    )
    assert front[0] > 0
    assert limits(designs(records)) == [
        "DRAM bounds 1 of 1 GEMMs of each design.",
        f"{max(r.stall_cycles / r.cycles for r in records):.0%} of the cycles of 8 bits, emulator* "
        f"are stalls; {front[1]}% of the bytes of DRAM are for the front end.",
        f"{front[0]} to {front[1]}% of the bytes of DRAM are the front end's, which reads the "
        "operands in floats and writes their digits.",
    ]
    printed = brief(records, width=100).splitlines()
    for record, share in zip(records, stalls, strict=True):
        (row,) = (line for line in printed if line.startswith(f"{record.bits} "))
        assert share in row.split()
        assert "DRAM" in row.split()
    roofline = records[0].roofline
    computing = records[0].model_copy(
        update={"roofline": roofline.model_copy(update={"bound": "compute"})}
    )
    assert limits(designs([computing]))[0] == (
        f"DRAM bounds 0 of 1 GEMMs; {records[0].stall_cycles / records[0].cycles:.0%} of the "
        "cycles are stalls."
    )
    assert limits(designs([computing, records[1]]))[0] == (
        "DRAM bounds 0 of 1 GEMMs of 5 bits, emulator*, 1 of 1 GEMMs of 8 bits, emulator*."
    )
    (row,) = (line for line in brief([computing]).splitlines() if " compute " in line)
    assert stalls[0] in row


def test_rates_per_cycle_are_those_of_the_rooflines(tmp_path):
    memory = ", memory: {sram_kb: 64, bandwidth: {dram: 4}}"
    records = run(tmp_path, accumulator_bits=32, memory=memory)
    for record, design in zip(records, designs(records), strict=True):
        assert design.attained == pytest.approx(record.roofline.achieved)
        assert design.attainable == pytest.approx(record.roofline.attainable)
        assert design.peak == pytest.approx(32 * 32)
        assert design.ratio == pytest.approx(record.ratio)
    twice = [records[0], records[0].model_copy(update={"gemm": "other"})]
    (both,) = designs(twice)
    assert both.attainable == pytest.approx(records[0].roofline.attainable)
    assert both.bound_by_dram == (2, 2)


def test_wider_accumulators_are_not_proposed_where_the_run_has_them(tmp_path):
    narrow, wide = run(tmp_path), run(tmp_path, "--overwrite", accumulator_bits=32)
    (words,) = limits(designs([*narrow, *wide]))
    assert words.startswith("With 18-bit accumulators K is cut into up to ")
    assert "wider accumulators" not in words
    other = [
        r.model_copy(update={"backend_options": {**r.backend_options, "tree": 2}}) for r in wide
    ]
    assert "wider accumulators may be cheaper" in limits(designs([*narrow, *other]))[0]
    others = [record for record in wide if record.bits == 5]
    (words,) = limits(designs([*(r for r in narrow if r.bits == 8), *others]))
    assert "wider accumulators may be cheaper" in words


def test_what_was_only_counted_is_not_called_exact(tmp_path):
    assert "Least area × time, no product wrong: " in brief(run(tmp_path))
    counted = brief(run(tmp_path, "--cost-only", "--overwrite"))
    assert "Least area × time, no product wrong: " in counted
    assert " exact" not in counted


def test_a_search_is_named_where_digits_and_sums_are_waited_for(tmp_path):
    options = "array: [8, 8], dataflow: weight-stationary"
    sizes = "sram_kb: {a: 2, b: 2, c: 2}, bandwidth: {dram: 1}"
    default = run(tmp_path, memory=f", {options}, memory: {{{sizes}}}", accumulator_bits=32)
    (stalls,) = (words for words in limits(designs(default)) if "are stalls" in words)
    assert "% of the bytes of DRAM are for " in stalls
    assert "the front end" not in stalls
    assert stalls.endswith(
        "`mapping: {search: cycles}` in `memory` looks for a better order of tiles."
    )
    searched = run(
        tmp_path,
        "--overwrite",
        memory=f", {options}, memory: {{{sizes}, mapping: {{search: cycles}}}}",
        accumulator_bits=32,
    )
    assert not any("mapping" in words for words in limits(designs(searched)))


def test_where_nothing_ran_no_report_is_proposed(tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(f"""
workloads: [{{synthetic: {{n: 8, d: 8, h: 8}}}}]
quantize: {{beta: 31}}
unpack: {{bits: 8}}
backends: [{{name: emulator, bits: 5}}]
output: {tmp_path / "run"}
""")
    with pytest.raises(SystemExit) as exit_:
        main(["run", str(config)])
    assert exit_.value.code
    printed = capsys.readouterr().out
    assert "1 record in " in printed
    assert "Next:" not in printed


def test_sums_that_go_to_dram_name_the_rule_and_the_option(tmp_path):
    memory = ", memory: {sram_kb: 8, bandwidth: {dram: 1}}"
    (*_, record) = run(tmp_path, memory=memory)
    assert record.stall_cycles > 0.5 * record.cycles
    for part in ("c_write", "a"):
        moved = record.traffic["dram"] | {part: 1e9}
        changed = record.model_copy(update={"traffic": {**record.traffic, "dram": moved}})
        said = " ".join(limits(designs([changed])))
        assert ("are for sums." in said) == (part == "c_write")
        assert ("64-bit entries of C: in SRAM if C fits half of `sram_kb.c`" in said) == (
            part == "c_write"
        )


def test_many_designs_take_the_room_of_sentences(tmp_path):
    narrow = run(tmp_path)
    many = [r.model_copy(update={"beta": beta}) for beta in range(1, 9) for r in narrow]
    assert "is cut into" in brief(narrow)
    assert "is cut into" not in brief(many)
    assert any("is cut into" in words for words in limits(designs(many)))
    assert not any("is cut into" in words for words in limits(designs(many), short=True))
