"""The JSON Schemas of the configs of ``accelsim eval`` and ``accelsim train``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from accelsim.config.schema import DIALECT
from accelsim.parity.configs import EvalSections, TrainSections


def parity_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a config.

    Parameters
    ----------
    kind : str
        ``eval`` or ``train``.
    """
    sections: type[BaseModel] = EvalSections if kind == "eval" else TrainSections
    return {"$schema": DIALECT, **sections.model_json_schema(), "title": f"accelsim {kind} config"}
