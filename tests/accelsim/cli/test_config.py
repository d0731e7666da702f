"""``accelsim config schema`` and ``accelsim config check``."""

import json
import re

import pytest

from accelsim.cli import main

CONFIG = """\
workloads:
  - synthetic: {n: 24, d: 32, h: 16, seed: 0}
quantize: {beta: [15, 31]}
unpack: {bits: [4, 8], strategy: mix}
backends: [int64, emulator]
timing: {repeats: 3, warmup: 1}
output: out
"""


@pytest.fixture
def config(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(["config", *map(str, arguments)])
        captured = capsys.readouterr()
        return exit_.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def test_the_schema_is_json(config):
    code, out, _ = config("schema")
    assert code == 0
    assert "workloads" in json.loads(out)["properties"]


def test_check_says_what_would_run_and_writes_nothing(config, file):
    code, out, _ = config("check", file)
    assert code == 0
    assert f"{file} is valid: 8 records" in out
    assert "1 GEMMs (1 of synthetic), from 24×32×16" in out
    assert "2 ways to round, 2 to unpack, 2 backends" in out
    assert "int64: on cpu" in out
    assert re.search(r"about [\d.]+ s and [\d.]+ GiB of memory", out)
    assert [path.name for path in file.parent.iterdir()] == ["config.yaml"]


def test_check_takes_what_run_takes(config, file):
    code, out, _ = config("check", file, "--set", "unpack.bits=8", "--backend", "int64")
    assert code == 0
    assert "valid: 2 records" in out


def test_check_names_the_place_of_a_mistake(config, file):
    file.write_text(CONFIG.replace("repeats", "repeat"))
    code, out, err = config("check", file)
    assert code == 2
    assert not out
    assert f"{file}:6:" in err
    assert "did you mean 'repeats'?" in err
