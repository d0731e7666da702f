"""The key ``accelerator``: described accelerators, as entries of ``backends``."""

from __future__ import annotations

from pathlib import Path

from accelsim.config.document import Document
from accelsim.config.problems import Loc, Place
from accelsim.config.yaml_tree import parse_yaml
from accelsim.errors import InputError
from gemm_backends.cost.accelerators import MODEL, accelerator_options, accelerator_path


def add_accelerators(document: Document) -> bool:
    """Add an entry to ``backends`` for each accelerator that a config names.

    The entries hold all that the descriptions say, so that records and the config's hash do too.
    Problems go to `document`, also those found later in such an entry: where they are in its file.

    Returns
    -------
    bool
        Whether all of them were found and read.
    """
    given = document.data.get("accelerator")
    names = given if isinstance(given, list) else [] if given is None else [given]
    old = document.data.get("backends")
    entries = list(old) if isinstance(old, list) else [] if old is None else [old]
    complete = True
    for index, name in enumerate(names):
        if not isinstance(name, str):
            complete = False  # which the check of the sections reports
            continue
        loc = ("accelerator", index)
        try:
            options = accelerator_options(name, document.path.parent)
        except InputError as error:
            document.report(loc, str(error))
            complete = False
            continue
        place = document.places.values[document.places.known_part(loc)]
        entry = ("backends", len(entries))
        document.places.graft(entry, place, {(): None})
        _add_places(document, entry, accelerator_path(name, document.path.parent))
        entries.append({"name": MODEL, **options})
    if len(entries) > (len(old) if isinstance(old, list) else old is not None):
        document.data["backends"] = entries
    return complete


def _add_places(document: Document, entry: Loc, path: Path) -> None:
    """Say where each option of an accelerator stands in its file, and which key is there twice."""
    tree = parse_yaml(
        path.read_text("utf-8"), lambda line, column: Place.in_file(path, line, column)
    )
    document.problems += tree.problems
    for of_document, of_file in (
        (document.places.values, tree.places.values),
        (document.places.keys, tree.places.keys),
    ):
        of_document.update({entry + loc: place for loc, place in of_file.items() if loc})
