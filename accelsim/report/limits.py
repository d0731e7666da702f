"""What limits the modelled accelerators of a run: memory, and accumulators too narrow for K."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from accelsim.records import Record
from accelsim.report.cells import count
from accelsim.report.designs import Design
from accelsim.report.settings import describe

MANY_STALLS = 0.5
"""The share of stalls in the cycles from which the default order of tiles is probably at fault."""

_SEARCH_SAVES = 6
"""The factor in seconds that a search was seen to save (docs/emulator.md, a session)."""

_MOST_NAMED = 3
"""Designs that are named one by one."""

_SUMS = "sums"

_PARTS = {
    "a": "A's digits",
    "b": "B's digits",
    "c_read": _SUMS,
    "c_write": _SUMS,
    "front_end": "the front end",
}
"""What the parts of DRAM's traffic carry."""


def limits(found: Sequence[Design], short: bool = False) -> list[str]:
    """Return sentences on what limits the modelled accelerators, for each subject that is known.

    Parameters
    ----------
    found : sequence of Design
        What `accelsim.report.designs.designs` returned for one run.
    short : bool
        Whether to leave out the front end and the accumulators.
    """
    sentences = [_mappings(found), _memory(found), _stalls(found), _sums(found)]
    if not short:
        sentences += [_front_end(found), *_accumulators(found)]
    return [words for words in sentences if words]


def _memory(found: Sequence[Design]) -> str:
    """Say how many GEMMs DRAM bounds in each design, and what share of the cycles are stalls."""
    alike: dict[tuple[int, int], list[Design]] = defaultdict(list)
    for design in found:
        if design.bound_by_dram is not None:
            alike[design.bound_by_dram].append(design)
    parts = [
        f"{bound} of {gemms} GEMMs" + ("" if len(found) == 1 else f" of {_named(members, found)}")
        for (bound, gemms), members in alike.items()
    ]
    if not parts:
        return ""
    words = f"DRAM bounds {', '.join(parts)}"
    shares = [design.stall_share for design in found]
    if len(found) == 1 and shares[0] is not None:
        words += f"; {shares[0]:.0%} of the cycles are stalls"
    return f"{words}."


def _stalls(found: Sequence[Design]) -> str:
    """Say what the design that stalls most moves most, and how to look for a better order."""
    worst = max(found, key=lambda design: design.stall_share or 0, default=None)
    if worst is None or (share := worst.stall_share) is None or share <= MANY_STALLS:
        return ""
    moved, most = _moved(worst), _moves_most(worst)
    who = "" if len(found) == 1 else f" of {_named([worst], found)}"
    words = (
        f"{share:.0%} of the cycles{who} are stalls; {moved[most] / sum(moved.values()):.0%} of "
        f"the bytes of DRAM are for {most}"
    )
    if most == _PARTS["front_end"] or any(_searches(design) for design in found):
        return f"{words}."
    return f"{words}. `mapping: {{search: cycles}}` in `memory` looks for a better order of tiles."


def _moved(design: Design) -> dict[str, float]:
    """Return the bytes of DRAM by what they are for."""
    moved: dict[str, float] = defaultdict(float)
    for record in design.records:
        for part, size in record.traffic.get("dram", {}).items():
            moved[_PARTS.get(part, part)] += size
    return moved


def _moves_most(design: Design) -> str:
    moved = _moved(design)
    return max(moved, key=moved.__getitem__, default="")


def _sums(found: Sequence[Design]) -> str:
    """Say why sums move, where they are most of what moves in the design that stalls most."""
    worst = max(found, key=lambda design: design.stall_share or 0, default=None)
    if worst is None or (worst.stall_share or 0) <= MANY_STALLS or _moves_most(worst) != _SUMS:
        return ""
    return (
        "The sums of each product of digits are added into 64-bit entries of C: in SRAM if C fits "
        "half of `sram_kb.c` (all of it unless double-buffered), else in DRAM; a larger one keeps "
        "them."
    )


def _mappings(found: Sequence[Design]) -> str:
    """Say where designs with a searched order of tiles stand beside others with the default."""
    searched = [design for design in found if _searches(design)]
    others = [_but_mapping(design) for design in searched]
    default = [d for d in found if _has_default(d) and _but_mapping(d) not in others]
    if not searched or not default:
        return ""
    return (
        f"The order of tiles is searched (`mapping`) for {_kinds(searched)}, not for "
        f"{_kinds(default)}: a search saves up to a factor of {_SEARCH_SAVES}, so search for all."
    )


def _kinds(some: Sequence[Design]) -> str:
    names = list(dict.fromkeys(design.kind or design.label for design in some))
    return ", ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} designs"


def _has_default(design: Design) -> bool:
    memory = design.records[0].backend_options.get("memory")
    return isinstance(memory, dict) and not (
        memory.get("mapping") not in (None, "default") or memory.get("prefetch") == "scalesim"
    )


def _but_mapping(design: Design) -> dict[str, Any]:
    options = dict(design.records[0].backend_options)
    memory = options.get("memory")
    if isinstance(memory, dict):
        options["memory"] = {key: value for key, value in memory.items() if key != "mapping"}
    return options


def _searches(design: Design) -> bool:
    memory = design.records[0].backend_options.get("memory")
    mapping = memory.get("mapping") if isinstance(memory, dict) else None
    return isinstance(mapping, dict) and mapping.get("search") is not None


def _named(members: Sequence[Design], found: Sequence[Design]) -> str:
    """Name a design, or say how many share a bound; the column `bound` says which."""
    if len(members) == len(found):
        return "each design"
    if len(members) > 1:
        return f"{len(members)} designs"
    (one,) = members
    return ", ".join(filter(None, (one.asked, one.label)))


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
    worst: dict[str, dict[str, tuple[int, Design]]] = defaultdict(dict)
    for design in found:
        pieces = max(map(_pieces, design.records))
        if pieces > 1:
            option = _accumulator_bits(design)
            name = "these accumulators" if option is None else f"{option}-bit accumulators"
            (bits,) = describe(design.records[0], ["bits"])
            if bits not in worst[name] or pieces > worst[name][bits][0]:
                worst[name][bits] = pieces, design
    sentences = []
    for name, by_bits in worst.items():
        parts = [
            f"{pieces} pieces at {bits}"
            + (
                ""
                if (added := design.shift_adds) is None
                else f" ({count(round(added))} shift-adds)"
            )
            for bits, (pieces, design) in by_bits.items()
        ]
        cut = f"With {name} K is cut into up to {', '.join(parts)}"
        tried = any(_has_wider(design, found) for _, design in by_bits.values())
        sentences.append(f"{cut}." if tried else f"{cut}; wider accumulators may be cheaper.")
    return sentences


def _has_wider(design: Design, found: Sequence[Design]) -> bool:
    """Whether the run has the design with wider accumulators, so that the table compares them."""
    mine = _accumulator_bits(design)
    alike = _but_accumulators(design)
    return mine is not None and any(
        (_accumulator_bits(other) or 0) > mine and _but_accumulators(other) == alike
        for other in found
    )


def _but_accumulators(design: Design) -> dict[str, Any]:
    """Return what tells a design from others, without the width of its accumulators."""
    first = design.records[0]
    options = {k: v for k, v in first.backend_options.items() if k != "accumulator_bits"}
    same = ("backend", "bits", "strategy", "digits", "block")
    return {name: getattr(first, name) for name in same} | {"asked": design.asked, "": options}


def _accumulator_bits(design: Design) -> int | None:
    bits = design.records[0].backend_options.get("accumulator_bits")
    return bits if isinstance(bits, int) else None


def _pieces(record: Record) -> int:
    return record.k_pieces or 1
