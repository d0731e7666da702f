"""Configs and bundles that come with the suite go by name, and are copied to start from."""

from pathlib import Path

import pytest

from accelsim.cli import main
from accelsim.config import load_config
from accelsim.config.shipped import copied_config, describe_config, find_config
from accelsim.errors import InputError
from accelsim.parity.configs import load_eval_config
from accelsim.plugins.shipped import shipped_files, shipped_folder
from workloads import bundle_path, shipped_bundles


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return exit_.value.code or 0


def test_a_config_goes_by_its_name():
    assert load_config("quickstart").path == shipped_folder() / "quickstart.yaml"
    assert load_eval_config("parity-exact").path == shipped_folder() / "parity-exact.yaml"


def test_a_file_comes_before_a_name():
    Path("quickstart").write_text("mine")
    Path("smollm2").write_text("mine")
    assert find_config("quickstart") == Path("quickstart")
    assert bundle_path(Path(), "smollm2") == Path("smollm2")


def test_a_folder_is_no_bundle():
    Path("smollm2").mkdir()
    assert bundle_path(Path(), "smollm2") in shipped_bundles()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("quickstat", "did you mean 'quickstart'"),
        ("configs/quickstart.yaml", "goes by its name: quickstart"),
        ("mine.yaml", "^mine.yaml: there is no such file$"),
        ("folder/quickstart", "^folder/quickstart: there is no such file$"),
    ],
)
def test_a_config_that_is_not_there(path, message):
    with pytest.raises(InputError, match=message):
        load_config(path)


def test_a_bundle_that_is_not_there():
    with pytest.raises(InputError, match="did you mean 'smollm2'"):
        bundle_path(Path(), "smollm")
    assert bundle_path(Path("a"), "smollm.safetensors") == Path("a/smollm.safetensors")


@pytest.mark.parametrize("name", shipped_files())
def test_a_copy_of_a_config_says_what_the_config_says(name):
    assert run("config", "copy", name) == 0
    copied = Path(f"{name}.yaml")
    assert describe_config(copied) == describe_config(shipped_files()[name])
    assert f"configs/{name}.yaml" not in copied.read_text()
    schema = copied.read_text().splitlines()[0].rpartition("=")[2]
    assert Path(schema).is_file()


def test_a_copy_runs_what_the_config_runs():
    assert run("config", "copy", "quickstart", "-o", "mine.yaml") == 0
    assert load_config("mine.yaml").config_hash == load_config("quickstart").config_hash
    assert "accelsim run mine.yaml" in Path("mine.yaml").read_text()


def test_a_copy_replaces_no_file_unasked(capsys):
    Path("quickstart.yaml").write_text("mine")
    assert run("config", "copy", "quickstart") == 2
    assert "is there already" in capsys.readouterr().err
    assert Path("quickstart.yaml").read_text() == "mine"
    assert run("config", "copy", "quickstart", "--overwrite") == 0
    assert Path("quickstart.yaml").read_text() == copied_config(
        "quickstart", Path("quickstart.yaml")
    )


def test_the_list_has_every_config_with_its_command(capsys):
    assert run("config", "list", "--format", "csv") == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == list(shipped_files())
    assert next(row for row in rows if row.startswith("parity-exact,")).split(",")[1] == (
        "accelsim eval"
    )


def test_workloads_take_a_bundle_by_name(capsys):
    assert run("workloads", "list", "minilm") == 0
    assert "minilm.up.dx" in capsys.readouterr().out
