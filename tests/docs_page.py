"""The code blocks of a page of ``docs/``, run in order as a reader would.

A block is written to a file if the text before it ends with that file's name in backticks and a
colon or comma. Other blocks of Python and of the shell are run, and must end with the exit status
that follows ``exit=`` on their first line, or 0. A block of text after one is what it prints, and
then what it prints to stderr; as in doctest, ``...`` stands for anything, and spaces may differ.
"""

import doctest
import re
import subprocess
from dataclasses import dataclass
from itertools import pairwise

from outside import ROOT

BLOCK = re.compile(r"^```(\w+)(?: exit=(\d+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([\w./-]+\.\w+)`(?: is)?[:,]\s*\Z")

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    language: str
    status: int
    code: str
    file: str | None


def blocks(text):
    """Return the blocks of a page."""
    matches = list(BLOCK.finditer(text))
    starts = [0, *(match.end() for match in matches)]
    befores = [text[start : match.start()] for start, match in zip(starts, matches, strict=False)]
    return [
        Block(
            match[1],
            int(match[2] or 0),
            match[3],
            file[1] if (file := FILE.search(before)) else None,
        )
        for match, before in zip(matches, befores, strict=True)
    ]


def run(page, environment):
    """Run a page's blocks in the folder of an environment; fail at the first that is wrong."""
    found = blocks((ROOT / "docs" / page).read_text())
    assert found, page
    for block, after in pairwise([*found, None]):
        if block.language in ("text", "toml"):
            continue
        if block.file:
            (environment.folder / block.file).write_text(block.code)
            continue
        shell = {"bash": ["bash", "-ec"], "python": ["python", "-c"]}[block.language]
        done = subprocess.run(
            [*shell, block.code],
            cwd=environment.folder,
            env=environment.variables(),
            capture_output=True,
            text=True,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == block.status, f"{block.code}\n{printed}"
        if after is not None and after.language == "text":
            # A warning, as of a busy machine, may stand beside what the page shows.
            check = doctest.OutputChecker().check_output
            same = any(check(after.code, text, FLAGS) for text in (printed, done.stdout))
            assert same, f"{block.code}\nprinted\n{printed}\ninstead of\n{after.code}"
