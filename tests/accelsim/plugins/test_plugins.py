"""Plug-ins in files, registered and installed; broken ones never stop the others."""

import json

import pytest
from click.testing import CliRunner

from accelsim import cli
from accelsim.config import load_config
from accelsim.errors import InputError
from accelsim.plugins import registry
from accelsim.unpack import Strategy, list_strategies, load_strategy, loading, register_strategy
from workloads import WorkloadSource, register_source
from workloads import sources as sources_module

PLUGINS = """
from typing import ClassVar

import torch
from gemm_backends import Accumulator, Action, Availability, GemmBackend
from accelsim.unpack import Strategy, load_strategy
from workloads import Synthetic, WorkloadSource


class Array(GemmBackend):
    name, bits, accumulator = "array", 8, Accumulator(32, "wrap")

    def __init__(self, lanes: tuple[int, int] = (1, 2)):
        assert isinstance(lanes, tuple)

    def matmul(self, a, b):
        return a.int() @ b.int().T


class Lanes(Strategy):
    name = "lanes"

    def __init__(self, method: str = "row"):
        self.inner = load_strategy(method)

    def unpack_head(self, a, b, head):
        return self.inner.unpack_head(a, b, head)


class Random(WorkloadSource):
    key: ClassVar[str] = "random"
    random: int

    def open(self, folder):
        return [Synthetic(n=self.random, d=3, h=2).gemm()]


class Exploding(Array):
    name = "exploding"

    def __init__(self):
        raise RuntimeError("no licence")


class Undecided(Array):
    name = "undecided"

    def availability(self):
        raise OSError("no such bus")

    @classmethod
    def actions(cls):
        raise OSError("no such bus")


class Vague(Array):
    name = "vague"

    def availability(self):
        return None


class Grabby(Array):
    name = "grabby"

    @classmethod
    def actions(cls):
        return [Action("verify", "junit", "Takes the command's own flag.", lambda backend: ())]
"""


@pytest.fixture
def plugins(tmp_path):
    path = tmp_path / "plugins.py"
    path.write_text(PLUGINS)
    return path


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        cli.main([str(argument) for argument in arguments])
    return end.value.code


@pytest.mark.usefixtures("plugins")
def test_a_run_of_classes_in_a_file(tmp_path, monkeypatch):
    """Paths start from the config's folder, wherever the command runs."""
    (tmp_path / "c.yaml").write_text(
        "workloads: {source: plugins.py:Random, random: 4}\n"
        "unpack: {strategy: [row, {name: plugins.py:Lanes, method: column}], bits: 4}\n"
        "quantize: {beta: 255}\n"
        "backends: [int64, {name: plugins.py:Array, lanes: [3, 4]}]\n"
        "timing: {repeats: 1, warmup: 0}\n"
    )
    monkeypatch.chdir("/")
    assert run("run", tmp_path / "c.yaml", "--output", tmp_path / "out") == 0
    lines = (tmp_path / "out" / "records.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert {record["status"] for record in records} == {"ok"}
    assert {record["strategy"] for record in records} == {
        "row",
        "plugins.py:Lanes(method='column')",
    }
    assert {record["strategy_chosen"] for record in records} == {"row/row", "column/column"}
    assert [r["backend_options"] for r in records if r["backend"] == "array"] == [
        {"lanes": [3, 4]}
    ] * 2
    config = json.loads((tmp_path / "out" / "run.json").read_text())["config"]
    assert config["workloads"] == [{"source": "plugins.py:Random", "random": 4}]
    again = tmp_path / "again.yaml"
    again.write_text(json.dumps({**config, "output": str(tmp_path / "out2")}))
    assert load_config(again).to_dict()["unpack"] == config["unpack"]


def test_a_strategy_registered_in_code(monkeypatch):
    fresh = registry.Registry("strategy", "accelsim.strategies", Strategy)
    monkeypatch.setattr(loading, "registry", fresh)

    @register_strategy
    class Twice(Strategy):
        name = "twice"

        def __init__(self, times: int = 2):
            self.times = times

        def unpack_head(self, a, b, head): ...

    assert load_strategy("twice(times=3)").times == 3
    assert "twice" in list_strategies()
    for taken in ("row/row", "fused"):
        with pytest.raises(InputError, match=f"strategy name '{taken}' is already taken"):
            register_strategy(type("Pretender", (Twice,), {"name": taken}))


def test_a_workload_source_registered_in_code(monkeypatch, tmp_path, plugins):
    fresh = registry.Registry("workload source", "accelsim.workloads", WorkloadSource)
    monkeypatch.setattr(sources_module, "registry", fresh)
    source = fresh.get(f"{plugins}:Random")
    assert register_source(source) is source
    assert fresh.get("random") is source


@pytest.fixture
def broken(monkeypatch, plugins):
    """Announce a few broken backends as if packages that provide them were installed."""
    from importlib.metadata import EntryPoint, entry_points

    from gemm_backends import loading as backends

    monkeypatch.syspath_prepend(plugins.parent)
    names = ("Array", "Exploding", "Undecided", "Vague", "Grabby", "Missing")
    entries = [EntryPoint(n.lower(), f"plugins:{n}", "accelsim.backends") for n in names]
    entries += [EntryPoint("ghost", "no_such_module:X", "accelsim.backends")]
    entries += [*entry_points(group="accelsim.backends")]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    monkeypatch.setattr(backends.registry, "_installed", None)
    yield
    backends.registry._installed = None


@pytest.mark.usefixtures("broken")
class TestBroken:
    def test_each_is_listed_with_its_own_error(self, capsys):
        assert run("backends", "--format", "json") == 0
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        assert rows["array"]["available"] == rows["int64"]["available"] == "yes"
        reasons = {
            name: row["reason"] for name, row in rows.items() if row["available"] == "broken"
        }
        assert set(reasons) == {"exploding", "undecided", "vague", "missing", "ghost"}
        assert "RuntimeError: no licence" in reasons["exploding"]
        assert "availability() raised OSError: no such bus" in reasons["undecided"]
        assert "availability() returned None" in reasons["vague"]
        assert "no attribute 'Missing'" in reasons["missing"]
        assert "No module named 'no_such_module'" in reasons["ghost"]

    def test_doctor_and_verify_go_on(self, capsys):
        assert run("doctor") == 0
        assert "no licence" in capsys.readouterr().out
        result = CliRunner().invoke(cli.cli, ["verify", "--help"])
        assert result.output.count("--junit") == 1

    def test_verify_explains_and_shows_no_traceback(self, capsys):
        assert run("verify", "undecided") == 1
        assert "availability() raised OSError: no such bus" in capsys.readouterr().err

    def test_a_run_goes_on_beside_one_that_does_not_answer(self, tmp_path, capsys):
        (tmp_path / "c.yaml").write_text(
            "workloads: {synthetic: {n: 4, d: 3, h: 2}}\nbackends: [undecided, array]\n"
            "timing: {repeats: 1, warmup: 0}\n"
        )
        out = tmp_path / "out"
        assert run("run", tmp_path / "c.yaml", "--format", "json", "--output", out) == 0
        records = json.loads(capsys.readouterr().out)
        assert [record["status"] for record in records] == ["unavailable", "ok"]
        assert "no such bus" in records[0]["reason"]
