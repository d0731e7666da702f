"""What limits the modelled accelerators of a run: memory, and accumulators too narrow for K."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from accelsim.records import Record
from accelsim.report.cells import count
from accelsim.report.designs import Design
from accelsim.report.settings import describe


def limits(found: Sequence[Design]) -> list[str]:
    """Return sentences on what limits the modelled accelerators, for each subject that is known.

    Parameters
    ----------
    found : sequence of Design
        What `accelsim.report.designs.designs` returned for one run.
    """
    return [words for words in (_memory(found), _front_end(found), *_accumulators(found)) if words]


def _memory(found: Sequence[Design]) -> str:
    """Say how many GEMMs DRAM bounds, and what share of the cycles are stalls."""
    placed = [[r.roofline for r in design.records if r.roofline] for design in found]
    placed = [rooflines for rooflines in placed if rooflines]
    if not placed:
        return ""
    bound = [sum(roofline.bound == "dram" for roofline in rooflines) for rooflines in placed]
    where = f"In the {len(placed)} designs " if len(placed) > 1 else ""
    words = f"{where}DRAM bounds {_range(bound)} of {max(map(len, placed))} GEMMs"
    shares = [design.stall_share for design in found if design.stall_share is not None]
    if not shares:
        return f"{words}."
    return f"{words}; {_range([round(100 * share) for share in shares])}% of the cycles are stalls."


def _front_end(found: Sequence[Design]) -> str:
    """Say what share of the bytes of DRAM the pass that rounds and unpacks takes."""
    shares = []
    for design in found:
        traffic = [record.traffic.get("dram", {}) for record in design.records]
        bytes_read = sum(parts.get("front_end", 0) for parts in traffic)
        if bytes_read and design.dram_bytes:
            shares.append(round(100 * bytes_read / design.dram_bytes))
    if not shares:
        return ""
    return (
        f"{_range(shares)}% of the bytes of DRAM are the front end's, which reads the operands in "
        "floats and writes their digits."
    )


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _accumulators(found: Sequence[Design]) -> list[str]:
    """Name the widths at which K had to be cut, for each width of accumulators."""
    worst: dict[str, dict[str, tuple[int, float | None]]] = defaultdict(dict)
    for design in found:
        record = max(design.records, key=_pieces)
        if _pieces(record) > 1:
            option = record.backend_options.get("accumulator_bits")
            name = "these accumulators" if option is None else f"{option}-bit accumulators"
            (bits,) = describe(record, ["bits"])
            if _pieces(record) > worst[name].get(bits, (1, None))[0]:
                worst[name][bits] = _pieces(record), design.shift_adds
    sentences = []
    for name, by_bits in worst.items():
        parts = [
            f"{pieces} pieces at {bits}"
            + ("" if added is None else f" ({count(round(added))} shift-adds)")
            for bits, (pieces, added) in by_bits.items()
        ]
        cut = f"With {name} K is cut into up to {', '.join(parts)}"
        sentences.append(f"{cut}; wider accumulators may be cheaper.")
    return sentences


def _pieces(record: Record) -> int:
    return record.k_pieces or 1
