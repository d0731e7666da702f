"""The JSON Schema of a plan."""

from __future__ import annotations

from typing import Any

from accelsim.config.plan import SCHEMA, PlanSections
from accelsim.config.schema import DIALECT, named
from accelsim.types import FUSED
from accelsim.unpack import DIGIT_SYSTEMS, list_strategies


def plan_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a plan; see `accelsim.config.plans.load_plan`."""
    schema = PlanSections.model_json_schema()
    entry = schema["$defs"]["EntrySection"]["properties"]
    for key, allowed in (
        ("strategy", named([*list_strategies(), FUSED])),
        ("digits", {"enum": list(DIGIT_SYSTEMS)}),
    ):
        entry[key] = {"description": entry[key]["description"], **allowed}
    for definition in (*schema["$defs"].values(), schema):
        for key in definition["properties"].values():
            key.pop("default", None)  # null is None where a key is missing; a file has no null
            if isinstance(key.get("anyOf"), list):
                key["anyOf"] = [one for one in key["anyOf"] if one != {"type": "null"}]
    version = {"const": SCHEMA, "description": "the version of the format"}
    schema["properties"] = {"schema": version, **schema["properties"]}
    schema["required"] = ["schema", *schema["required"]]
    return {"$schema": DIALECT, **schema, "title": "accelsim plan"}
