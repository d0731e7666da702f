"""The accelerators that come with the suite, and files of one's own."""

from pathlib import Path

import pytest

from accelsim.errors import InputError
from accelsim.plugins.shipped import shipped_files
from gemm_backends import GemmSpec, load_backend
from gemm_backends.cost.accelerators import accelerator_options, list_accelerators


@pytest.mark.parametrize("name", list_accelerators())
def test_every_accelerator_can_be_made_and_has_every_figure(name, tmp_path):
    options = accelerator_options(name, tmp_path)
    backend = load_backend("emulator", bits=8, **options)
    cost = backend.cost(GemmSpec(8, 8, 64, 512, 512))
    assert cost.peak_macs == options["array"][0] * options["array"][1] * options.get("tree", 1)
    assert cost.cycles > cost.stall_cycles > 0
    assert cost.seconds > 0
    assert {"sram", "dram", "leakage"} <= set(cost.energy_by_pj)
    assert cost.area_um2 > 0


@pytest.mark.parametrize("name", list_accelerators())
def test_every_number_has_a_source(name):
    text = shipped_files("accelerators")[name].read_text()
    assert "# Source: " in text


def test_peaks_are_those_of_the_publications():
    """92 TOPS of the TPU; 33.6 billion multiply-adds of Eyeriss; 624 TOPS of an A100's 432."""

    def operations(name):
        options = accelerator_options(name, Path())
        peak = load_backend("emulator", bits=8, **options).cost(GemmSpec(8, 8, 1, 1, 1)).peak_macs
        return 2 * peak * options["memory"]["frequency_mhz"] * 1e6

    assert operations("tpu-v1") == pytest.approx(92e12, rel=0.01)
    assert operations("eyeriss") / 2 == pytest.approx(33.6e9)
    assert 432 * operations("tensor-core") == pytest.approx(624e12, rel=0.01)


def test_a_file_of_one_s_own(tmp_path):
    (tmp_path / "mine.yaml").write_text("array: [4, 4]\n")
    assert accelerator_options("mine.yaml", tmp_path) == {"array": [4, 4]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu-v2", "unknown accelerator 'tpu-v2'; did you mean 'tpu-v1'"),
        ("none.yaml", "accelerator 'none.yaml' cannot be read"),
        ("list.yaml", "must hold a mapping of options"),
        ("broken.yaml", "accelerator 'broken.yaml' is no YAML"),
    ],
)
def test_wrong_accelerators(tmp_path, name, message):
    (tmp_path / "list.yaml").write_text("[1, 2]\n")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(InputError, match=message):
        accelerator_options(name, tmp_path)
