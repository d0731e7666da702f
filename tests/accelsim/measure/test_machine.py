"""What is said about the machine."""

import json
import platform
import subprocess
import sys

import pytest
import torch

import accelsim
from accelsim.measure import machine as module
from accelsim.measure.machine import environment, git_state
from accelsim.records import RunFolder, load_run

SMI_ROW = "GPU-11111111-2222, 580.1, 700.00, 1980, 1980, [N/A]\n"


@pytest.fixture(scope="module")
def machine():
    return environment()


def test_it_is_plain_json_and_does_not_name_the_machine(machine):
    text = json.dumps(machine, allow_nan=False)
    assert json.loads(text) == machine
    assert platform.node() not in text.split('"')


def test_versions_and_cpu_are_those_of_this_process(machine):
    assert machine["accelsim"] == accelsim.__version__
    assert machine["torch"] == torch.__version__
    assert machine["cpu"]["torch_threads"] == torch.get_num_threads()
    assert machine["cpu"]["torch_capability"] == torch.backends.cpu.get_cpu_capability()
    assert machine["cpu"]["usable_cores"] >= 1
    assert machine["memory_bytes"] > 2**28


def test_the_isa_is_read_from_the_flags(monkeypatch):
    facts = {"model name": "Imaginary 9000", "flags": "fpu avx2 avx512_vnni amx_int8 avx512fp16"}
    monkeypatch.setattr(module, "_cpuinfo", lambda: facts)
    cpu = environment()["cpu"]
    assert cpu["model"] == "Imaginary 9000"
    assert cpu["isa"] == ["avx2", "avx512_vnni", "amx_int8"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_gpu_is_no_error(machine):
    assert (machine["gpus"], machine["driver"], machine["cuda"]) == ([], None, None)


def test_nvidia_smi_is_read_and_what_it_does_not_know_is_none(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{SMI_ROW.strip()}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert module._nvidia_smi() == [
        {
            "uuid": "GPU-11111111-2222",
            "driver": "580.1",
            "power_limit_w": 700.0,
            "sm_clock_mhz": 1980.0,
            "sm_clock_max_mhz": 1980.0,
            "memory_clock_mhz": None,
        }
    ]


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'"])
def test_a_failing_nvidia_smi_is_no_error(tmp_path, monkeypatch, script):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert module._nvidia_smi() == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_is_described(machine):
    assert machine["cuda"] == torch.version.cuda
    assert len(machine["gpus"]) == torch.cuda.device_count()
    for gpu in machine["gpus"]:
        assert gpu["sm_count"] > 0
        assert gpu["memory_bytes"] > 2**30


def git(path, *words):
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *identity, "-C", str(path), *words], check=True, capture_output=True)


def test_the_commit_is_that_of_accelsims_own_checkout(tmp_path, monkeypatch):
    package = tmp_path / "accelsim"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr("accelsim.measure.machine.PACKAGE", package)
    assert git_state() is None
    git(tmp_path, "init")
    # Installed inside some other project's checkout: its commit says nothing about accelsim.
    git(tmp_path, "commit", "--allow-empty", "-m", "empty")
    assert git_state() is None
    git(tmp_path, "add", "accelsim")
    git(tmp_path, "commit", "-m", "first")
    clean = git_state()
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (package / "__init__.py").write_text("changed = 1\n")
    assert git_state() == {"commit": clean["commit"], "dirty": True}


def test_a_machine_without_git_has_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_state() is None


def test_a_run_keeps_the_machine_clock_and_times(tmp_path, machine):
    with RunFolder.open(tmp_path / "run", {}, "hash") as folder:
        folder.finish("")
    run = load_run(tmp_path / "run")
    assert run.machine["cpu"] == machine["cpu"]
    assert "perf_counter" in run.sessions[0]["clock_source"]["cpu"]
    assert run.sessions[0]["start"] <= run.sessions[0]["end"]


def test_reading_results_imports_neither_torch_nor_cuda():
    code = "import sys, accelsim.records, accelsim.cli.compare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
