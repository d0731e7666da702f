"""The formats in which rows are printed."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Format: TypeAlias = Literal["table", "csv", "json", "markdown", "latex"]
FORMATS: tuple[Format, ...] = get_args(Format)
