r"""Tables for a paper: a LaTeX ``tabular`` with the rules of the package booktabs."""

from __future__ import annotations

from collections.abc import Sequence

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
}


def escape(words: str) -> str:
    """Escape text so that LaTeX prints it unchanged."""
    return "".join(_ESCAPES.get(char, char) for char in words)


def tabular(
    head: Sequence[str], lines: Sequence[Sequence[str]], numeric: Sequence[bool], title: str | None
) -> str:
    r"""Return a ``tabular``, to stand in a ``table`` of a document that uses booktabs.

    Parameters
    ----------
    head : sequence of str
        The names of the columns.
    lines : sequence of sequence of str
        The cells of each row.
    numeric : sequence of bool
        Which columns are aligned to the right.
    title : str, optional
        A comment above the table.
    """
    columns = "".join("r" if right else "l" for right in numeric)
    rows = [_guarded(" & ".join(map(escape, line))) + r" \\" for line in (head, *lines)]
    parts = [
        *([f"% {title}"] if title else []),
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        rows[0],
        r"\midrule",
        *rows[1:],
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "".join(f"{part}\n" for part in parts)


def _guarded(row: str) -> str:
    """Keep the line break before a row from taking a bracket for its argument."""
    return f"{{}}{row}" if row.startswith("[") else row
