"""What a backend's own model predicts for an unpacked GEMM, as fields of a record."""

from __future__ import annotations

from typing import Any

from accelsim.records.totals import total
from accelsim.routes.execute import spec
from accelsim.types import PerOperand
from accelsim.unpack import DigitSystem, LowBitProblem
from gemm_backends import GemmBackend


def modelled(
    backend: GemmBackend, systems: PerOperand[DigitSystem], problem: LowBitProblem
) -> dict[str, Any]:
    """Sum the costs of all products and of the shift-adds that put them together.

    Parameters
    ----------
    backend : GemmBackend
        Whose model it is.
    systems : PerOperand of DigitSystem
        The digits of A and B.
    problem : LowBitProblem
        The scheduled products.

    Returns
    -------
    dict
        The fields of a record; empty if the backend models no cost, or a product is sparse.
    """
    if problem.sparse_macs:
        return {}
    costs = [backend.cost(spec(systems, product)) for product in problem.products]
    known = [cost for cost in costs if cost is not None]
    if not known or len(known) < len(costs):
        return {}
    cycles = total(cost.cycles for cost in known)
    energy = total(cost.energy_pj for cost in known)
    packing = backend.shift_add_cost(problem.shift_adds)
    packed = None if packing is None or packing.cycles is None else round(packing.cycles)
    together = None if cycles is None else round(cycles) + (packed or 0)
    area, peak = known[0].relative_area, known[0].peak_macs
    return {
        "cost_model": known[0].model or backend.name,
        "cost_basis": dict(known[0].basis),
        "cycles": together,
        "shift_add_cycles": packed,
        "utilization": problem.low_bit_macs / (peak * together) if peak and together else None,
        "relative_area": area,
        "area_time": None if area is None or together is None else area * together,
        "energy": None if energy is None else energy * 1e-12,
    }
