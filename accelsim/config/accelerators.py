"""The key ``accelerator``: described accelerators, as entries of ``backends``."""

from __future__ import annotations

from accelsim.config.document import Document
from accelsim.errors import InputError
from gemm_backends.cost.accelerators import MODEL, accelerator_options


def add_accelerators(document: Document) -> None:
    """Add an entry to ``backends`` for each accelerator that a config names.

    The entries hold all that the descriptions say, so that records and the config's hash do too.
    Problems go to `document`, also those found later in such an entry: at the accelerator's name.
    """
    given = document.data.get("accelerator")
    names = given if isinstance(given, list) else [] if given is None else [given]
    old = document.data.get("backends")
    entries = list(old) if isinstance(old, list) else [] if old is None else [old]
    for index, name in enumerate(names):
        if not isinstance(name, str):
            continue  # for the check of the sections to report
        loc = ("accelerator", index)
        try:
            options = accelerator_options(name, document.path.parent)
        except InputError as error:
            document.report(loc, str(error))
            continue
        place = document.places.values[document.places.known_part(loc)]
        entry = {"name": MODEL, **options}
        document.places.graft(("backends", len(entries)), place, {(): None})
        entries.append(entry)
    if len(entries) > (len(old) if isinstance(old, list) else old is not None):
        document.data["backends"] = entries
