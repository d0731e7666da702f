"""The commands that README, docs, examples and configs print."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from outside import ROOT

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
    *sorted((ROOT / "configs").glob("**/*.yaml")),
]

LINE = re.compile(r"^(?:# ?)? *(?:\$ )?(?:.*&& )?(accelsim [^`]*?)(?:  +#.*)?$")
"""A line of a block, of an indented block or of a config's head."""

INLINE = re.compile(r"`(accelsim [^`]*)`")

PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b|…|\.\.\.")
"""In prose a command may be written with names that stand for others."""


@dataclass(frozen=True)
class Command:
    """A command line and the page that prints it."""

    page: str
    words: tuple[str, ...]

    def __str__(self):
        return f"{self.page}: {' '.join(self.words)}"

    @property
    def config(self):
        """The config that it runs, evaluates or trains, if that is one of the repository."""
        if self.words[1] not in ("run", "eval", "train"):
            return None
        folder = ROOT / Path(self.page).parent if self.page.startswith("examples") else ROOT
        return next((word for word in self.words[2:] if (folder / word).is_file()), None)


def commands():
    """Return every command once, in the order of the pages."""
    found = {}
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        text = re.sub(r" +# {2,}", " ", text)  # a continued comment of a config
        inside = False
        for line in text.splitlines():
            if line.startswith("```"):
                inside = not inside
            block = inside or line.startswith(("    ", "#   ")) or page.suffix == ".yaml"
            lines = [match[1] for match in [LINE.match(line)] if block and match]
            for written in lines or INLINE.findall(line):
                if not PLACEHOLDER.search(written) and len(written.split()) > 1:
                    words = tuple(shlex.split(written, comments=True))
                    found.setdefault(words, Command(str(page.relative_to(ROOT)), words))
    return list(found.values())
