"""What the pages of ``docs/`` tell the reader to type does what they say."""

import pkgutil
import re
import subprocess
import sys
import tomllib
from typing import get_args

import click
import pytest
from docs_page import blocks, run
from outside import ROOT, Environment

import gemm_backends
from accelsim.cli import cli
from accelsim.config import load_config
from accelsim.config.sections import ConfigSections, TimingSection
from accelsim.config.settings import QuantizeSection, UnpackSection
from accelsim.records import Record
from accelsim.records.fields import FIELDS, STAGES, markdown
from accelsim.records.record import Stage
from gemm_backends.conformance import CHECKS


@pytest.mark.parametrize(
    "page",
    [
        "add-a-backend.md",
        "add-a-route.md",
        pytest.param("add-a-workload.md", marks=pytest.mark.slow),
    ],
)
def test_a_page_can_be_followed_to_the_letter(page, tmp_path):
    run(page, Environment(tmp_path))


@pytest.mark.parametrize(
    "page",
    [
        "guide-kernels.md",
        pytest.param("guide-architect.md", marks=pytest.mark.slow),
        pytest.param("guide-researcher.md", marks=pytest.mark.slow),
    ],
)
def test_a_guide_can_be_followed_in_a_checkout(page, tmp_path):
    (tmp_path / "workloads" / "data").mkdir(parents=True)
    for bundle in (ROOT / "workloads" / "data").glob("*.safetensors"):
        (tmp_path / "workloads" / "data" / bundle.name).symlink_to(bundle)
    run(page, Environment(tmp_path))


def test_the_formats_page_tells_every_field_of_a_record():
    assert FIELDS.keys() == Record.model_fields.keys()
    assert tuple(STAGES) == get_args(Stage)
    page = (ROOT / "docs" / "formats.md").read_text()
    assert markdown() in page, f"docs/formats.md needs this table:\n\n{markdown()}"


def test_the_formats_page_tells_every_key_of_a_config():
    page = (ROOT / "docs" / "formats.md").read_text()
    config = page[page.index("## Config") : page.index("## Run folder")]
    told = set(re.findall(r"^\| `(\w+)` \|", config, re.MULTILINE))
    sections = (ConfigSections, TimingSection, QuantizeSection, UnpackSection)
    assert told == {key for section in sections for key in section.model_fields}


def test_the_page_of_the_kit_tells_every_check():
    page = (ROOT / "docs" / "conformance.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(check.name for check in CHECKS)


def test_the_code_in_the_readme_runs(tmp_path):
    found = blocks((ROOT / "README.md").read_text())
    environment = Environment(tmp_path)
    codes = [block.code for block in found if block.language == "python"]
    assert len(codes) == 2
    for code in codes:
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment.variables(),
            capture_output=True,
            check=True,
        )


@pytest.mark.parametrize("page", ["README.md", "docs/guide-architect.md"])
def test_the_lines_that_an_own_array_offers_as_comments_are_right(page, tmp_path):
    codes = (block.code for block in blocks((ROOT / page).read_text()))
    (code,) = (code for code in codes if code.startswith("name: my-array"))
    path = tmp_path / "my-array.yaml"
    path.write_text(re.sub(r"(?m)^( +)# ", r"\1", code))
    memory = load_config(path).backends[0].options["memory"]
    assert memory["sram_kb"] == {"a": 128, "b": 128, "c": 256}
    assert load_config(path).backends[0].load().options["memory"] == memory
    path.write_text(re.sub(r"(?m)^workloads: .*\n# ", "", code))
    assert len(load_config(path, ["product=none"]).gemms()) == 289


def command_names(group, prefix=()):
    """Return the names of all commands of a group, those of its groups included."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from command_names(command, (*prefix, name))
        else:
            yield " ".join((*prefix, name))


def test_the_page_of_commands_lists_every_command():
    page = (ROOT / "docs" / "commands.md").read_text()
    listed = re.findall(r"^\| `([a-z-]+(?: [a-z-]+)?)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(command_names(cli))


def test_every_page_is_in_the_contents():
    contents = (ROOT / "docs" / "index.md").read_text()
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    assert pages <= set(contents.splitlines())


PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("**/*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
DOTTED = re.compile(r"(?<![\w./-])(?:accelsim|gemm_backends|workloads)(?:\.\w+)+(?![\w/-])")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page):
    groups = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"])
    groups |= {"accelsim.strategies"}
    files = {"md", "json", "yaml", "safetensors", "py"}
    for name in sorted(set(DOTTED.findall(page.read_text()))):
        if name not in groups and name.rpartition(".")[2] not in files:
            try:
                pkgutil.resolve_name(name)
            except (ImportError, AttributeError) as error:
                pytest.fail(f"{name}: {error}")


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="the documentation needs accelsim[docs]")
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    done = subprocess.run([*sphinx, ROOT / "docs", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "api" / "backends.html").read_text()
    for name in gemm_backends.__all__:
        assert f'id="gemm_backends.{name}"' in reference, name
    for page, name in (
        ("models", "accelsim.integer_gemms"),
        ("workloads", "workloads.capture.Capture"),
        ("routes", "accelsim.routes.open_route"),
        ("routes", "accelsim.types.StrategyChoice"),
    ):
        assert f'id="{name}"' in (tmp_path / "api" / f"{page}.html").read_text(), name
