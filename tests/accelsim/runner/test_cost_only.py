"""``product: none``: operations and costs are counted, nothing is multiplied."""

import json

import pytest
from pydantic import ValidationError

from accelsim.cli import main
from accelsim.config import load_config
from accelsim.records import Record, RunFolder, Status
from accelsim.report.designs import cheapest, designs
from accelsim.report.summary import summary
from accelsim.runner import run
from gemm_backends.emulator.backend import Emulator

CONFIG = """
workloads: [{{synthetic: {{n: 24, d: 48, h: 16, heavy_hitters: {{fraction: 0.02, scale: 50}}}}}}]
quantize: {{beta: 15}}
unpack: {{bits: [4, 8], strategy: {strategy}}}
backends:
  - {{name: emulator, array: [8, 8], memory: {{sram_kb: 4, bandwidth: {{dram: 8}}}}}}
timing: {{repeats: 1, warmup: 0, prepared: {prepared}}}
product: {product}
"""


@pytest.fixture
def records(tmp_path):
    def of(product, strategy="mix", prepared="[]"):
        path = tmp_path / f"{product}.yaml"
        path.write_text(CONFIG.format(product=product, strategy=strategy, prepared=prepared))
        config = load_config(path)
        folder = tmp_path / f"out-{product}-{strategy}-{prepared}"
        with RunFolder.open(folder, config.to_dict(), config.config_hash, False, True) as out:
            return run(config, out, lambda *_: None)

    return of


COUNTED = (
    "ratio", "strategy_chosen", "dense_macs", "low_bit_macs", "executed_macs", "shift_adds",
    "products", "max_digits_a", "out_of_bound_a", "cycles", "compute_cycles", "stall_cycles",
    "traffic", "energy_by", "relative_area", "area_time", "prepared",
)  # fmt: skip


@pytest.mark.parametrize("prepared", ["[]", "[b]"])
def test_counts_are_those_of_a_run_and_nothing_is_multiplied(records, monkeypatch, prepared):
    whole = records("integers", prepared=prepared)

    def refuse(*_):
        raise AssertionError("multiplied")

    for name in ("matmul", "matmul_report", "prepare"):
        monkeypatch.setattr(Emulator, name, refuse)
    alone = records("none", prepared=prepared)
    assert len(alone) == len(whole) == 2
    for one, other in zip(alone, whole, strict=True):
        assert one.status is Status.COUNTED
        assert not one.status.failed
        assert one.exact is None
        assert one.time_ms == {}
        assert other.status is Status.OK
        for name in COUNTED:
            assert getattr(one, name) == getattr(other, name), name
        assert one.traffic["dram"]["front_end"] > 0


def test_the_summary_says_so_and_names_the_cheapest(records):
    alone = records("none")
    text = summary(alone)
    assert text.endswith("\n2 counted, without multiplying\n")
    assert "exact" not in text.splitlines()[0]
    assert "The least area × time: " in text
    assert cheapest(designs(alone)) is not None


def test_a_fused_route_cannot_be_counted(records):
    found = records("none", strategy="fused")
    assert {record.status for record in found} == {Status.UNSUPPORTED}
    assert "counts only what it has run" in found[0].reason


def test_the_flag_is_the_key(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG.format(product="integers", strategy="mix", prepared="[]"))
    with pytest.raises(SystemExit) as ended:
        main(["run", str(path), "--cost-only", "--format", "json"])
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert [record["status"] for record in found] == ["counted", "counted"]
    assert {record["product"] for record in found} == {"none"}


@pytest.mark.parametrize(
    "wrong", [{"product": "integers"}, {"exact": True, "mismatches": 0, "max_abs_error": 0}]
)
def test_a_record_is_counted_only_if_nothing_was_to_be_multiplied(records, wrong):
    (record, _) = records("none")
    with pytest.raises(ValidationError, match="status counted needs product none"):
        Record(**{**record.to_dict(), **wrong})


def test_a_run_in_which_every_gemm_is_refused_says_why_and_ends_with_3(tmp_path, capsys):
    path = tmp_path / "narrow.yaml"
    path.write_text(
        "workloads: {bundle: smollm2}\nquantize: {beta: 15}\nunpack: {bits: 8}\n"
        "backends: [{name: emulator, accumulator_bits: 8}]\nproduct: none\n"
        f"output: {tmp_path / 'runs'}\n"
    )
    with pytest.raises(SystemExit) as end:
        main(["run", str(path)])
    assert end.value.code == 3
    out, err = capsys.readouterr()
    assert "5 unsupported: emulator (one product of 8-bit by 8-bit digits" in " ".join(out.split())
    assert "nothing could run: smollm2.q on emulator is unsupported: one product" in err
