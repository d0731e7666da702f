"""Templates filled, with the page's style and script in them."""

from __future__ import annotations

from importlib.resources import files
from typing import Any


def filled(template: str, **values: Any) -> str:
    """Return a page from one of the templates beside this file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__package__, "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    here = files(__package__)
    return environment.get_template(template).render(
        style=(here / "page.css").read_text("utf-8"),
        script=(here / "tables.js").read_text("utf-8"),
        **values,
    )
