"""Runs through a backend's own route, products in floats, and routes that are wrong on purpose."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from accelsim.config import load_config
from accelsim.records import Record, record_key
from accelsim.runner.bench import CaseBench
from accelsim.runner.cases import list_cases

FILE = Path(__file__).parents[1] / "routes" / "fused_int64.py"


def records(folder, backend, dtype=torch.float32, **changes):
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(9, 40, generator=generator), torch.randn(7, 40, generator=generator)
    a[:, 3] *= 60
    save_file({"net/a": a.to(dtype), "net/b": b.to(dtype)}, folder / "net.safetensors")
    keys = {
        "workloads": "[{bundle: net.safetensors}]",
        "quantize": "{beta: 255}",
        "unpack": "{strategy: fused}",
        "backends": f"['{backend}']",
        "baselines": "[fp32]",
        "timing": "{repeats: 2, warmup: 0}",
        **changes,
    }
    path = folder / "run.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in keys.items()))
    config = load_config(path)
    bench = CaseBench(config)
    return [bench.record(case) for case in list_cases(config, config.gemms())]


@pytest.mark.parametrize("product", ["integers", "float"])
@pytest.mark.parametrize("prepared", ["[]", "[a]", "[b]", "[a, b]"])
def test_a_backends_own_route(tmp_path, product, prepared):
    timing = f"{{repeats: 2, warmup: 1, prepared: {prepared}}}"
    (record,) = records(tmp_path, f"{FILE}:Fused", product=product, timing=timing)
    assert (record.status, record.reason) == ("ok", "")
    assert (record.strategy, record.strategy_chosen, record.block) == ("fused", "int64", None)
    dequantize = ["dequantize"] if product == "float" else []
    assert [*record.time_ms] == ["quantize", "gemm", *dequantize, "total"]
    assert record.time_ms["total"].repeats == len(record.samples_ms["quantize"]) == 2
    assert str(record.prepared).replace("'", "") == prepared
    assert record.judged == "its only kernel"
    assert (record.product, record.replans) == (product, 0)
    assert record.speedup_vs["fp32"] > 0
    assert Record.from_json(record.to_json()) == record


@pytest.mark.parametrize("route", ["LastRun", "FirstOperand", "Stale"])
@pytest.mark.parametrize("product", ["integers", "float"])
@pytest.mark.parametrize("repeats", [1, 3])
def test_a_route_that_keeps_what_it_should_not_is_inexact(tmp_path, route, product, repeats):
    timing = f"{{repeats: {repeats}, warmup: 0}}"
    (record,) = records(tmp_path, f"{FILE}:Fused{route}", product=product, timing=timing)
    assert (record.status, record.exact) == ("inexact", False)
    assert record.mismatches


def test_without_a_route_of_its_own_a_backend_is_unsupported(tmp_path):
    (record,) = records(tmp_path, "int64")
    assert (record.status, record.reason) == ("unsupported", "backend 'int64' has no fused route")
    (record,) = records(tmp_path, f"{FILE}:Fused", torch.float16)
    assert (record.status, record.reason) == (
        "unsupported",
        "takes float32, not torch.float16",
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_the_product_in_floats(tmp_path, dtype):
    unpack = "{strategy: [row, mix]}"
    found = records(tmp_path, "int64", dtype, product="float", unpack=unpack)
    for record in found:
        assert (record.status, record.reason) == ("ok", "")
        stages = ["quantize", "unpack", "prepare", "gemm", "pack", "dequantize", "total"]
        assert [*record.time_ms] == stages
        parts = [record.samples_ms[stage] for stage in stages[:-1]]
        sums = [sum(repeat) for repeat in zip(*parts, strict=True)]
        assert record.samples_ms["total"] == pytest.approx(sums)


def test_a_stage_that_no_record_knows_is_an_error(tmp_path):
    (record,) = records(tmp_path, f"{FILE}:FusedLunch")
    assert record.status == "error"
    assert "unknown stage 'lunch'" in record.reason


def test_floats_that_are_rounded_twice_are_inexact(tmp_path):
    (record,) = records(tmp_path, f"{FILE}:FusedShortened", product="float")
    assert (record.status, record.exact) == ("inexact", False)
    assert "floats are not the exact product divided and rounded once" in record.reason
    assert record.mismatches
    (record,) = records(tmp_path, f"{FILE}:FusedShortened", product="integers")
    assert record.status == "ok"


def test_what_was_really_prepared(tmp_path):
    timing = "{repeats: 2, warmup: 1, prepared: [a, b]}"
    unpack = "{strategy: [row, column]}"
    rows, columns = records(tmp_path, "int64", timing=timing, unpack=unpack)
    assert rows.prepared == ["a", "b"]
    assert columns.prepared == [], "A's heavy column is written twice, and B's beside it"
    (plain,) = records(tmp_path, "int64", unpack="{strategy: row}")
    assert plain.prepared == []


def test_records_from_before_read_as_what_they_were(tmp_path):
    (record,) = records(tmp_path, "int64", unpack="{strategy: row}")
    old = record.to_dict()
    new = ("zero_alpha", "product", "prepared", "replans", "scale_exponent", "judged")
    for name in new:
        del old[name]
    read = Record.model_validate(old)
    assert (read.product, read.zero_alpha, read.prepared) == ("integers", "error", None)
    assert read.key == record.key
    for name, value in (("product", "float"), ("zero_alpha", "nonzero")):
        assert record_key({**record.to_dict(), name: value}) != record.key
