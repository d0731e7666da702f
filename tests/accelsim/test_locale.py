"""Text is UTF-8, whatever the locale says."""

import json
import locale

import pytest
from click.testing import CliRunner

from accelsim.cli import cli

CONFIG = """
# μ-bench, für alle Größen
workloads: [{synthetic: {n: 8, d: 16, h: 8, seed: 0}}]
quantize: {beta: 15}
unpack: {bits: 4, strategy: row, digits: balanced}
backends: [emulator]
timing: {repeats: 1, warmup: 0}
accelerator: own.yaml
output: %s
"""
ACCELERATOR = "# Größe in μm\narray: [4, 4]\n"


@pytest.fixture
def ascii_only():
    """Text without an encoding is ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    locale.setlocale(locale.LC_ALL, "C")
    yield
    locale.setlocale(locale.LC_ALL, before)


def records(folder, output):
    """Run a config, render its page, and return the records."""
    (folder / "own.yaml").write_text(ACCELERATOR, "utf-8")
    (folder / "config.yaml").write_text(CONFIG % output, "utf-8")
    for command in (
        ["run", str(folder / "config.yaml")],
        ["report", str(output), "--output", str(output) + ".html"],
    ):
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output
    lines = (output / "records.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.skipif(locale.getencoding() != "UTF-8", reason="the locale is not UTF-8 as it is")
def test_files_are_read_and_written_in_an_ascii_locale(tmp_path, ascii_only):
    found = records(tmp_path, tmp_path / "one")
    assert found
    assert all(record["exact"] and record["cycles"] > 0 for record in found)
    page = (tmp_path / "one.html").read_text("utf-8")
    assert len(page) > 10_000
