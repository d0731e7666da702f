"""``accelsim new-backend``: what it writes installs, passes and shows up."""

import pytest
from click.testing import CliRunner
from outside import Environment

from accelsim.cli.new_backend import command
from accelsim.errors import InputError
from accelsim.plugins.scaffold import KINDS


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], standalone_mode=False)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One package of each kind, written by the command and installed from its wheel."""
    folder = tmp_path_factory.mktemp("new")
    for kind in KINDS:
        result = run(f"tiny-{kind}", "--kind", kind, "--output", folder / f"tiny-{kind}")
        assert result.exception is None, result.output
    environment = Environment(folder)
    environment.install(*sorted(folder.glob("tiny-*")))
    return environment


def test_they_show_up(written):
    rows = written.backends()
    assert rows["tiny-python"]["available"] == rows["tiny-c"]["available"] == "yes"
    cuda = rows["tiny-cuda"]
    assert cuda["device"] == "cuda"
    assert cuda["available"] == "yes" or cuda["reason"]


def test_nothing_of_the_template_is_left(written):
    for kind in KINDS:
        for path in (written.folder / f"tiny-{kind}").rglob("*"):
            if path.suffix in (".py", ".toml", ".md", ".c", ".cu"):
                text = path.read_text().lower()
                assert not [x for x in ("my-acc", "my_acc", "myacc") if x in text], path


@pytest.mark.parametrize(
    "kind", ["python", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("c", "cuda"))]
)
def test_their_own_tests_pass(written, kind):
    """Those of the CUDA kernel are skipped, with the reason, where there is no GPU."""
    printed = written.run("pytest", "-q", "-rs", written.folder / f"tiny-{kind}" / "tests")
    assert "failed" not in printed
    assert "passed" in printed


@pytest.mark.slow
def test_the_c_kind_passes_the_kit(written):
    assert " 0 failed" in written.accelsim("verify", "tiny-c")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Tiny", "'Tiny' cannot be the name of a backend"),
        ("tiny_array", "cannot be the name"),
        ("-x", "No such option"),
        ("4bit", "cannot be the name"),
        ("class", "cannot be the name"),
        ("int64", "the backend name 'int64' is already taken"),
        ("torch", "a module 'torch' is already there"),
    ],
)
def test_names_that_cannot_be(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    result = run(name)
    assert message in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = run("tiny")
    assert "tiny/tiny/__init__.py" in first.stdout
    assert "accelsim verify tiny" in first.stderr
    second = run("tiny")
    assert isinstance(second.exception, InputError)
    assert "tiny exists already; --output names another folder" in str(second.exception)
    (tmp_path / "empty").mkdir()
    assert run("tiny", "--output", "empty").exception is None


def test_a_folder_that_cannot_be_written():
    result = run("tiny", "--output", "/proc/tiny")
    assert isinstance(result.exception, InputError)
    assert "cannot write /proc/tiny" in str(result.exception)


def test_its_tests_hold_for_a_class_without_options_and_costs(tmp_path):
    """Those of the kit need not run for that: its other tests are the template's."""
    assert run("plain", "--output", tmp_path / "plain").exception is None
    (tmp_path / "plain" / "plain" / "__init__.py").write_text(
        "from gemm_backends import Accumulator, GemmBackend\n"
        "class Plain(GemmBackend):\n"
        "    name, bits, accumulator = 'plain', 8, Accumulator(32, 'wrap')\n"
        "    def matmul(self, a, b): return a.int() @ b.int().T\n"
    )
    environment = Environment(tmp_path)
    environment.install(tmp_path / "plain")
    tests = tmp_path / "plain" / "tests"
    printed = environment.run(
        "pytest", "-q", tests, "-k", "installed or cost or options or small_shapes"
    )
    assert "3 passed, 1 skipped" in printed
