"""The example packages from outside: built, installed, discovered, verified, run and compared."""

import json
import shutil
import subprocess
import sys

import pytest
from outside import ROOT, Environment

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """Both examples, copied away from the source tree and installed from their wheels."""
    folder = tmp_path_factory.mktemp("examples")
    for name in ("accelsim-bitserial", "accelsim-saturating-c"):
        shutil.copytree(EXAMPLES / name, folder / name)
    environment = Environment(folder)
    environment.wheels = environment.install(*sorted(folder.glob("accelsim-*")))
    return environment


def test_the_wheels_say_where_they_run(outside):
    bitserial, saturating = outside.wheels
    assert bitserial == "accelsim_bitserial-0.1.0-py3-none-any.whl"
    assert saturating.startswith("accelsim_saturating_c-0.1.0-")
    assert "linux" in saturating


def test_they_are_discovered_beside_the_built_in_ones(outside):
    rows = outside.backends()
    assert rows["bit-serial"]["available"] == rows["saturating-c"]["available"] == "yes"
    assert rows["saturating-c"]["accumulator"] == "24-bit saturate"
    assert rows["int64"]["available"] == "yes"


@pytest.mark.parametrize("arguments", [["bit-serial"], ["saturating-c"]])
def test_they_pass_the_kit(outside, arguments):
    rows = json.loads(outside.accelsim("verify", *arguments, "--format=json"))
    assert {row["result"] for row in rows} == {"passed", "skipped"}
    assert sum(row["result"] == "passed" for row in rows) >= 27


def test_the_bit_serial_one_runs_in_a_config_and_is_compared(outside):
    config = outside.folder / "accelsim-bitserial" / "compare.yaml"
    outside.accelsim("run", config, "--output", "out")
    lines = (outside.folder / "out" / "records.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert {record["status"] for record in records} == {"ok"}
    assert {record["backend"] for record in records} == {"cpu-int8", "bit-serial"}
    ours = {r["bits"]: r for r in records if r["backend"] == "bit-serial"}
    for bits, record in ours.items():
        assert record["backend_options"]["bits"] == bits
        assert record["cost_model"].startswith("bit-serial array")
        assert record["cycles"] > record["low_bit_macs"] * bits * bits / (16 * 16 * 64)
    rows = ("--rows=bits", "--values=exact,ratio,cycles", "--format=markdown")
    table = outside.accelsim("compare", "out", *rows)
    assert "bit-serial" in table
    assert "cpu-int8" in table
    assert "cycles" in table


def test_an_overflow_of_the_c_model_is_measured(outside):
    (outside.folder / "overflow.yaml").write_text(
        "workloads: {synthetic: {n: 4, d: 4096, h: 3, seed: 0}}\n"
        "quantize: {beta: 255, percentile: 100}\n"
        "backends: {name: saturating-c, accumulator_bits: 16}\n"
        "k_split: never\n"
        "timing: {repeats: 1, warmup: 0}\n"
    )
    outside.accelsim("run", "overflow.yaml", "--output", "overflow", check=1)
    record = json.loads((outside.folder / "overflow" / "records.jsonl").read_text())
    assert record["status"] == "overflow"
    assert "overflowed at" in record["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["accelsim-bitserial", "accelsim-saturating-c"])
def test_their_own_tests_pass(outside, name):
    assert "passed" in outside.run("pytest", "-q", outside.folder / name / "tests")


SIZES = ["--hidden=64", "--intermediate=128", "--heads=2", "--tokens=16"]


def timed(name, *options):
    script = [sys.executable, str(EXAMPLES / name), *SIZES, "--rounds=1", "--repeats=1", *options]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_script_that_times_layers_runs_on_a_small_shape():
    pytest.importorskip("transformers")
    shown = timed("llama_layers.py")
    assert "14 GEMMs checked, 0 inexact" in shown
    assert "integer_gemms" in shown


@pytest.mark.slow
def test_the_script_that_times_converted_layers_runs_on_a_small_shape():
    pytest.importorskip("transformers")
    found = json.loads(
        timed("exact_layers.py", "--sequence=8", "--kv-heads=2", "--betas", "63/127")
    )
    exact = found["exact 63/127"]
    assert (exact["products"], exact["inexact"]) == (14, 0)
    assert exact["bytes"] < 0.7
    assert found["bf16"]["ms"] > 0


@pytest.mark.slow
def test_the_script_that_times_single_layers_runs_on_small_shapes():
    script = [sys.executable, str(EXAMPLES / "exact_linear.py"), "--repeats=1"]
    shapes = ["--shapes", "32x96x64", "3x64x80"]
    done = subprocess.run([*script, *shapes], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[2:]
    assert len(lines) == 2
    assert all(line.split()[-1] == "0" for line in lines)
