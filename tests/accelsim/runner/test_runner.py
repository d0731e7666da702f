"""The main job, by the command a user types; all but the first are forked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from forked import run_forked
from safetensors.torch import save_file

from accelsim.config import load_config
from accelsim.runner.bench import CaseBench
from accelsim.runner.cases import list_cases

ROOT = Path(__file__).parents[3]


def accelsim(*arguments):
    return run_forked("-m", "accelsim", *arguments, cwd=ROOT)


def config(folder, backends="[emulator, int64]", **changes):
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(9, 40, generator=generator), torch.randn(7, 40, generator=generator)
    a[:, 3] *= 60
    save_file({"net/a": a, "net/b": b}, folder / "net.safetensors")
    keys = {
        "workloads": "[{bundle: net.safetensors}]",
        "quantize": "{beta: [15, 255]}",
        "unpack": "{bits: [3, 8], strategy: [row, mix]}",
        "backends": backends,
        "baselines": "[fp32]",
        "timing": "{repeats: 1, warmup: 0}",
        **changes,
    }
    path = folder / "run.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in keys.items()))
    return path


def records(folder):
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def test_a_run_is_exact_and_recorded(tmp_path):
    command = [sys.executable, "-m", "accelsim", "run", config(tmp_path)]
    done = subprocess.run(
        [*command, "--output", tmp_path / "out"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = records(tmp_path / "out")
    assert len(found) == 16
    assert all(r["status"] == "ok" and r["exact"] and r["mismatches"] == 0 for r in found)
    assert all(r["time_ms"]["total"]["median"] > 0 and r["baselines"]["fp32"] > 0 for r in found)
    assert {r["backend_options"].get("bits") for r in found if r["backend"] == "emulator"} >= {3, 8}
    assert "16 of 16 exact" in done.stdout


RAISES = """
from gemm_backends import Accumulator, GemmBackend


class Raises(GemmBackend):
    name, bits, accumulator = "raises", 8, Accumulator(32, "wrap")

    def matmul(self, a, b):
        return {}["nothing"]
"""


def test_an_exception_of_a_backend_is_a_record_with_its_place(tmp_path):
    (tmp_path / "mine.py").write_text(RAISES)
    path = config(tmp_path, "[mine.py:Raises]", quantize="{beta: 15}", unpack="{bits: 8}")
    done = accelsim("run", path, "--output", tmp_path / "out")
    assert done.returncode == 1, done.stderr
    assert "error: net, raises: KeyError: 'nothing' (mine.py:9, in matmul)" in done.stderr
    (record,) = records(tmp_path / "out")
    assert record["reason"] == "KeyError: 'nothing' (mine.py:9, in matmul)"


def test_resume_keeps_what_is_there_and_repairs_a_torn_line(tmp_path):
    path, out = config(tmp_path), tmp_path / "out"
    assert accelsim("run", path, "--output", out).returncode == 0
    lines = (out / "records.jsonl").read_text().splitlines(keepends=True)
    (out / "records.jsonl").write_text("".join(lines[:5]) + lines[5][:40])
    assert accelsim("run", path, "--output", out).returncode == 2
    resumed = accelsim("run", path, "--output", out, "--resume", "--format", "json")
    assert resumed.returncode == 0
    assert json.loads(resumed.stdout) == records(out)
    again = (out / "records.jsonl").read_text().splitlines(keepends=True)
    assert again[:5] == lines[:5]
    assert len(again) == len(lines)


@pytest.mark.skipif(torch.cuda.is_available(), reason="everything can run here")
def test_a_run_of_which_nothing_is_available_leaves_what_it_was_to_overwrite(tmp_path):
    path, out = config(tmp_path, unpack="{bits: 3}"), tmp_path / "out"
    assert accelsim("run", path, "--output", out).returncode == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    done = accelsim("run", path, "--output", out, "--overwrite", "--backend", "cuda-int8")
    assert done.returncode == 3, done.stderr
    assert f"the earlier run in {out} stays" in done.stderr
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


@pytest.mark.parametrize(("prepared", "calls"), [("[]", 6), ("[a]", 4), ("[b]", 4), ("[a, b]", 2)])
def test_prepared_operands_are_prepared_once_for_all_repeats(tmp_path, prepared, calls):
    (tmp_path / "counting.py").write_text(
        "from pathlib import Path\n"
        "from gemm_backends import Accumulator, GemmBackend\n"
        "class Counting(GemmBackend):\n"
        "    name, bits, accumulator = 'counting', 8, Accumulator(32, 'wrap')\n"
        "    def prepare(self, digits):\n"
        f"        with Path({str(tmp_path / 'calls')!r}).open('a') as calls:\n"
        "            calls.write('x')\n"
        "        return digits\n"
        "    def matmul(self, a, b):\n"
        "        return a.int() @ b.int().T\n"
    )
    path = config(
        tmp_path,
        "['counting.py:Counting']",
        unpack="{bits: 8, strategy: row}",
        quantize="{beta: 255}",
        timing=f"{{repeats: 3, warmup: 0, prepared: {prepared}}}",
    )
    done = accelsim("run", path, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert records(tmp_path / "out")[0]["exact"]
    assert len((tmp_path / "calls").read_text()) == calls


def test_what_a_backend_refuses_is_not_prepared_for_it(tmp_path):
    (tmp_path / "narrow.py").write_text(
        "from gemm_backends import Accumulator, GemmBackend\n"
        "class Narrow(GemmBackend):\n"
        "    name, bits, accumulator = 'narrow', 4, Accumulator(32, 'wrap')\n"
        "    def prepare(self, digits):\n"
        "        raise ValueError('a digit has more than 4 bits')\n"
        "    def matmul(self, a, b):\n"
        "        return a.int() @ b.int().T\n"
    )
    path = config(
        tmp_path,
        "['narrow.py:Narrow']",
        quantize="{beta: 255}",
        unpack="{bits: 8}",
        timing="{prepared: [b]}",
    )
    accelsim("run", path, "--output", tmp_path / "out")
    (record,) = records(tmp_path / "out")
    assert (record["status"], record["reason"]) == (
        "unsupported",
        "takes 4-bit digits of A, not 8-bit",
    )


def test_an_accumulator_that_is_too_narrow_splits_k_or_is_caught(tmp_path):
    backend = "[{name: emulator, accumulator_bits: 8, overflow: saturate}]"
    path = config(tmp_path, backend, unpack="{bits: 4, strategy: mix}", quantize="{beta: 15}")
    split = accelsim("run", path, "--output", tmp_path / "split")
    assert split.returncode == 0, split.stdout + split.stderr
    assert records(tmp_path / "split")[0]["products"] > 1
    kept = accelsim("run", path, "--output", tmp_path / "kept", "--set", "k_split=never")
    assert kept.returncode == 1
    assert records(tmp_path / "kept")[0]["status"] == "overflow"


def test_a_backend_that_lies_is_inexact(tmp_path):
    (tmp_path / "wrong.py").write_text(
        "from gemm_backends import Accumulator, GemmBackend\n"
        "class Wrong(GemmBackend):\n"
        "    name, bits = 'wrong', 8\n"
        "    accumulator = Accumulator(bits=32, overflow='wrap')\n"
        "    def matmul(self, a, b):\n"
        "        return (a.int() @ b.int().T) + 1\n"
    )
    path = config(tmp_path, "['wrong.py:Wrong']", unpack="{bits: 8}", quantize="{beta: 15}")
    done = accelsim("run", path, "--output", tmp_path / "out")
    assert done.returncode == 1
    (record,) = records(tmp_path / "out")
    assert (record["status"], record["exact"]) == ("inexact", False)
    assert record["mismatches"] == 63


def test_a_product_beyond_int64_is_exact_and_compared_with_float(tmp_path):
    wide = config(
        tmp_path, "[int64]", workloads="[{synthetic: {n: 3, d: 64, h: 4}}]", unpack="{bits: 8}",
        quantize="{percentile: 100, beta: 4294967000}",
    )  # fmt: skip
    loaded = load_config(wide)
    (case,) = list_cases(loaded, loaded.gemms())
    record = CaseBench(loaded).record(case)
    assert (record.status, record.reason) == ("ok", "")
    assert record.relative_error_vs_float < 1e-6


def test_nothing_available_is_exit_3_and_recorded(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU, so cuda-int8 can run")
    done = accelsim("run", config(tmp_path, "[cuda-int8]"), "--output", tmp_path / "out")
    assert done.returncode == 3
    assert {r["status"] for r in records(tmp_path / "out")} == {"unavailable"}
    assert done.stdout.startswith("nothing ran; 8 unavailable: cuda-int8 (")
    assert "Did not run:" in (tmp_path / "out" / "table.txt").read_text()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["sessions"][-1]["end"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backends": "[emulatr]"}, "emulator"),
        ({"unpack": "{bits: 17}"}, "17"),
        ({"unpack": "{bits: 1}"}, "2 to 16"),
        ({"quantize": "{beta: 0}"}, "above 0"),
        ({"unpack": "{strategy: mixx}"}, "mix"),
        ({"surprise": "1"}, "surprise"),
        ({"workloads": "[{bundle: missing.safetensors}]"}, "missing.safetensors"),
    ],
)
def test_bad_configs_end_with_one_message_and_exit_2(tmp_path, changes, message):
    done = accelsim("run", config(tmp_path, **changes), "--output", tmp_path / "out")
    assert done.returncode == 2
    assert message in done.stderr
    assert "run.yaml:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_nan_in_a_bundle_is_found_before_anything_runs(tmp_path):
    path = config(tmp_path)
    a = torch.ones(3, 4)
    a[2, 1] = float("nan")
    save_file({"net/a": a, "net/b": torch.ones(2, 4)}, tmp_path / "net.safetensors")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "records.jsonl").write_text("what an earlier run found\n")
    done = accelsim("run", path, "--output", tmp_path / "out", "--overwrite")
    assert (tmp_path / "out" / "records.jsonl").read_text() == "what an earlier run found\n"
    assert done.returncode == 2
    place = f"{path}:1:22: workloads.0.bundle: {tmp_path / 'net.safetensors'}"
    assert f"{place}: tensor 'net/a': found nan at [2, 1]" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_repeat_is_kept_and_its_circumstances_are_told(tmp_path):
    path = config(
        tmp_path, "[int64]", quantize="{beta: 15}", unpack="{bits: 8}",
        timing="{repeats: 6, warmup: 1, target_error: 1.0e-9, budget_s: 1, cache: cold}",
    )  # fmt: skip
    done = accelsim("run", path, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (record,) = records(tmp_path / "out")
    totals, summary = record["samples_ms"]["total"], record["time_ms"]["total"]
    assert len(totals) == summary["repeats"] >= 6, "the least number, and more up to the budget"
    assert sorted(totals)[0] <= summary["p25"] <= summary["median"] <= sorted(totals)[-1]
    stages = [record["samples_ms"][s] for s in ("quantize", "unpack", "prepare", "gemm", "pack")]
    assert totals == pytest.approx([sum(parts) for parts in zip(*stages, strict=True)])
    assert len(record["baseline_samples_ms"]["fp32"]) >= 6
    notes = record["timing"]
    assert (notes["cache"], notes["warmup"]) == ("cold", 1)
    assert notes["relative_error"] > 0
    assert notes["outliers"] >= 0


def test_a_wrong_first_repeat_is_found_even_if_the_last_is_right(tmp_path):
    (tmp_path / "late.py").write_text(
        "from gemm_backends import Accumulator, GemmBackend\n"
        "class Late(GemmBackend):\n"
        "    name, bits, calls = 'late', 8, 0\n"
        "    accumulator = Accumulator(bits=32, overflow='wrap')\n"
        "    def matmul(self, a, b):\n"
        "        self.calls += 1\n"
        "        return (a.int() @ b.int().T) + (self.calls == 1)\n"
    )
    path = config(
        tmp_path, "['late.py:Late']", unpack="{bits: 8}", quantize="{beta: 15}",
        timing="{repeats: 3, warmup: 0}",
    )  # fmt: skip
    assert accelsim("run", path, "--output", tmp_path / "out").returncode == 1
    (record,) = records(tmp_path / "out")
    assert record["status"] == "inexact"
    first = record["first_mismatch"]
    assert first["index"] == [0, 0, 0]
    assert first["found"] == first["expected"] + 1


def test_resume_refuses_other_operands_under_the_same_config(tmp_path):
    path, out = config(tmp_path), tmp_path / "out"
    assert accelsim("run", path, "--output", out).returncode == 0
    before = (out / "records.jsonl").read_bytes()
    save_file(
        {"net/a": torch.ones(9, 40), "net/b": torch.ones(7, 40)}, tmp_path / "net.safetensors"
    )
    done = accelsim("run", path, "--output", out, "--resume")
    assert done.returncode == 2
    assert "operands of net/net have changed" in done.stderr
    assert (out / "records.jsonl").read_bytes() == before
