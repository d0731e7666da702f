"""What an installed wheel can do outside of a checkout."""

import pytest
from outside import ROOT, Environment

SMALL = ("--set", "quantize.beta=15", "--set", "unpack.bits=8", "--set", "timing={repeats: 1}")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment with this project's wheel, and with none of its source tree."""
    environment = Environment(tmp_path_factory.mktemp("wheel"))
    environment.install(ROOT)
    return environment


def test_the_package_is_the_wheels(installed):
    assert str(installed.folder) in installed.python_says("import accelsim; print(accelsim)")


def test_shipped_configs_run_by_name(installed):
    assert "quickstart" in installed.accelsim("config", "list")
    installed.accelsim("config", "check", "parity-exact")
    said = installed.accelsim("run", "quickstart", "--backend", "cpu-int8", *SMALL)
    assert "exact" in said
    assert (installed.folder / "runs" / "quickstart" / "records.jsonl").is_file()


def test_accelerators_go_by_name(installed):
    changes = ("--set", "accelerator=tpu-v1", "--set", "product=none")
    options = ("--backend", "emulator", "-o", "tpu", *changes, *SMALL)
    assert "cycles" in installed.accelsim("run", "quickstart", *options)


def test_a_copied_config_stands_on_its_own(installed):
    installed.accelsim("config", "copy", "design-space", "-o", "mine.yaml")
    assert "mine.yaml is valid" in installed.accelsim("config", "check", "mine.yaml")
