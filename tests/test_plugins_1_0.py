"""Plug-ins written for version 1.0 of the plug-in API run unchanged, and give what they gave.

``tests/plugins_1_0`` has backends, strategies and a workload source as they stood in the examples,
the template and the documentation of that version, and one strategy that uses what they do not.
They are never edited. ``records.json`` is what the accelsim of that time found with them.
"""

import json
import shutil

from forked import run_forked
from outside import ROOT, Environment

PLUGINS = ROOT / "tests" / "plugins_1_0"
THEN = json.loads((PLUGINS / "records.json").read_text())
NAMES = {
    "accelsim_plugins_1_0/planes.py:Planes": "planes",
    "accelsim_plugins_1_0/planes.py:Planes(more=1)": "planes(more=1)",
    "accelsim_plugins_1_0/cheaper.py:Cheaper": "cheaper",
}


def found(folder):
    """Return what the records of a run say that a record of that time says too."""
    lines = (folder / "records.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        record["strategy"] = NAMES.get(record["strategy"], record["strategy"])
    return [{key: record[key] for key in then} for record, then in zip(records, THEN, strict=True)]


def test_they_run_from_their_files(tmp_path):
    shutil.copytree(PLUGINS, tmp_path, dirs_exist_ok=True)
    done = run_forked("-m", "accelsim", "run", "by_file.yaml", "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert found(tmp_path / "out") == THEN


def test_they_run_from_a_package(tmp_path):
    package = tmp_path / "package"
    shutil.copytree(PLUGINS, package)
    environment = Environment(tmp_path)
    environment.install(package)
    environment.accelsim("run", package / "by_name.yaml", "--output", "out")
    assert found(tmp_path / "out") == THEN
