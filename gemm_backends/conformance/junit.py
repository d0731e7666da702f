"""Outcomes as JUnit XML, which continuous-integration services read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from accelsim.errors import InputError
from gemm_backends.actions import Outcome


def write_junit(path: Path, suite: str, outcomes: Sequence[Outcome]) -> None:
    """Write one test suite with a test case for every outcome.

    Parameters
    ----------
    path : Path
        The file to write.
    suite : str
        Name of the suite.
    outcomes : sequence of Outcome
        What the checks found.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    root = ElementTree.Element(
        "testsuite",
        name=suite,
        tests=str(len(outcomes)),
        failures=str(sum(outcome.status == "failed" for outcome in outcomes)),
        skipped=str(sum(outcome.status == "skipped" for outcome in outcomes)),
        time=f"{sum(outcome.seconds for outcome in outcomes):.3f}",
    )
    for outcome in outcomes:
        case = ElementTree.SubElement(
            root, "testcase", classname=suite, name=outcome.name, time=f"{outcome.seconds:.3f}"
        )
        if outcome.status == "passed":
            ElementTree.SubElement(case, "system-out").text = outcome.detail
        else:
            tag = "failure" if outcome.status == "failed" else "skipped"
            ElementTree.SubElement(case, tag, message=outcome.detail)
    ElementTree.indent(root)
    try:
        ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
