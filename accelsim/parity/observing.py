"""What a training step shows of its integers: the largest, and those beyond one digit, by kind."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from accelsim.arithmetic.rounding import quantize
from accelsim.integer_mode.tally import Tally, Totals
from accelsim.types import Counts, Request
from workloads.tracing import GemmCall

PASSES = ("forward", "backward")


@dataclass
class _Kind:
    """Sums over the operands of one kind."""

    entries: int = 0
    out_of_bound: int = 0
    largest: int = 0


class Observed:
    """Looks at the operands of the integer GEMMs of one step.

    An instance is what `IntegerGemms.watch` calls.
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Kind] = defaultdict(_Kind)

    def __call__(self, call: GemmCall, request: Request, counts: Counts) -> None:
        """Count both operands of a GEMM."""
        phase = PASSES[call.phase != "forward"]
        for side, operand, entries, beyond in (
            ("a", call.a, counts.entries_a, counts.out_of_bound_a),
            ("b", call.b, counts.entries_b, counts.out_of_bound_b),
        ):
            how = getattr(request.rounding, side)
            found = self._kinds[phase, getattr(request.names, side)]
            found.entries += entries
            found.out_of_bound += beyond
            rounded = quantize(
                operand, how.percentile, how.beta, how.granularity, how.zero_alpha, call.name
            )
            found.largest = max(found.largest, int(rounded.largest))

    def record(self, tally: Tally) -> dict[str, Any]:
        """Return what was seen, of each pass, as JSON types.

        Parameters
        ----------
        tally : Tally
            Of the same step, for the unpack ratios.

        Returns
        -------
        dict
            ``P_ratio``, ``P_out_of_bound`` (a share of all entries), and by kind of operand
            ``P_out_of_bound_by_kind`` and ``P_largest``, for P ``forward`` and ``backward``.
        """
        found: dict[str, Any] = {}
        for name in PASSES:
            of = {kind: seen for (phase, kind), seen in self._kinds.items() if phase == name}
            counts = _of_pass(tally, name)
            found |= {
                f"{name}_ratio": counts.ratio,
                f"{name}_out_of_bound": _share(counts.out_of_bound, counts.entries),
                f"{name}_out_of_bound_by_kind": {
                    kind: _share(seen.out_of_bound, seen.entries) for kind, seen in of.items()
                },
                f"{name}_largest": {kind: seen.largest for kind, seen in of.items()},
            }
        return found


def _of_pass(tally: Tally, name: str) -> Totals:
    return tally.sum(lambda phase: (phase == "forward") == (name == "forward"))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
