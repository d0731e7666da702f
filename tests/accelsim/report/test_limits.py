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
    shares = sorted(round(100 * r.stall_cycles / r.cycles) for r in records)
    front = sorted(
        round(100 * r.traffic["dram"]["front_end"] / sum(r.traffic["dram"].values()))
        for r in records
    )
    assert front[0] > 0
    assert limits(designs(records)) == [
        f"In the 2 designs DRAM bounds 1 of 1 GEMMs; {shares[0]} to {shares[1]}% of the cycles "
        "are stalls.",
        f"{front[0]} to {front[1]}% of the bytes of DRAM are the front end's, which reads the "
        "operands in floats and writes their digits.",
    ]
    roofline = records[0].roofline
    computing = [records[0].model_copy(update={"roofline": roofline.model_copy(
        update={"bound": "compute"})})]  # fmt: skip
    assert limits(designs(computing))[0].startswith("DRAM bounds 0 of 1 GEMMs;")


def test_what_was_only_counted_is_not_called_exact(tmp_path):
    assert "Least area·time of the exact designs: " in brief(run(tmp_path))
    counted = brief(run(tmp_path, "--cost-only", "--overwrite"))
    assert "Least area·time of the designs counted: " in counted
    assert "exact designs" not in counted
