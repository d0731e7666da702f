"""The plans of a run: which GEMM has which."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.config.document import Document
from accelsim.config.plans import Plan, load_plan
from accelsim.config.problems import Loc
from accelsim.errors import InputError
from workloads.gemm import Gemm
from workloads.models.source import ModelSource
from workloads.paths import from_folder
from workloads.sources import WorkloadSource, open_source
from workloads.tracing import place


def place_of(gemm: Gemm) -> str:
    """Return by what a GEMM goes in a plan.

    Parameters
    ----------
    gemm : Gemm
        Of a model: its place, the same in every phase; of a bundle whose layers are no modules: its
        name.
    """
    found = place(gemm.layer, gemm.op)
    begins = gemm.name == found or gemm.name.startswith((f"{found}.", f"{found}#"))
    return found if gemm.layer and begins else gemm.name


def plans_of(
    document: Document, workloads: Sequence[WorkloadSource], common: str | None
) -> dict[str, Plan]:
    """Load the plans of a config, and see that their globs match GEMMs.

    Problems go to `document`; where it has some already, nothing is loaded.

    Parameters
    ----------
    document : Document
        Relative paths start from its folder.
    workloads : sequence of WorkloadSource
        All of the config.
    common : str or None
        The path of the plan for workloads without one of their own.

    Returns
    -------
    dict
        The plan of each GEMM that has one, by the GEMM's id.
    """
    if document.problems:
        return {}
    folder = document.path.parent
    groups: dict[Loc, tuple[str, list[Gemm]]] = {}
    for index, source in enumerate(workloads):
        own = source.plan if isinstance(source, ModelSource) else None
        path = own or common
        if path is not None:
            loc: Loc = ("workloads", index, "plan") if own else ("plan",)
            groups.setdefault(loc, (path, []))[1].extend(open_source(source, folder))
    found: dict[str, Plan] = {}
    for loc, (path, gemms) in groups.items():
        try:
            plan = load_plan(from_folder(folder, path))
            plan.check(map(place_of, gemms))
        except InputError as error:
            document.report(loc, str(error))
            continue
        found |= {gemm.id: plan for gemm in gemms}
    return found
