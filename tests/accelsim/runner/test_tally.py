"""Counts without multiplying: operands are unpacked once, and sketches are scaled."""

import pytest
import torch

from accelsim.config import load_config
from accelsim.records import RunFolder, Status
from accelsim.report.problems import verdict
from accelsim.routes.sketched import Scaling
from accelsim.runner import run, tally
from accelsim.runner.cases import list_cases
from accelsim.types import PerOperand
from workloads.drawing import Drawing
from workloads.models.drawn import drawn_gemm
from workloads.profile import shipped_profile
from workloads.synthetic import Synthetic

CONFIG = """
workloads: [{{model: llama-2-7b, tokens: 96, gemms: [{gemms}]}}]
quantize: {{beta: 15}}
unpack: {{bits: [4, 8], strategy: mix}}
backends:
  - {{name: emulator, array: [16, 16], memory: {{sram_kb: 16, bandwidth: {{dram: 8}}}}}}
  - {{name: emulator, array: [16, 16], dataflow: weight-stationary}}
timing: {{prepared: [b]}}
product: none
"""
ONE = "layers.0.attention.qk"


@pytest.fixture
def config(tmp_path):
    def of(gemms=ONE):
        path = tmp_path / "c.yaml"
        path.write_text(CONFIG.format(gemms=gemms))
        return load_config(path)

    return of


def counts(config, lines, monkeypatch):
    monkeypatch.setattr(tally, "sampled_rows", lambda *_: PerOperand.both(lines))
    counter = tally.CaseCounter(config, lambda gemm, device: gemm.load())
    cases = list_cases(config, config.gemms())
    return [counter.count(case, torch.device("cpu")) for case in cases]


def test_a_sample_gives_about_what_all_rows_give(config, monkeypatch):
    sampled, full = (counts(config(), lines, monkeypatch) for lines in (48, 1000))
    assert full[0][0]["ratio"] > 1.1
    for (some, said), (whole, _) in zip(sampled, full, strict=True):
        assert some["dense_macs"] == whole["dense_macs"] == 32 * 96 * 128 * 96
        assert some["ratio"] == pytest.approx(whole["ratio"], rel=0.15)
        assert some["cycles"] == pytest.approx(whole["cycles"], rel=0.15)
        assert said.endswith("scaled from 1 of 32 matrices, 48 of 96 rows of A, 48 of 96 rows of B")
        assert some["ratio_basis"] == whole["ratio_basis"] == "sampled"  # of one matrix of 32


def test_all_rows_are_no_sample(monkeypatch, config):
    """A GEMM that has no more rows than are drawn is counted as one whose operands are given."""
    settings = config()
    (case, *_) = list_cases(settings, settings.gemms())
    gemm = case.gemm
    shape = (gemm.n, gemm.d, gemm.h)
    single = drawn_gemm("w", "x", "linear", "", "forward", None, shape, shipped_profile())
    operands = single.sketch.draw(PerOperand.both(96))
    given = type(single)("w", "x", "linear", "", "forward", 1, *shape, load=lambda: operands)
    counter = tally.CaseCounter(settings, lambda gemm, device: gemm.load())
    found = [
        counter.count(type(case)(one, *vars_of(case)), torch.device("cpu"))[0]
        for one in (single, given)
    ]
    assert [fields.pop("ratio_basis") for fields in found] == ["drawn", "counted"]
    assert found[0] == found[1]


def vars_of(case):
    return case.quantize, case.unpack, case.choice, case.backend, case.product


def test_layers_of_a_kind_share_their_counts_and_nothing_is_drawn_whole(
    config, monkeypatch, tmp_path
):
    drawn = []
    draw = Drawing.draw
    monkeypatch.setattr(Drawing, "draw", lambda self: drawn.append(self.shape) or draw(self))
    monkeypatch.setattr(tally, "sampled_rows", lambda *_: PerOperand.both(32))
    settings = config("'layers.[01].attention.[qo]', 'layers.1.down'")
    folder = tmp_path / "out"
    with RunFolder.open(folder, settings.to_dict(), settings.config_hash) as out:
        records = run(settings, out, lambda *_: None)
    assert len(records) == 5 * 4
    assert {record.status for record in records} == {Status.COUNTED}
    assert {record.ratio_basis for record in records} == {"sampled"}
    assert f"{len(records)} of them scaled from a sample" in verdict(records)
    assert drawn == 4 * [(32, 4096)] + 2 * [(32, 11008)]
    by_name = {(r.gemm, r.bits, r.backend_options["dataflow"]): r.cycles for r in records}
    for key, cycles in by_name.items():
        if key[0].endswith(("q", "o")):
            assert cycles == by_name[f"layers.0.attention.{key[0][-1]}", *key[1:]]
    assert all(record.operands_sha256 is None for record in records)


def test_operands_that_are_given_are_unpacked_once_for_all_backends(tmp_path, monkeypatch):
    path = tmp_path / "c.yaml"
    text = CONFIG.format(gemms=ONE).replace(
        "{model: llama-2-7b, tokens: 96, gemms: [" + ONE + "]}", "{synthetic: {n: 9, d: 20, h: 7}}"
    )
    path.write_text(text)
    settings = load_config(path)
    calls = []
    unpacked = tally.general_route

    def counted(*args):
        route = unpacked(*args)
        own = route.unpacked
        route.unpacked = lambda operands: calls.append(1) or own(operands)
        return route

    monkeypatch.setattr(tally, "general_route", counted)
    assert len(counts(settings, 8, monkeypatch)) == 4
    assert len(calls) == 2
    assert Synthetic(n=9, d=20, h=7).gemm().sketch is None


def test_a_sample_has_all_columns_and_one_matrix():
    with pytest.raises(ValueError, match="all columns and one matrix"):
        Scaling((1, 8, 16, 8), (1, 16, 32, 16))
    with pytest.raises(ValueError, match="all columns and one matrix"):
        Scaling((2, 8, 16, 8), (4, 16, 16, 16))
