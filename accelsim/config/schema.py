"""The JSON Schema of a config, by which editors complete keys and mark mistakes."""

from __future__ import annotations

from typing import Any

from accelsim.config.fields import Section
from accelsim.config.sections import ConfigSections, TimingSection
from accelsim.config.settings import QuantizeSection, UnpackSection
from accelsim.types import FUSED
from accelsim.unpack import DIGIT_SYSTEMS, list_strategies
from gemm_backends import list_backends
from gemm_backends.baselines import list_baselines
from gemm_backends.cost.accelerators import list_accelerators
from workloads.sources import SOURCE
from workloads.sources import registry as sources

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_A_YAML_FILE = {"type": "string", "pattern": r"\.ya?ml$", "description": "path/to/file.yaml"}
_IN_A_FILE = {"type": "string", "pattern": r"\.py:\w+$", "description": "path/to/file.py:ClassName"}


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a config file.

    It knows the keys, types and ranges of every section, and the names of the workload sources,
    strategies, digit systems, backends and baselines that are installed. What it cannot know,
    such as the options of a backend or what is in a bundle, `accelsim.config.load_config` checks.
    """
    schema = ConfigSections.model_json_schema()
    definitions, keys = schema["$defs"], schema["properties"]
    sections = (("quantize", QuantizeSection()), ("unpack", UnpackSection()))
    for key, section in (*sections, ("timing", TimingSection())):
        keys[key]["default"] = section.to_config()
        show_defaults(definitions[type(section).__name__]["properties"], section)
    list_names(definitions["UnpackSection"]["properties"])
    for key, entry in (
        ("workloads", _workloads(definitions)),
        ("backends", named(list_backends())),
        ("accelerator", {"anyOf": [{"enum": list_accelerators()}, _A_YAML_FILE]}),
        ("baselines", {"enum": list_baselines()}),
    ):
        least = 0 if key in ("accelerator", "baselines") else 1
        keys[key] = _described(keys[key]) | _one_or_more(entry, least)
    schema["required"].remove("backends")
    either = [_needs("backends"), _needs("accelerator")]
    return {"$schema": DIALECT, **schema, "title": "accelsim config", "anyOf": either}


def show_defaults(keys: dict[str, Any], section: Section) -> None:
    """Put the values of a section into the schema of its keys, as a config writes them."""
    for name, value in section.to_config().items():
        if value is not None:
            keys[name]["default"] = value


def list_names(keys: dict[str, Any]) -> None:
    """Put what is installed into the schema of a section with the keys of ``unpack``."""
    for key, entry in (
        ("strategy", named([*list_strategies(), FUSED])),
        ("digits", {"enum": list(DIGIT_SYSTEMS)}),
    ):
        keys[key] = _described(keys[key]) | _one_or_more(entry, 1)
    if "backend" in keys:
        keys["backend"] = _described(keys["backend"]) | named(list_backends())


def _described(key: dict[str, Any]) -> dict[str, Any]:
    """Return what a key's schema says for people, and its default."""
    return {name: key[name] for name in ("title", "description", "default") if name in key}


def _one_or_more(entry: dict[str, Any], least: int) -> dict[str, Any]:
    """Return the schema of a list whose only entry may stand alone."""
    return {"anyOf": [entry, {"type": "array", "items": entry, "minItems": least}]}


def named(names: list[str]) -> dict[str, Any]:
    """Return the schema of a plug-in: its name, or its name with options.

    Parameters
    ----------
    names : list of str
        Those that are installed.
    """
    name = {"anyOf": [{"enum": names}, _IN_A_FILE]}
    return {
        "anyOf": [*name["anyOf"], {"type": "object", "properties": {"name": name}} | _needs("name")]
    }


def _needs(key: str) -> dict[str, Any]:
    return {"required": [key]}


def _workloads(definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an entry of ``workloads``; its parts go to `definitions`."""
    entries: list[dict[str, Any]] = []
    for key in sources.names():
        source = sources.get(key).model_json_schema(ref_template="#/$defs/{model}")
        definitions |= source.pop("$defs", {})
        definitions[source["title"]] = source
        entries.append({"$ref": f"#/$defs/{source['title']}"})
    in_a_file = {"type": "object", "properties": {SOURCE: _IN_A_FILE}} | _needs(SOURCE)
    return {"anyOf": [*entries, in_a_file]}
