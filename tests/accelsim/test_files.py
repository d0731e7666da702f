"""Files and folders are whole or not there."""

import multiprocessing

import pytest

from accelsim.files import commit, locked, make_once, stage_by, write_atomically


def test_what_fails_leaves_the_old_content_and_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(temporary):
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage_by(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    commit(stage_by(path, lambda temporary: temporary.write_bytes(b"new")), path)
    assert path.read_bytes() == b"new"


def test_what_is_there_is_not_made_again_and_what_fails_is_not_there(tmp_path):
    folder = tmp_path / "made"

    def fail(made):
        made.mkdir()
        (made / "half").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        make_once(folder, fail)
    assert not list(tmp_path.iterdir())

    def fill(made):
        made.mkdir()
        (made / "whole").touch()

    assert make_once(folder, fill) == folder
    assert make_once(folder, fail) == folder
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_who_is_first_wins(tmp_path):
    folder = tmp_path / "made"

    def fill_late(made):
        made.mkdir()
        folder.mkdir()
        (folder / "first").touch()

    assert make_once(folder, fill_late) == folder
    assert [path.name for path in folder.iterdir()] == ["first"]


def test_a_lock_is_waited_for(tmp_path):
    path = tmp_path / "lock"
    context = multiprocessing.get_context("spawn")
    inside = context.Event()
    with locked(path):
        other = context.Process(target=_hold, args=(path, inside))
        other.start()
        assert not inside.wait(2)
    assert inside.wait(60)
    other.join(60)
    assert other.exitcode == 0


def _hold(path, inside):
    with locked(path):
        inside.set()
