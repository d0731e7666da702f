"""Runs on a Dask cluster: the records of a serial run, though a worker is killed midway."""

import json
import os
import signal
import threading
import time
from functools import partial

import pytest

from accelsim.cli import main
from accelsim.config import load_config
from accelsim.errors import InputError
from accelsim.plugins.extras import how_to_install
from accelsim.records import Record, RunFolder, load_run, record_key
from accelsim.runner import run
from accelsim.runner.makers import task
from accelsim.runner.makers.job import Job

CONFIG = """\
workloads:
  - synthetic: {n: 9, d: 16, h: 7, seed: 0, heavy_hitters: {fraction: 0.02, scale: 50}}
quantize: {beta: [15, 255]}
unpack: {bits: [3, 8], strategy: [row, mix]}
backends: [int64, emulator]
timing: {repeats: 2, warmup: 0}
output: out
"""

TIMED = (
    "time_ms", "samples_ms", "baselines", "baseline_samples_ms", "timing", "tops", "effective_tops",
    "speedup_vs",
)  # fmt: skip


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG)
    return path


def job(path, **changes):
    config = load_config(path)
    return Job(**{"path": str(path), "overrides": (), "backends": (),
                  "config_hash": config.config_hash} | changes)  # fmt: skip


def plain(records):
    return {
        record_key(record): {k: v for k, v in record.to_dict().items() if k not in TIMED}
        for record in records
    }


def ignore(step):
    pass


def serial(path, folder):
    config = load_config(path)
    with RunFolder.open(folder, config.to_dict(), config.config_hash) as opened:
        return run(config, opened, ignore)


def test_a_task_makes_the_record_of_a_serial_run(path, tmp_path):
    expected = list(plain(serial(path, tmp_path / "serial")).values())
    for number in (0, 7, 15):
        record = task.make_record(job(path), number, neighbours=3)
        assert record["timing"]["neighbours"] == 3
        assert record["time_ms"]["total"]["median"] > 0
        found = {k: v for k, v in record.items() if k not in TIMED}
        assert found == expected[number] | {"operands_sha256": None}


def test_records_made_at_the_same_time_in_one_process_have_no_times(path, monkeypatch):
    this = job(path)
    task.devices(this)
    bench = task.process.load(this).bench
    both = threading.Barrier(2)
    make = bench.record

    def late(case):
        made = make(case)
        if case is task.process.load(this).cases[0]:
            both.wait(timeout=60)
        return made

    monkeypatch.setattr(bench, "record", late)
    found = {}
    first = threading.Thread(target=lambda: found.update(a=task.make_record(this, 0, 0)))
    second = threading.Thread(target=lambda: found.update(b=task.make_record(this, 1, 0)))
    first.start()
    second.start()
    while task.process.active < 2:
        time.sleep(0.01)
    both.wait(timeout=60)
    first.join()
    second.join()
    assert [found[name]["status"] for name in "ab"] == ["ok", "ok"]
    assert [found[name]["time_ms"] for name in "ab"] == [{}, {}]
    assert [found[name]["timing"] for name in "ab"] == [None, None]
    assert task.make_record(this, 2, 0)["time_ms"]


def test_a_worker_refuses_another_config(path):
    with pytest.raises(InputError, match="is another config on a worker"):
        task.make_record(job(path, config_hash="other"), 0, 0)


def test_a_record_without_times_is_a_record(make_record):
    bare = make_record().without_times()
    assert not bare.time_ms
    assert Record.from_json(bare.to_json()) == bare


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--isolate", "--scheduler", "local"], "exclude each other"),
        (["--scheduler", "tcp://127.0.0.1:1"], "cannot reach the scheduler tcp://127.0.0.1:1"),
    ],
)
def test_what_cannot_be_is_one_message(path, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr("accelsim.runner.makers.dask.CONNECT_S", 1)
    monkeypatch.chdir(path.parent)
    with pytest.raises(SystemExit) as exit_:
        main(["run", str(path), *arguments])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
    assert not (path.parent / "out").exists()


def test_a_run_without_its_scheduler_leaves_what_it_was_to_overwrite(path, monkeypatch):
    monkeypatch.setattr("accelsim.runner.makers.dask.CONNECT_S", 1)
    out = path.parent / "out"
    serial(path, out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(SystemExit) as exit_:
        main(
            [
                "run",
                str(path),
                "--output",
                str(out),
                "--overwrite",
                "--scheduler",
                "tcp://127.0.0.1:1",
            ]
        )
    assert exit_.value.code == 2
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_the_extra_is_named_where_distributed_is_missing(path, capsys, monkeypatch):
    monkeypatch.setattr("accelsim.runner.makers.dask.find_spec", lambda name: None)
    monkeypatch.chdir(path.parent)
    with pytest.raises(SystemExit) as exit_:
        main(["run", str(path), "--scheduler", "local"])
    assert exit_.value.code == 2
    assert (
        f"--scheduler needs distributed: {how_to_install('distributed')}\n"
        in capsys.readouterr().err
    )


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, resources={"CPU": 1}, dashboard_address=None
    ) as cluster:
        yield cluster


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(path, cluster, tmp_path):
    """One of two processes is killed while it works; its task is run again."""
    from accelsim.runner.makers.dask import Dask

    expected = serial(path, tmp_path / "serial")
    config = load_config(path)
    victim = next(iter(cluster.workers.values())).pid
    killed = []

    def kill(step):
        if step.done == 5:
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)

    with RunFolder.open(tmp_path / "often", config.to_dict(), config.config_hash) as folder:
        records = run(config, folder, kill, partial(Dask, cluster.scheduler_address))
    assert killed
    assert [record_key(r) for r in records] == [record_key(r) for r in expected]
    assert plain(records) == plain(expected)
    assert all(record.timing.neighbours == 1 for record in records)
    written = load_run(tmp_path / "often").records
    assert len(written) == len(expected)
    run_json = json.loads((tmp_path / "often" / "run.json").read_text())
    assert len(run_json["sessions"][0]["worker_machines"]) == 1


@pytest.mark.slow
def test_workers_without_resources_are_refused(path, tmp_path):
    distributed = pytest.importorskip("distributed")
    from accelsim.runner.makers.dask import Dask

    config = load_config(path)
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as bare,
        RunFolder.open(tmp_path / "out", config.to_dict(), config.config_hash) as folder,
        pytest.raises(InputError, match="no worker offers CPU=1: start workers with"),
    ):
        run(config, folder, ignore, partial(Dask, bare.scheduler_address))
