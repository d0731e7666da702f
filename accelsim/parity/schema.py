"""The JSON Schemas of the configs of ``accelsim eval`` and ``accelsim train``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from accelsim.config.schema import DIALECT, list_names, show_defaults
from accelsim.parity.configs import EvalSections, ProbeSection, TrainSections, TrainTreatment
from accelsim.parity.sweep import TreatmentSweep


def parity_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a config.

    Parameters
    ----------
    kind : str
        ``eval`` or ``train``.
    """
    sections: type[BaseModel] = EvalSections if kind == "eval" else TrainSections
    schema = sections.model_json_schema()
    entry = TreatmentSweep if kind == "eval" else TrainTreatment
    treatment = schema["$defs"][entry.__name__]["properties"]
    show_defaults(treatment, entry())
    list_names(treatment)
    if kind == "train":
        probe = schema["$defs"]["ProbeSection"]["properties"]
        show_defaults(probe, ProbeSection(backend=None))
        list_names(probe)
    return {"$schema": DIALECT, **schema, "title": f"accelsim {kind} config"}
