"""Reading runs back, whole or damaged."""

import pytest

from accelsim.errors import InputError
from accelsim.records import Record, load_run
from accelsim.records.experiments import EvalRecord, TrainRecord
from accelsim.records.loading import kind_of


@pytest.fixture
def lines(make_record):
    return [make_record(bits=bits).to_json().encode() + b"\n" for bits in (2, 3, 4)]


def test_a_file_alone_is_a_run_without_a_machine(tmp_path, lines):
    (tmp_path / "records.jsonl").write_bytes(b"".join(lines))
    for path in (tmp_path, tmp_path / "records.jsonl"):
        run = load_run(path)
        assert [record.bits for record in run.records] == [2, 3, 4]
        assert (run.config, run.machine, run.name) == ({}, {}, tmp_path.name)


@pytest.mark.parametrize("cut", [1, 2, 100])
def test_a_torn_last_line_is_left_out_with_a_warning(tmp_path, lines, capsys, cut):
    (tmp_path / "records.jsonl").write_bytes(b"".join(lines)[:-cut])
    run = load_run(tmp_path)
    whole = cut == 1
    assert [record.bits for record in run.records] == ([2, 3, 4] if whole else [2, 3])
    assert ("torn" in capsys.readouterr().err) is not whole


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (b"\n", "records.jsonl:2: not a record"),
        (b"{\n", "records.jsonl:2: not a record"),
        (b"[]\n", "records.jsonl:2: not a record"),
        (b'{"workload": "w"}\n', "gemm: Field required"),
        (b"\xff\n", "records.jsonl:2: not a record"),
    ],
)
def test_any_other_broken_line_is_an_error_with_its_place(tmp_path, lines, broken, message):
    (tmp_path / "records.jsonl").write_bytes(lines[0] + broken + lines[2])
    with pytest.raises(InputError, match=message):
        load_run(tmp_path)


def test_a_line_of_another_version_names_the_field(tmp_path, lines):
    line = lines[0].replace(b'"workload"', b'"mood": "good", "workload"')
    (tmp_path / "records.jsonl").write_bytes(line)
    with pytest.raises(InputError, match=r"records\.jsonl:1: .*mood"):
        load_run(tmp_path)


def test_what_is_no_run_is_said_to_be_none(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_run(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"has no records\.jsonl"):
        load_run(tmp_path)
    (tmp_path / "records.jsonl").mkdir()
    with pytest.raises(InputError, match="cannot read"):
        load_run(tmp_path)


def test_a_broken_run_json_is_an_error(tmp_path, lines):
    (tmp_path / "records.jsonl").write_bytes(lines[0])
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        ('{"treatment": "a"}', EvalRecord),
        ('{"treatment": "a", "losses": []}', TrainRecord),
        ('{"losses": []}', Record),
        ('{"gemm": "a"}', Record),
        ('["treatment"]', Record),
        ('{"treatment": ', Record),
        ("", Record),
    ],
)
def test_of_which_kind_a_run_is(tmp_path, first, kind):
    (tmp_path / "records.jsonl").write_text(f'{first}\n{{"treatment": "b", "losses": []}}\n')
    assert kind_of(tmp_path) is kind
