"""Predictions of a backend's cost model for an unpacked GEMM, by the names of a record."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from accelsim.arithmetic.totals import total
from accelsim.routes.execute import spec
from accelsim.routes.lanes import corrections_of
from accelsim.types import SIDES, PerOperand, Side
from accelsim.unpack import DigitSystem, LowBitProblem
from accelsim.unpack.corrected import CorrectedProduct
from accelsim.unpack.problem import LineMap, Product
from gemm_backends import Cost, GemmBackend, UnpackWork
from gemm_backends.declaration import written_for


def modelled(
    backend: GemmBackend,
    systems: PerOperand[DigitSystem],
    problem: LowBitProblem,
    float_bytes: int = 4,
    prepared: Collection[Side] = (),
) -> dict[str, Any]:
    """Sum the costs of all products, and of splitting the operands and adding the products up.

    Parameters
    ----------
    backend : GemmBackend
        Whose model it is.
    systems : PerOperand of DigitSystem
        The digits of A and B.
    problem : LowBitProblem
        The scheduled products.
    float_bytes : int
        Bytes of an entry of the float operands.
    prepared : collection of {"a", "b"}
        Operands that were split ahead, as weights are: the pass over them is not in the cost.

    Returns
    -------
    dict
        Empty if the backend models no cost, or a product is sparse.
    """
    if any(product.is_sparse for product in problem.products):
        return {}
    products = [_cost(backend, systems, product) for product in problem.products]
    costs = [cost for cost in products if cost is not None]
    if not costs or len(costs) < len(products):
        return {}
    around = _around(backend, unpack_work(problem, float_bytes, prepared))
    busy = total(_busy(cost) for cost in costs)
    packed = None if around is None else _busy(around)
    waited = [cost.stall_cycles for cost in (*costs, around) if cost is not None]
    stalls = total(waited) if any(each is not None for each in waited) else None
    together = None if busy is None else round(busy) + round(packed or 0) + round(stalls or 0)
    every = costs if around is None else [*costs, around]
    area, peak = costs[0].relative_area, costs[0].peak_macs
    energy = total(cost.energy_pj for cost in costs)
    if energy is not None and around is not None:
        energy += around.energy_pj or 0.0
    basis = dict(costs[0].basis)
    traffic = {
        level: _summed(cost.traffic.get(level, {}) for cost in every)
        for level in dict.fromkeys(level for cost in every for level in cost.traffic)
    }
    return {
        "cost_model": costs[0].model or backend.name,
        "cost_basis": basis if around is None else {**around.basis, **basis},
        "cycles": together,
        "compute_cycles": None if busy is None else round(busy),
        "shift_add_cycles": None if packed is None else round(packed),
        "stall_cycles": None if stalls is None else round(stalls),
        "seconds": _seconds(every),
        "utilization": problem.low_bit_macs / (peak * together) if peak and together else None,
        "relative_area": area,
        "area_time": None if area is None or together is None else area * together,
        "area_mm2": None if costs[0].area_um2 is None else costs[0].area_um2 * 1e-6,
        "traffic": traffic,
        "roofline": _roofline(problem.low_bit_macs, peak, together, traffic, costs[0]),
        "mapping": dict(_largest(problem, costs).mapping),
        "energy": None if energy is None else energy * 1e-12,
        "energy_by": {
            part: picojoules * 1e-12
            for part, picojoules in _summed(cost.energy_by_pj for cost in every).items()
        },
    }


def _cost(backend: GemmBackend, systems: PerOperand[DigitSystem], product: Product) -> Cost | None:
    if isinstance(product, CorrectedProduct):
        return backend.corrected_cost(spec(systems, product), corrections_of(product))
    return backend.cost(spec(systems, product))


def unpack_work(
    problem: LowBitProblem, float_bytes: int, prepared: Collection[Side] = ()
) -> UnpackWork:
    """Describe the work of one GEMM other than its products.

    Digits that several products share are written once, those of prepared operands were before.
    """
    batch, n, d, h = problem.shape
    lines = sum(lines for side, lines in (("a", n), ("b", h)) if side not in prepared)
    a, b = (
        () if side in prepared else [getattr(product, side) for product in problem.products]
        for side in SIDES
    )
    return UnpackWork(
        shift_adds=problem.shift_adds,
        sums=n * h,
        operand_bytes=batch * lines * d * float_bytes,
        digits_a=_distinct(a),
        digits_b=_distinct(b),
        mapped_lines=sum(map(_mapped, problem.products)),
        values=batch * lines * d,
        entries=sum(
            getattr(product, f"high_{side}").digits.entries
            for product in problem.products
            if isinstance(product, CorrectedProduct)
            for side in SIDES
            if side not in prepared
        ),
    )


def _roofline(
    macs: int,
    peak: int | None,
    cycles: int | None,
    traffic: Mapping[str, Mapping[str, float]],
    cost: Cost,
) -> dict[str, Any] | None:
    """Place a GEMM on the roofline of its accelerator; None where nothing moves from DRAM."""
    moved = sum(traffic.get("dram", {}).values())
    if not (moved and peak and cycles and macs):
        return None
    reach = None if cost.dram_bandwidth is None else macs / moved * cost.dram_bandwidth
    by_dram = reach is not None and reach < peak
    return {
        "intensity": macs / moved,
        "achieved": macs / cycles,
        "attainable": reach if by_dram else peak,
        "bound": "dram" if by_dram else "compute",
    }


def _largest(problem: LowBitProblem, costs: Sequence[Cost]) -> Cost:
    """Return the cost of the product with the most multiplications."""
    pairs = zip((product.macs for product in problem.products), costs, strict=True)
    return max(pairs, key=lambda pair: pair[0])[1]


def _around(backend: GemmBackend, work: UnpackWork) -> Cost | None:
    if written_for(type(backend), "unpack_cost"):
        return backend.unpack_cost(work)
    return backend.shift_add_cost(work.shift_adds)


def _busy(cost: Cost) -> float | None:
    return None if cost.cycles is None else cost.cycles - (cost.stall_cycles or 0)


def _seconds(costs: Iterable[Cost]) -> float | None:
    """Return the sum, or None unless the model knows a clock."""
    return total(cost.seconds for cost in costs)


def _distinct(operands: Iterable[Any]) -> int:
    matrices = {
        (matrix.data_ptr(), matrix.shape, matrix.stride()): matrix.numel()
        for matrix in operands
        if isinstance(matrix, Tensor)
    }
    return sum(matrices.values())


def _mapped(product: Product) -> int:
    """Count the lines of a product that do not simply become the lines of C."""
    return sum(_moved(lines, product.exponent) for lines in (product.rows, product.columns))


def _moved(lines: LineMap, exponent: int) -> int:
    return sum(
        segment.count
        for segment in lines
        if segment.index is not None or segment.exponent or exponent
    )


def _summed(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            sums[name] = sums.get(name, 0.0) + value
    return sums
