"""The bundles that ship with the package."""

from __future__ import annotations

from pathlib import Path


def shipped_bundles() -> list[Path]:
    """Return the paths of the bundles in ``workloads/data``, sorted."""
    return sorted((Path(__file__).parent / "data").glob("*.safetensors"))
