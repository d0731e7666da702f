"""A run folder loses nothing, mixes nothing and overwrites nothing that it should not."""

import json
import os
import resource
from contextlib import contextmanager

import pytest

from accelsim.errors import AccelsimError, InputError
from accelsim.records import RunFolder, load_run, record_key

CONFIG = {"name": "tiny", "unpack": {"bits": [4, 8]}}


@pytest.fixture(autouse=True)
def session(monkeypatch):
    """Describe the machine once, not for every folder that is opened."""
    facts = {"start": "2026-01-01T00:00:00+00:00", "end": None, "machine": {"cpu": {}}}
    monkeypatch.setattr("accelsim.records.folder._session", lambda: dict(facts))


@contextmanager
def file_size_limit(size):
    """Let no file grow beyond `size` bytes, as a full disk would, for root as well."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_run(path, records, config_hash="hash"):
    with RunFolder.open(path, CONFIG, config_hash) as folder:
        for record in records:
            folder.append(record)
        folder.finish("the table\n")


def contents(path):
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


def test_a_new_run_holds_what_was_written(tmp_path, make_record):
    records = [make_record(bits=bits) for bits in (2, 3, 4)]
    write_run(tmp_path / "deep" / "run", records)
    run = load_run(tmp_path / "deep" / "run")
    assert run.records == tuple(records)
    assert run.config == CONFIG
    assert set(contents(tmp_path / "deep" / "run")) == {"records.jsonl", "run.json", "table.txt"}
    assert (tmp_path / "deep/run/table.txt").read_text() == "the table\n"


def test_a_record_is_on_the_disk_when_append_returns(tmp_path, make_record):
    with RunFolder.open(tmp_path / "run", CONFIG, "hash") as folder:
        for count, bits in enumerate((2, 3, 4), start=1):
            folder.append(make_record(bits=bits))
            assert len(load_run(tmp_path / "run").records) == count


def test_append_waits_for_the_disk(tmp_path, make_record, monkeypatch):
    with RunFolder.open(tmp_path / "run", CONFIG, "hash") as folder:
        synced = []
        monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor)))
        folder.append(make_record())
    written = (tmp_path / "run/records.jsonl").stat()
    assert [(state.st_ino, state.st_size) for state in synced] == [
        (written.st_ino, written.st_size)
    ]


def test_cheap_records_wait_for_the_disk_once_a_second_and_at_the_end(
    tmp_path, make_record, monkeypatch
):
    synced = []
    with RunFolder.open(tmp_path / "run", CONFIG, "hash") as folder:
        folder.append(make_record(bits=2))
        monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor)))
        for bits in (3, 4, 5):
            counted = {"status": "counted", "product": "none", "reason": "asked", "exact": None}
            found = {"mismatches": None, "max_abs_error": None}
            folder.append(make_record(bits=bits, **counted, **found))
        assert len(load_run(tmp_path / "run").records) == 4
        assert not synced
    assert [state.st_size for state in synced] == [(tmp_path / "run/records.jsonl").stat().st_size]


def test_run_json_is_there_from_the_start_and_has_an_end_only_when_finished(tmp_path, make_record):
    with RunFolder.open(tmp_path / "run", CONFIG, "hash") as folder:
        started = json.loads((tmp_path / "run/run.json").read_text())
        folder.append(make_record())
    assert started["config"] == CONFIG
    assert started["config_hash"] == "hash"
    assert started["sessions"][0]["end"] is None
    assert json.loads((tmp_path / "run/run.json").read_text()) == started
    with RunFolder.open(tmp_path / "run", CONFIG, "hash", resume=True) as folder:
        folder.finish("")
    sessions = json.loads((tmp_path / "run/run.json").read_text())["sessions"]
    assert [session["end"] is None for session in sessions] == [True, False]


def test_the_same_record_twice_is_a_mistake(tmp_path, make_record):
    with RunFolder.open(tmp_path / "run", CONFIG, "hash") as folder:
        folder.append(make_record())
        with pytest.raises(ValueError, match="already"):
            folder.append(make_record(status="error", reason="second try"))
    assert len(load_run(tmp_path / "run").records) == 1


def test_a_closed_folder_takes_no_record(tmp_path, make_record):
    with RunFolder.open(tmp_path / "run", CONFIG, "hash") as folder:
        pass
    with pytest.raises(ValueError, match="closed"):
        folder.append(make_record())


class TestExistingFolder:
    def test_what_was_made_of_replaced_records_goes_with_them(self, tmp_path, make_record):
        for _ in range(2):
            with RunFolder.open(tmp_path / "run", CONFIG, "hash", overwrite=True) as folder:
                folder.append(make_record())
                found = set(contents(tmp_path / "run")) - {".lock"}
                assert found == {"records.jsonl", "run.json"}
                folder.finish("the table")
            (tmp_path / "run/report.html").write_text("a page")

    def test_is_refused_and_left_alone_without_a_flag(self, tmp_path, make_record):
        write_run(tmp_path / "run", [make_record()])
        before = contents(tmp_path / "run")
        with pytest.raises(InputError, match=r"--resume.*--overwrite"):
            RunFolder.open(tmp_path / "run", CONFIG, "hash")
        assert contents(tmp_path / "run") == before

    def test_is_used_when_it_is_empty(self, tmp_path, make_record):
        write_run(tmp_path, [make_record()])
        assert len(load_run(tmp_path).records) == 1

    def test_both_flags_exclude_each_other(self, tmp_path):
        with pytest.raises(InputError, match="exclude"):
            RunFolder.open(tmp_path / "run", CONFIG, "hash", resume=True, overwrite=True)
        assert not (tmp_path / "run").exists()

    def test_that_another_run_writes_to_is_refused(self, tmp_path, make_record):
        with RunFolder.open(tmp_path / "run", CONFIG, "hash") as folder:
            for flag in ("resume", "overwrite"):
                with pytest.raises(InputError, match="another run is writing"):
                    RunFolder.open(tmp_path / "run", CONFIG, "hash", **{flag: True})
            folder.append(make_record())
        with RunFolder.open(tmp_path / "run", CONFIG, "hash", resume=True) as folder:
            assert folder.records == (make_record(),)

    def test_of_two_new_runs_at_once_one_is_refused(self, tmp_path):
        with RunFolder.open(tmp_path / "run", CONFIG, "hash"), pytest.raises(InputError):
            RunFolder.open(tmp_path / "run", CONFIG, "hash")


def test_a_run_that_ends_before_its_first_record_leaves_nothing_in_the_way(tmp_path, make_record):
    with pytest.raises(KeyError), RunFolder.open(tmp_path / "run", CONFIG, "hash"):
        raise KeyError
    write_run(tmp_path / "run", [make_record()])


class TestOverwrite:
    @pytest.mark.parametrize(
        "start",
        [
            lambda folder, make_record: None,
            lambda folder, make_record: folder.note(text="of the new run"),
            lambda folder, make_record: folder.append(
                make_record(bits=8, status="unavailable", reason="no GPU", exact=None)
            ),
        ],
    )
    def test_leaves_the_old_run_to_one_that_does_not_start(self, tmp_path, make_record, start):
        write_run(tmp_path / "run", [make_record()])
        (tmp_path / "run/mismatches").mkdir()
        (tmp_path / "run/mismatches/x.yaml").write_text("of the old run")
        before = contents(tmp_path / "run")
        with RunFolder.open(tmp_path / "run", {}, "new", overwrite=True) as folder:
            start(folder, make_record)
            assert not folder.begun
        assert contents(tmp_path / "run") == before

    def test_of_a_run_where_nothing_is_available_keeps_the_old_one_to_the_end(
        self, tmp_path, make_record
    ):
        write_run(tmp_path / "run", [make_record()])
        before = contents(tmp_path / "run")
        with RunFolder.open(tmp_path / "run", {}, "new", overwrite=True) as folder:
            folder.append(make_record(bits=8, status="unavailable", reason="no", exact=None))
            folder.finish("a table of nothing")
        assert contents(tmp_path / "run") == before

    def test_writes_what_was_unavailable_with_the_first_record_that_is_not(
        self, tmp_path, make_record
    ):
        write_run(tmp_path / "run", [make_record()])
        missing = make_record(bits=8, status="unavailable", reason="no GPU", exact=None)
        with RunFolder.open(tmp_path / "run", {}, "new", overwrite=True) as folder:
            folder.note(text="x")
            folder.append(missing)
            folder.append(make_record(bits=5))
        run = load_run(tmp_path / "run")
        assert run.records == (missing, make_record(bits=5))
        assert json.loads((tmp_path / "run/run.json").read_text())["sessions"][0]["text"] == "x"

    def test_removes_what_only_the_old_run_could_go_on_from(self, tmp_path, make_record):
        write_run(tmp_path / "run", [make_record()])
        for name in ("mismatches", "checkpoints"):
            (tmp_path / "run" / name).mkdir()
        with RunFolder.open(tmp_path / "run", {}, "new", overwrite=True) as folder:
            folder.begin()
            assert not (tmp_path / "run/mismatches").exists()
            assert not (tmp_path / "run/checkpoints").exists()

    def test_replaces_the_run_and_no_other_file(self, tmp_path, make_record):
        write_run(tmp_path / "run", [make_record()], "old")
        (tmp_path / "run/notes.md").write_text("mine")
        (tmp_path / "run/sub").mkdir()
        (tmp_path / "run/sub/data").write_text("mine too")
        with RunFolder.open(tmp_path / "run", {"new": 1}, "new", overwrite=True) as folder:
            assert folder.records == ()
            folder.append(make_record(bits=8))
        run = load_run(tmp_path / "run")
        assert [record.bits for record in run.records] == [8]
        assert run.config == {"new": 1}
        assert set(contents(tmp_path / "run")) == {
            "records.jsonl",
            "run.json",
            "notes.md",
            "sub/data",
        }

    def test_of_nothing_is_a_new_run(self, tmp_path, make_record):
        with RunFolder.open(tmp_path / "run", CONFIG, "hash", overwrite=True) as folder:
            folder.append(make_record())
        assert len(load_run(tmp_path / "run").records) == 1

    def test_keeps_the_old_results_when_the_disk_is_full(self, tmp_path, make_record):
        write_run(tmp_path / "run", [make_record()])
        before = contents(tmp_path / "run")
        with (
            RunFolder.open(tmp_path / "run", CONFIG, "new", overwrite=True) as folder,
            file_size_limit(0),
            pytest.raises(AccelsimError, match="cannot write"),
        ):
            folder.append(make_record(bits=8))
        assert contents(tmp_path / "run") == before

    @pytest.mark.parametrize("name", ["records.jsonl", "run.json"])
    def test_leaves_no_half_written_file_when_a_folder_is_in_the_way(
        self, tmp_path, make_record, name
    ):
        (tmp_path / "run" / name / "x").mkdir(parents=True)
        with (
            RunFolder.open(tmp_path / "run", CONFIG, "new", overwrite=True) as folder,
            pytest.raises(AccelsimError, match="cannot write"),
        ):
            folder.append(make_record())
        assert not list((tmp_path / "run").glob("*.tmp"))
        assert not (tmp_path / "run/.lock").exists()


class TestResume:
    def test_goes_on_with_what_is_missing(self, tmp_path, make_record):
        done, missing = make_record(bits=2), make_record(bits=3)
        write_run(tmp_path / "run", [done])
        with RunFolder.open(tmp_path / "run", CONFIG, "hash", resume=True) as folder:
            assert folder.done_keys() == {record_key(done)}
            folder.append(missing)
            assert folder.records == (done, missing)
            folder.finish("")
        assert load_run(tmp_path / "run").records == (done, missing)

    @pytest.mark.parametrize("prepare", [lambda path: None, lambda path: path.mkdir()])
    def test_of_nothing_starts_a_new_run(self, tmp_path, make_record, prepare):
        prepare(tmp_path / "run")
        with RunFolder.open(tmp_path / "run", CONFIG, "hash", resume=True) as folder:
            assert folder.done_keys() == frozenset()
            folder.append(make_record())
        assert len(load_run(tmp_path / "run").records) == 1

    def test_says_what_differs_in_another_config(self, tmp_path, make_record):
        write_run(tmp_path / "run", [make_record()], "abc")
        other = {**CONFIG, "quantize": {"beta": [5.0]}}
        with pytest.raises(InputError, match=r"quantize.*: .* there, .*5\.0.* here"):
            RunFolder.open(tmp_path / "run", other, "xyz", resume=True)

    def test_refuses_another_config_and_says_so(self, tmp_path, make_record):
        write_run(tmp_path / "run", [make_record()], "abc")
        before = contents(tmp_path / "run")
        with pytest.raises(InputError, match=r"another config.*its hash is another.*--overwrite"):
            RunFolder.open(tmp_path / "run", CONFIG, "xyz", resume=True)
        assert contents(tmp_path / "run") == before

    @pytest.mark.parametrize("run_json", [None, b"{", b"[]", b"{}", b"\xff"])
    def test_refuses_records_whose_config_is_unknown(self, tmp_path, make_record, run_json):
        write_run(tmp_path / "run", [make_record()])
        (tmp_path / "run/run.json").unlink()
        if run_json is not None:
            (tmp_path / "run/run.json").write_bytes(run_json)
        before = contents(tmp_path / "run")
        with pytest.raises(InputError, match=r"run\.json"):
            RunFolder.open(tmp_path / "run", CONFIG, "hash", resume=True)
        assert contents(tmp_path / "run") == before

    def test_refuses_a_line_broken_in_the_middle(self, tmp_path, make_record):
        write_run(tmp_path / "run", [make_record(bits=bits) for bits in (2, 3)])
        file = tmp_path / "run/records.jsonl"
        file.write_bytes(file.read_bytes()[5:])
        before = contents(tmp_path / "run")
        with pytest.raises(InputError, match=r"records\.jsonl:1: "):
            RunFolder.open(tmp_path / "run", CONFIG, "hash", resume=True)
        assert contents(tmp_path / "run") == before

    def test_repairs_the_last_line_wherever_it_is_torn(self, tmp_path, make_record, monkeypatch):
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)
        first, last = make_record(bits=2), make_record(bits=3, gemm="übergröße")
        write_run(tmp_path / "run", [first, last])
        file = tmp_path / "run/records.jsonl"
        whole = file.read_bytes()
        start = whole.index(b"\n") + 1
        run_json = (tmp_path / "run/run.json").read_bytes()
        for end in range(start, len(whole) + 1):
            file.write_bytes(whole[:end])
            (tmp_path / "run/run.json").write_bytes(run_json)
            with RunFolder.open(tmp_path / "run", CONFIG, "hash", resume=True) as folder:
                if record_key(last) not in folder.done_keys():
                    folder.append(last)
                else:
                    assert end >= len(whole) - 1
            assert file.read_bytes() == whole, f"torn after {end - start} bytes"

    def test_repairs_a_tail_of_zeros_that_a_power_cut_left(self, tmp_path, make_record):
        write_run(tmp_path / "run", [make_record()])
        file = tmp_path / "run/records.jsonl"
        whole = file.read_bytes()
        file.write_bytes(whole + b"\0" * 512)
        with RunFolder.open(tmp_path / "run", CONFIG, "hash", resume=True):
            pass
        assert file.read_bytes() == whole


class TestUnwritable:
    @pytest.mark.parametrize("flags", [{}, {"resume": True}, {"overwrite": True}])
    def test_a_file_in_the_way_stays(self, tmp_path, flags):
        (tmp_path / "run").write_text("precious")
        with pytest.raises(InputError):
            RunFolder.open(tmp_path / "run", CONFIG, "hash", **flags)
        assert (tmp_path / "run").read_text() == "precious"

    def test_a_file_among_the_parents_stays(self, tmp_path):
        (tmp_path / "file").write_text("precious")
        with pytest.raises(InputError, match="cannot write"):
            RunFolder.open(tmp_path / "file" / "run", CONFIG, "hash")
        assert (tmp_path / "file").read_text() == "precious"

    def test_a_place_where_nobody_can_write(self):
        with pytest.raises(InputError, match="cannot write to /proc/run"):
            RunFolder.open("/proc/run", CONFIG, "hash")

    def test_a_full_disk_at_the_start(self, tmp_path, make_record):
        with file_size_limit(0), pytest.raises(InputError, match="cannot write"):
            RunFolder.open(tmp_path / "run", CONFIG, "hash")
        write_run(tmp_path / "run", [make_record()])
        assert len(load_run(tmp_path / "run").records) == 1

    def test_a_full_disk_at_a_record_loses_only_that_one(self, tmp_path, make_record, capsys):
        records = [make_record(bits=bits) for bits in (2, 3, 4)]
        file = tmp_path / "run/records.jsonl"
        with RunFolder.open(tmp_path / "run", CONFIG, "hash") as folder:
            folder.append(records[0])
            size = file.stat().st_size
            with (
                file_size_limit(size + size // 2),
                pytest.raises(AccelsimError, match=r"1 records are safe.*--resume"),
            ):
                folder.append(records[1])
            assert file.stat().st_size == size
        assert load_run(tmp_path / "run").records == (records[0],)
        assert capsys.readouterr().err == ""
        with RunFolder.open(tmp_path / "run", CONFIG, "hash", resume=True) as folder:
            assert folder.done_keys() == {record_key(records[0])}
            for record in records[1:]:
                folder.append(record)
        assert load_run(tmp_path / "run").records == tuple(records)

    def test_a_full_disk_at_the_end_keeps_the_records(self, tmp_path, make_record):
        with RunFolder.open(tmp_path / "run", CONFIG, "hash") as folder:
            folder.append(make_record())
            with file_size_limit(0), pytest.raises(AccelsimError, match="cannot write"):
                folder.finish("table\n")
        assert load_run(tmp_path / "run").records == (make_record(),)
        assert json.loads((tmp_path / "run/run.json").read_text())["sessions"][0]["end"] is None

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_read_only_folder(self, tmp_path):
        tmp_path.chmod(0o555)
        with pytest.raises(InputError, match="cannot write"):
            RunFolder.open(tmp_path / "run", CONFIG, "hash")


def test_a_folder_that_was_there_stays_and_a_new_one_goes_with_its_empty_run(tmp_path):
    (tmp_path / "old").mkdir()
    for name in ("old", "new"):
        with RunFolder.open(tmp_path / name, CONFIG, "hash"):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_what_is_checked_before_a_run_is_replaced_is_not_checked_to_go_on(tmp_path, make_record):
    checked = []
    for flags in ({}, {"resume": True}, {"overwrite": True}):
        with RunFolder.open(
            tmp_path / "run", CONFIG, "hash", **flags, check=lambda: checked.append(1)
        ) as folder:
            folder.append(make_record(bits=2 + len(folder)))
        checked.append(0)
    assert checked == [1, 0, 0, 1, 0]


def test_the_files_are_readable_text_of_the_first_schema(tmp_path, make_record):
    config = {"name": "größer"}
    with RunFolder.open(tmp_path / "run", config, "hash") as folder:
        folder.append(make_record())
    (tmp_path / "run/records.jsonl").unlink()
    before = os.umask(0)
    try:
        with RunFolder.open(tmp_path / "run", config, "hash", resume=True) as folder:
            folder.append(make_record())
    finally:
        os.umask(before)
    assert (tmp_path / "run/records.jsonl").stat().st_mode & 0o777 == 0o644
    text = (tmp_path / "run/run.json").read_text()
    assert "größer" in text
    assert json.loads(text)["schema"] == 1


@pytest.mark.parametrize("end", ["\n", ""])
def test_a_line_that_is_there_twice_is_found(tmp_path, make_record, end):
    write_run(tmp_path / "run", [make_record(bits=bits) for bits in (2, 3, 4)])
    path = tmp_path / "run/records.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + end)
    message = r"records\.jsonl:4: has the settings of line 2"
    with pytest.raises(InputError, match=message):
        RunFolder.open(tmp_path / "run", CONFIG, "hash", resume=True)
    with pytest.raises(InputError, match=message):
        load_run(tmp_path / "run")
    assert path.read_text().count("\n") == 3 + len(end)


def test_files_are_written_to_be_read(tmp_path, make_record):
    """A line for each key of run.json, and names in their own letters."""
    path = tmp_path / "run"
    write_run(path, [make_record(gemm="größe")])
    text = (path / "run.json").read_text()
    assert '{\n  "' in text
    assert '"größe"' in (path / "records.jsonl").read_text(encoding="utf-8")
