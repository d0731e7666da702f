"""Faults to plant in the kernels of the fused route, each of which its fuzzer must find."""

PLANTED = {
    "lists": ("split.cu", "if (listed > lists.length) atomicOr(flags, kListFull);", ""),
    "slots": (
        "high_parts.cu",
        "if (slot >= 0 && sources_b) sources_b[slot] = column;",
        "if (slot >= 0 && sources_b) sources_b[slot] = slot;",
    ),
    "places": (
        "high_parts.cu",
        "if (place >= 0) sources[place] = column;",
        "if (place >= 0) sources[place] = column / 2;",
    ),
    "room": (
        "high_parts.cu",
        "        atomicOr(flags, kColumnsFull);\n        continue;",
        "        continue;",
    ),
    "cross products": (
        "high_parts.cu",
        "if (cross.chains) multiply_high_parts",
        "if (cross.chains && entry.high > 0) multiply_high_parts",
    ),
    "lists of cross products": ("high_parts.cu", "atomicOr(flags, kCrossFull);", ""),
    "shifts": (
        "planes.cu",
        "rest[i] = (rest[i] >> 8) + ((rest[i] >> 7) & 1);",
        "rest[i] = rest[i] >> 8;",
    ),
    "scale": ("conclude.hpp", "scale *= side.scale;", "scale = side.scale;"),
    "search in rows": ("round_rows.cu", "    through += above;\n", ""),
    "search beyond the guess": (
        "search.hpp",
        "known.at_high + 1 < rank;",
        "known.at_high + 2 < rank;",
    ),
    "digits of rows": (
        "round_rows.cu",
        "args.slots + place.offset + slot",
        "args.slots + place.offset",
    ),
    "lists of rows": (
        "round_rows.cu",
        "if (args.entries && listed > args.list_length)",
        "if (false)",
    ),
    "few rows": ("few_rows.cu", "static_cast<unsigned>(entry.high) << 8", "entry.high << 7"),
    "digits of few rows": ("few_rows.cu", "max(all.digits, found.digits)", "0"),
    "scales of rows": ("row_scales.cu", "left -= found_before;", "left -= found_before / 2;"),
    "proof": (
        "conclude.hpp",
        "if (!provable || !(bound * 1.004 < limit * limit))",
        "if (!provable)",
    ),
    "digits": ("conclude.hpp", "if (digits > side.planned) flags |= kDigitsFew;", ""),
    "gate": ("conclude.hpp", "status->gate = conclusion.gate;", "status->gate = 0;"),
    "64-bit sums": ("pack.cu", "int64_t{sums[i]}) << shift)", "int64_t{sums[i]}) << 8)"),
}
"""A part: its source, and what is changed in it."""
