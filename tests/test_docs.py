"""What the pages of ``docs/`` tell the reader to type does what they say."""

import re
import subprocess
import sys
from typing import get_args

import pytest
from docs_page import run
from outside import ROOT, Environment

import gemm_backends
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


def test_the_formats_page_tells_every_field_of_a_record():
    assert FIELDS.keys() == Record.model_fields.keys()
    assert tuple(STAGES) == get_args(Stage)
    page = (ROOT / "docs" / "formats.md").read_text()
    assert markdown() in page, f"docs/formats.md needs this table:\n\n{markdown()}"


def test_the_page_of_the_kit_tells_every_check():
    page = (ROOT / "docs" / "conformance.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(check.name for check in CHECKS)


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="the documentation needs accelsim[docs]")
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    done = subprocess.run([*sphinx, ROOT / "docs", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "api" / "backends.html").read_text()
    for name in gemm_backends.__all__:
        assert f'id="gemm_backends.{name}"' in reference, name
