"""Backends that really crash, hang, leak and lie cost a record each, and the run goes on."""

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from forked import run_forked
from safetensors.torch import load_file, save_file

BAD = Path(__file__).parent / "bad_backends.py"


def command(*arguments):
    return [sys.executable, "-m", "accelsim", *map(str, arguments)]


def accelsim(*arguments, cwd=None):
    return run_forked("-m", "accelsim", *arguments, cwd=cwd)


def config(folder, backends, gemms=1, **changes):
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for number in range(gemms):
        for side, rows in (("a", 9), ("b", 7)):
            tensors[f"g{number}/{side}"] = torch.randn(rows, 40, generator=generator)
    save_file(tensors, folder / "net.safetensors")
    keys = {
        "workloads": [{"bundle": "net.safetensors"}],
        "backends": [
            name if "-" in name or name == "int64" else f"{BAD}:{name}" for name in backends
        ],
        "timing": {"repeats": 1, "warmup": 0},
        **changes,
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(keys))
    return path


def records(folder):
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def test_crashes_hangs_and_leaks_are_records(tmp_path):
    path = config(tmp_path, ["Segfault", "Hang", "LeakForever", "Exit", "int64"])
    done = accelsim(
        "run", path, "--output", tmp_path / "out", "--isolate", "--timeout", 15,
        "--memory-limit", 1.2,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    found = {r["backend"]: r for r in records(tmp_path / "out")}
    assert {name: r["status"] for name, r in found.items()} == {
        "segfault": "error",
        "hang": "timeout",
        "leak-forever": "error",
        "exit": "error",
        "int64": "ok",
    }
    assert "SIGSEGV" in found["segfault"]["reason"]
    assert "within 15 s" in found["hang"]["reason"]
    assert "GiB" in found["leak-forever"]["reason"]
    assert "exit status 7" in found["exit"]["reason"]
    assert all(r["operands_sha256"] for r in found.values())


@pytest.mark.slow
def test_a_process_that_leaked_in_earlier_records_is_replaced(tmp_path):
    path = config(tmp_path, ["Leak"], gemms=12)
    done = accelsim(
        "run", path, "--output", tmp_path / "out", "--isolate", "--memory-limit", 1.2
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert [r["status"] for r in records(tmp_path / "out")] == ["ok"] * 12


def test_poison_is_a_record_and_never_exact(tmp_path):
    names = ["SystemExits", "Nan", "Shape", "Nothing", "Spoils", "int64"]
    done = accelsim("run", config(tmp_path, names, timing={"repeats": 2, "warmup": 0}),
                    "--output", tmp_path / "out")  # fmt: skip
    assert done.returncode == 1
    found = {r["backend"]: r for r in records(tmp_path / "out")}
    for name in ("system-exit", "nan", "shape", "nothing"):
        assert found[name]["status"] == "error", found[name]
        assert found[name]["reason"]
    # Each repeat unpacks afresh, so operands that a backend has spoilt hurt nobody.
    assert found["spoils"]["status"] == "ok"
    assert found["int64"]["status"] == "ok"


def test_what_an_isolated_backend_prints_stays_off_stdout(tmp_path):
    done = accelsim("run", config(tmp_path, ["Prints"]), "--output", tmp_path / "out",
                    "--isolate", "--format", "json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["status"] == "ok"
    assert "noise" in done.stderr


@pytest.mark.parametrize(
    ("backend", "n", "h", "d"),
    [("WrongInTiles", 4, 3, 1), pytest.param("WrongCorner", 1, 1, 1, marks=pytest.mark.slow)],
)
def test_the_first_mismatch_is_minimised_and_its_replay_shows_it(tmp_path, backend, n, h, d):
    path = config(tmp_path, [backend], quantize={"beta": 15}, unpack={"bits": 8})
    done = accelsim("run", path, "--output", tmp_path / "out")
    assert done.returncode == 1, done.stderr
    (record,) = records(tmp_path / "out")
    small = record["minimised"]
    assert (small["n"], small["h"], small["d"]) == (n, h, d)
    assert small["config"] in done.stdout
    operands = load_file((tmp_path / "out" / small["config"]).with_suffix(".safetensors"))
    assert {tuple(x.shape) for x in operands.values()} == {(n, d), (h, d)}
    replay = accelsim("run", tmp_path / "out" / small["config"], cwd="/")
    assert replay.returncode == 1, replay.stderr
    (again,) = records((tmp_path / "out" / small["config"]).with_suffix("").parent
                       / (Path(small["config"]).stem + "-replay"))  # fmt: skip
    assert again["status"] == "inexact"
    assert again["n"] == n
    assert again["minimised"] is None  # it is minimal already, and no folder is inside a folder
    assert "the scale 1" in (tmp_path / "out" / small["config"]).read_text()


def test_timeout_without_isolate_is_refused(tmp_path):
    done = accelsim("run", config(tmp_path, ["int64"]), "--timeout", 5)
    assert done.returncode == 2
    assert "--isolate" in done.stderr


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interrupt_ends_after_the_current_record(tmp_path, number):
    path = config(tmp_path, ["int64"], gemms=40, timing={"repeats": 3, "warmup": 0})
    out = tmp_path / "out"
    run = command("run", path, "--output", out)
    with subprocess.Popen(run, stderr=subprocess.PIPE, text=True) as process:
        while not (out / "records.jsonl").exists() or not records(out):
            time.sleep(0.05)
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "continue with --resume" in rest
    assert 1 <= len(records(out)) < 40
    assert accelsim("run", path, "--output", out, "--resume").returncode == 0
    assert len({r["gemm"] for r in records(out)}) == len(records(out)) == 40


@pytest.mark.slow
def test_a_second_run_into_the_same_folder_is_refused(tmp_path):
    path, out = config(tmp_path, ["Hang"]), tmp_path / "out"
    with subprocess.Popen(
        command("run", path, "--output", out), stderr=subprocess.DEVNULL
    ) as first:
        while not (out / "run.json").exists():
            time.sleep(0.05)
        second = accelsim("run", path, "--output", out, "--resume")
        first.kill()
    assert second.returncode == 2
    assert "another run is writing" in second.stderr


def limit_files(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_full_disk_loses_no_record(tmp_path):
    path, out = config(tmp_path, ["int64"], gemms=8), tmp_path / "out"
    run = command("run", path, "--output", out)
    full = subprocess.run(run, capture_output=True, text=True, preexec_fn=limit_files(8_000))
    assert full.returncode == 1
    assert "records are safe: continue with --resume" in full.stderr
    assert "Traceback" not in full.stderr
    kept = records(out)
    assert 1 <= len(kept) < 8
    assert accelsim("run", path, "--output", out, "--resume").returncode == 0
    assert records(out)[: len(kept)] == kept
    assert len(records(out)) == 8


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path):
    done = accelsim("run", config(tmp_path, ["int64"]), "--output", "/proc/nothing")
    assert done.returncode == 2
    assert "cannot write to /proc/nothing" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_children_die_with_a_killed_parent(tmp_path):
    path = config(tmp_path, ["Hang"])
    run = command("run", path, "--output", tmp_path / "out", "--isolate")
    with subprocess.Popen(run, stderr=subprocess.DEVNULL) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end, spawned = time.monotonic() + 120, set()
        while not spawned and time.monotonic() < end:
            before = set(children.read_text().split())
            time.sleep(3)
            # What ends by itself, such as a question to Git, is no worker.
            spawned = before & set(children.read_text().split())
        process.kill()
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in spawned) and time.monotonic() < end:
        time.sleep(0.05)
    assert spawned
    assert not [pid for pid in spawned if Path(f"/proc/{pid}").exists()]
