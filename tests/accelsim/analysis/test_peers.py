"""GEMMs written for other tools, and, in the slow tier, read back by these tools."""

import csv
import json
import shutil
import subprocess
import sys

import pytest
import yaml

from accelsim.analysis.peers import layers
from accelsim.analysis.tools import TOOLS
from accelsim.cli import main
from accelsim.settings import Unpacking
from accelsim.types import PerOperand, Rounding, StrategyChoice
from workloads import Synthetic

CONFIG = """
workloads:
  - synthetic: {n: 24, d: 48, h: 16, heavy_hitters: {fraction: 0.02, scale: 50}}
  - synthetic: {n: 8, d: 20, h: 12}
backends: [emulator]
"""


@pytest.fixture
def export(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(CONFIG)

    def to(tool, *options):
        with pytest.raises(SystemExit) as ended:
            main(["export", "run.yaml", "--to", tool, "--bits", "4", "-o", tool, *options])
        assert ended.value.code == 0
        return tmp_path / tool

    return to


def rows(folder):
    with (folder / "gemms.csv").open(newline="") as lines:
        found = list(csv.DictReader(lines))
    names = ("n", "d", "h", "bits_a", "bits_b", "bits_c", "count")
    return [row | {name: int(row[name]) for name in names} for row in found]


def test_the_table_has_every_gemm_before_and_every_product_after(export):
    found = rows(export("csv"))
    assert [file.name for file in export("csv").iterdir()] == ["gemms.csv"]
    before = [row for row in found if row["stage"] == "before"]
    after = [row for row in found if row["stage"] == "after"]
    assert [(row["n"], row["d"], row["h"]) for row in before] == [(24, 48, 16), (8, 20, 12)]
    assert {(row["bits_a"], row["bits_b"]) for row in after} == {(4, 4)}
    assert max(row["bits_a"] for row in before) > 8
    work = sum(row["n"] * row["d"] * row["h"] * row["count"] for row in after)
    assert work > 24 * 48 * 16 + 8 * 20 * 12
    for row in found:
        largest = row["d"] * 2 ** (row["bits_a"] - 1) * 2 ** (row["bits_b"] - 1)
        assert row["bits_c"] <= largest.bit_length() + 1
        assert row["bits_c"] > max(row["bits_a"], row["bits_b"])


def test_matrices_of_a_batch_and_products_of_one_size_are_counted():
    gemm = Synthetic(n=8, d=16, h=4, batch=3).gemm()
    unpacking = Unpacking(PerOperand.both(8), "balanced", StrategyChoice("row"), None)
    found = layers([gemm], Rounding(95, 15), unpacking)
    assert [layer.count for layer in found.before] == [3]
    assert sum(layer.count for layer in found.after) == 3


def test_every_tool_gets_the_same_layers(export):
    table = rows(export("csv"))
    sizes = {
        stage: [(r["n"], r["d"], r["h"]) for r in table if r["stage"] == stage]
        for stage in ("before", "after")
    }
    for stage, expected in sizes.items():
        lines = (export("scalesim") / f"{stage}.csv").read_text().splitlines()
        assert lines[0] == "Layer, M, N, K,"
        fields = [[int(x) for x in line.split(",")[1:4]] for line in lines[1:]]
        assert [(m, k, n) for m, n, k in fields] == expected
        layer_list = yaml.safe_load((export("zigzag") / f"{stage}.yaml").read_text())
        assert [tuple(layer["loop_sizes"]) for layer in layer_list] == expected
        assert all(layer["loop_dims"] == ["B", "C", "K"] for layer in layer_list)
        workload = yaml.safe_load((export("accelforge") / f"{stage}.yaml").read_text())["workload"]
        bounds = [
            tuple(int(bound.rpartition("<")[2]) for bound in einsum["iteration_space_shape"])
            for einsum in workload["einsums"]
        ]
        assert bounds == expected


def test_a_shape_only_model_is_exported_from_a_sample(export, tmp_path, monkeypatch):
    monkeypatch.setattr("accelsim.analysis.peers.sampled_rows", lambda *_: PerOperand.both(16))
    (tmp_path / "run.yaml").write_text(
        "workloads: [{model: llama-2-7b, tokens: 64, gemms: ['layers.0.attention.qk']}]\n"
        "backends: [emulator]\n"
    )
    found = rows(export("csv"))
    assert [(r["n"], r["d"], r["h"], r["count"]) for r in found[:1]] == [(64, 128, 64, 32)]
    assert all(r["count"] % 32 == 0 for r in found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "timeloop"], "'timeloop' is not one of"),
        (["--to", "csv", "--strategy", "mixed"], "did you mean 'mix'"),
        (["--to", "csv", "--gemm", "zz"], "no GEMM matches 'zz'"),
        (["--to", "csv", "--strategy", "block", "--block", "1"], "sparse products cannot be"),
    ],
)
def test_wrong_calls(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(CONFIG)
    with pytest.raises(SystemExit) as ended:
        main(["export", "run.yaml", "-o", "out", "--bits", "4", *options])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


SCALESIM = """
import json, sys
from scalesim.topology_utils import topologies
read = topologies()
read.load_arrays(topofile=sys.argv[1], mnk_inputs=True)
print(json.dumps([
    read.get_layer_num_ofmap_px(i) * read.get_layer_window_size(i)
    for i in range(read.get_num_layers())
]))
"""

ZIGZAG = """
import json, sys, tempfile
from importlib.resources import files
from zigzag.api import get_hardware_performance_zigzag
inputs = files("zigzag") / "inputs"
found = get_hardware_performance_zigzag(
    workload=sys.argv[1],
    accelerator=str(inputs / "hardware" / "gemm_l1.yaml"),
    mapping=str(inputs / "mapping" / "gemm_l1.yaml"),
    lpf_limit=4,
    nb_spatial_mappings_generated=1,
    dump_folder=tempfile.mkdtemp(),
    loma_show_progress_bar=False,
)
assert found[0] > 0 and found[1] > 0
print(json.dumps([each.layer.total_mac_count for each, _ in found[2][0][1]]))
"""

ACCELFORGE = """
import json, sys
from accelforge import Spec
from accelforge.examples import examples
workload = Spec.from_yaml(str(examples.arches.simple), sys.argv[1]).workload
print(json.dumps([workload.n_computes(einsum.name) for einsum in workload.einsums]))
"""

PEERS = {
    "scalesim": (11, ["scalesim==3.0.0", "numpy<2", "pandas<2.3"], SCALESIM, "csv"),
    "zigzag": (11, ["zigzag-dse==3.9.1", "six"], ZIGZAG, "yaml"),
    "accelforge": (12, ["accelforge==1.0.467"], ACCELFORGE, "yaml"),
}
"""Python's minor version, packages, a program that prints multiplications by layer, a suffix."""


def _runs(python):
    found = shutil.which(python)
    return found and not subprocess.run([found, "-c", ""], capture_output=True).returncode


@pytest.mark.slow
@pytest.mark.parametrize("tool", PEERS)
def test_the_tool_reads_what_is_written_for_it(tool, export, tmp_path):
    """Needs a package index."""
    minor, packages, program, suffix = PEERS[tool]
    python = f"python3.{minor}"
    found = next(filter(_runs, (python, sys.executable)), None)
    if found is None or (found == sys.executable and sys.version_info < (3, minor)):
        pytest.skip(f"{tool} needs {python}")
    subprocess.run([found, "-m", "venv", tmp_path / "peer"], check=True)
    peer = tmp_path / "peer" / "bin" / "python"
    installed = subprocess.run(
        [peer, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True
    )
    if installed.returncode:
        pytest.skip(f"{tool} cannot be installed here: {installed.stderr[-200:]}")
    table = rows(export("csv"))
    folder = export(tool)
    for stage in ("before", "after"):
        run = subprocess.run(
            [peer, "-c", program, folder / f"{stage}.{suffix}"],
            capture_output=True,
            text=True,
            check=True,
        )
        printed = json.loads(run.stdout.splitlines()[-1])
        assert printed == [r["n"] * r["d"] * r["h"] for r in table if r["stage"] == stage]


def test_every_tool_is_loaded_somewhere():
    assert set(TOOLS) == {"csv", *PEERS}
