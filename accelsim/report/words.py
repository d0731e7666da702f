"""What the names of strategies, products and phases in tables mean, for the legends below them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.records import Record
from accelsim.report.settings import describe
from accelsim.types import FUSED

if TYPE_CHECKING:
    from workloads import Gemm

_STRATEGIES = {
    "mix": "high digits in further rows, columns or both, the cheapest for each GEMM",
    "optimal": "high digits in the fewest rows and columns, by a proof for each operand",
    "block": "one product of the low digits, and products of a few columns for the high",
    "best": "the cheapest of all strategies for each GEMM",
    FUSED: "the backend's own way from floats to the product",
}
"""The shipped strategies but the paper's pairs, which `_WAYS` explains."""

_WAYS = (
    "how A/B was unpacked: the high digits of an entry, those beyond its first, lie in further "
    "rows, in further columns, or in both kinds of lines"
)

_PAIR = re.compile(r"(row|column|both)(/(row|column|both))?")

_OPS = {
    "qk": "attention's product of queries and keys",
    "pv": "attention's product of probabilities and values",
}

_PHASES = {
    "grad_input": "the gradient of A, in the backward pass; names end with .dx, in attention "
    ".dq or .dp",
    "grad_weight": "the gradient of B, in the backward pass; names end with .dw, in attention "
    ".dk or .dv",
}


def explain_strategies(records: Sequence[Record]) -> dict[str, str]:
    """Return what the strategies of some records do, by name.

    Parameters
    ----------
    records : sequence of Record
        Those that are shown. Strategies of other packages are left to their documentation.
    """
    asked = {record.strategy for record in records}
    found = {name: words for name, words in _STRATEGIES.items() if name in asked}
    if any(map(_PAIR.fullmatch, asked)):
        found["row, column, both"] = _WAYS
    return found


def explain_rounding(records: Sequence[Record]) -> dict[str, str]:
    """Return what β means, with the percentile of some records if they share one.

    Parameters
    ----------
    records : sequence of Record
        Those that are shown.
    """
    found = {*map(tuple, (describe(record, ["percentile"]) for record in records))}
    (which,) = found.pop() if len(found) == 1 and () not in found else ("the percentile",)
    return {"β": f"rounding maps {which} of the magnitudes to β/2, and clips nothing"}


def explain_choices(records: Sequence[Record]) -> dict[str, str]:
    """Return what ``by row/column`` means, if a strategy that chooses has chosen such a pair.

    Parameters
    ----------
    records : sequence of Record
        Those that are shown.
    """
    chosen = (r.strategy_chosen or "" for r in records if r.strategy_chosen != r.strategy)
    return {"by": _WAYS} if any(map(_PAIR.match, chosen)) else {}


def explain_gemms(gemms: Sequence[Record | Gemm]) -> dict[str, str]:
    """Return what the ops and phases of some GEMMs are, by name; none for linear and forward.

    Parameters
    ----------
    gemms : sequence of Record or Gemm
        Those that are shown, or their records.
    """
    ops, phases = {gemm.op for gemm in gemms}, {gemm.phase for gemm in gemms}
    return {
        name: words
        for terms, present in ((_OPS, ops), (_PHASES, phases))
        for name, words in terms.items()
        if name in present
    }
