"""From a YAML file and the options of a command line to a `RunConfig`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accelsim.config.accelerators import add_accelerators
from accelsim.config.config_kind import refuse_other_kinds
from accelsim.config.document import Document, read_document
from accelsim.config.entries import (
    check_backends,
    check_names,
    check_strategies,
    check_workloads,
    choose_backends,
)
from accelsim.config.fields import AUTO
from accelsim.config.messages import validated
from accelsim.config.planned_gemms import plans_of
from accelsim.config.run_config import RunConfig
from accelsim.config.sections import ConfigSections
from accelsim.config.shipped import find_config
from gemm_backends.baselines import list_baselines


def load_config(
    path: str | Path, overrides: Sequence[str] = (), backends: Sequence[str] = ()
) -> RunConfig:
    """Read and check a config.

    Headers of bundles are read and backends are instantiated; no operand is read.

    Parameters
    ----------
    path : str or Path
        A YAML file, or the name of a shipped config. Relative paths in it start from its folder,
        `output` from the current one.
    overrides : sequence of str
        ``KEY=VALUE`` with a dotted key and a value in YAML, such as ``quantize.beta=[15, 31]``.
    backends : sequence of str
        Run only these. One that the config names keeps its options; paths start from the current
        folder.

    Returns
    -------
    RunConfig
        The checked config, with its defaults filled in.

    Raises
    ------
    InputError
        If anything is wrong; the message has one line for each problem, with file, line and
        column, or the override that is to blame.

    Examples
    --------
    >>> from accelsim.config import load_config
    >>> config = load_config("quickstart", ["quantize.beta=255"], backends=["emulator"])
    >>> config.quantize.beta
    (PerOperand(a=255, b=255),)
    """
    path = find_config(path)
    document = read_document(path, overrides)
    refuse_other_kinds(document, "run")
    complete = add_accelerators(document)
    # An accelerator that could not be read is a problem of its own, not a missing backend.
    stand_in: list[object] = [*backends] or ([] if complete else [None])
    data = {"backends": stand_in, **document.data} if stand_in else document.data
    sections = validated(document, ConfigSections, data)
    workloads = check_workloads(document, _entries(document, "workloads"))
    widths = () if sections is None else tuple(dict.fromkeys(sections.unpack.bits))
    choices = check_backends(document, _entries(document, "backends"), widths)
    check_strategies(document, ("unpack",))
    check_names(document, ("baselines",), "baseline", list_baselines())
    _check_tolerance(document, sections)
    plans = {} if sections is None else plans_of(document, workloads, sections.plan)
    document.raise_problems()
    assert sections is not None, "sections that are not valid have left a problem"
    name = sections.name or path.stem
    return RunConfig(
        path=path,
        name=name,
        workloads=workloads,
        quantize=sections.quantize,
        unpack=sections.unpack,
        backends=choose_backends(choices, backends) if backends else choices,
        baselines=sections.baselines,
        k_split=sections.k_split,
        timing=sections.timing,
        product=sections.product,
        output=Path(sections.output or f"runs/{name}").expanduser(),
        overrides=tuple(overrides),
        backend_names=tuple(backends),
        places=document.places,
        plan=sections.plan,
        plans=plans,
    )


def _check_tolerance(document: Document, sections: ConfigSections | None) -> None:
    """See that `beta: auto` has a tolerance, and a tolerance a `beta: auto`."""
    if sections is None:
        return
    asked, given = AUTO in sections.quantize.beta, sections.quantize.tolerance is not None
    if asked and not given:
        message = "auto needs quantize.tolerance, such as 1e-3"
        document.report(("quantize", "beta"), message)
    if given and not asked:
        document.report(("quantize", "tolerance"), "is for `beta: auto` alone", at_key=True)


def _entries(document: Document, key: str) -> list[object]:
    """Return the entries under a key, a single one as a list; none where the key is missing."""
    entries = document.data.get(key)
    if entries is None:
        return []
    return entries if isinstance(entries, list) else [entries]
