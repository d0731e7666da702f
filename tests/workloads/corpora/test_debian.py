"""Packages of Debian: downloaded or given, checked, read."""

import os

import pytest
from debian_packages import deb, described

from accelsim.errors import InputError
from workloads.models.corpora import debian
from workloads.models.corpora.debian import fetch_package, files_of

FILES = {"/usr/share/a": b"alpha", "/usr/share/b": b"beta" * 1000}


def quiet(message):
    """Say nothing."""


def test_the_files_of_a_package():
    assert dict(files_of(deb(FILES), "p")) == FILES


def test_what_is_no_package():
    for content, message in (
        (b"PK\x03\x04", "is not a package of Debian"),
        (b"!<arch>\n", "has no data.tar"),
        (deb(FILES)[:-40], "is cut off"),
    ):
        with pytest.raises(InputError, match=message):
            list(files_of(content, "p"))


def test_a_given_file_or_folder_is_checked(tmp_path):
    content = deb(FILES)
    wanted = described("thing", content)
    file = tmp_path / "thing_1_all.deb"
    file.write_bytes(content)
    assert fetch_package(wanted, tmp_path, file, quiet) == content
    assert fetch_package(wanted, tmp_path, tmp_path, quiet) == content
    file.write_bytes(content[:-1] + b"x")
    with pytest.raises(InputError, match=r"expected .* of thing 1: nothing of it was used"):
        fetch_package(wanted, tmp_path, file, quiet)
    (tmp_path / "thing_2_all.deb").write_bytes(content)
    with pytest.raises(InputError, match=r"has 2 files thing_\*\.deb"):
        fetch_package(wanted, tmp_path, tmp_path, quiet)


def test_apt_downloads_it_or_says_why_not(tmp_path, monkeypatch):
    content = deb(FILES)
    wanted = described("thing", content)
    (tmp_path / "kept.deb").write_bytes(content)
    tool = tmp_path / "bin" / "apt-get"
    tool.parent.mkdir()
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    for script, fails in (
        (f'[ "$3" = thing=1 ] && cp {tmp_path}/kept.deb thing_1_all.deb', None),
        ("echo 'E: Version 1 was not found' >&2; exit 100", "E: Version 1 was not found; give the"),
    ):
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
        folder = tmp_path / str(fails is None)
        folder.mkdir()
        if fails is None:
            assert fetch_package(wanted, folder, None, quiet) == content
        else:
            with pytest.raises(InputError, match=fails):
                fetch_package(wanted, folder, None, quiet)
    monkeypatch.setattr(debian.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"no apt-get here .*; give the file of thing 1 by --from"):
        fetch_package(wanted, tmp_path, None, quiet)
