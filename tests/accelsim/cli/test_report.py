"""``accelsim report`` from the command line."""

import importlib.util
import shutil

import pytest

from accelsim.cli import main
from accelsim.plugins.extras import how_to_install


@pytest.fixture
def report(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(["report", *map(str, arguments)])
        return exit_.value.code or 0, capsys.readouterr().err

    return run


@pytest.fixture
def lines(make_record, tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text("".join(make_record(gemm=name).to_json() + "\n" for name in "ab"))
    return path


def test_a_page_and_the_files_of_its_figures(report, lines, tmp_path):
    page, figures = tmp_path / "page.html", tmp_path / "figures"
    code, said = report(lines, "-o", page, "--figures", figures)
    assert code == 0
    assert f"wrote {page}" in said
    assert "2 of 2 exact" in page.read_text()
    assert {path.suffix for path in figures.iterdir()} == {".pdf", ".png"}
    assert "not drawn: ratio by bits: the records have fewer than two widths b" in said


def test_the_page_of_one_run_is_beside_it_and_that_of_several_here(
    report, lines, tmp_path, monkeypatch
):
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    for run in (lines, tmp_path):
        code, said = report(run)
        assert code == 0
        assert f"wrote {tmp_path / 'report.html'}" in said
        (tmp_path / "report.html").unlink()
    report(lines, lines)
    (tmp_path / "report.html").unlink(missing_ok=True)
    code, said = report(lines, "--figures", other / "figures")
    assert code == 0
    assert f"wrote {tmp_path / 'report.html'}" in said
    assert f"files of figures in {other / 'figures'}" in said
    assert any((other / "figures").iterdir())
    shutil.rmtree(other / "figures")
    assert [path.name for path in other.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_is_one_message(report, lines, tmp_path):
    code, said = report(lines, "-o", tmp_path / "missing" / "page.html")
    assert code == 1
    assert said.startswith("accelsim: cannot write ")


def test_no_such_run(report, tmp_path):
    code, said = report(tmp_path / "nothing", "-o", tmp_path / "page.html")
    assert code == 2
    assert "is not a run: it does not exist" in said


def test_a_run_without_records(report, tmp_path):
    (tmp_path / "records.jsonl").write_text("")
    code, said = report(tmp_path / "records.jsonl")
    assert code == 2
    assert "has no records yet" in said


def test_what_is_missing_names_the_extra(report, lines, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "accelsim.cli.report.find_spec", lambda name: None if name == "seaborn" else found(name)
    )
    code, said = report(lines)
    assert code == 2
    assert said == f"accelsim: a report needs seaborn: {how_to_install('report')}\n"
