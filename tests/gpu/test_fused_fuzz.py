"""The fused route on drawn operands: every number is right, or there is an error that is seen."""

import pytest
from fused_fuzz import draw_case, fuzz, fuzz_in_processes, run_case

from accelsim.kernels.nvcc import CSRC, CudaSource
from gemm_backends.cuda.cutlass_kernels import has_wgmma
from gemm_backends.cuda.fused import (
    columns,
    dense,
    few,
    operand,
    rounder,
    rows,
    slots,
    way,
)


@pytest.fixture(autouse=True)
def hopper():
    if not has_wgmma():
        pytest.skip("needs compute capability 9.0")


def test_a_few_drawn_pairs():
    met, faults = fuzz(range(90), "small")
    assert not faults
    assert met["in graphs"] > 3
    assert met["by rows"] > 6
    assert met["few rows"] > 1
    assert met["three digits"] > 2


@pytest.mark.slow
def test_two_thousand_drawn_pairs():
    met, faults = fuzz_in_processes(range(10_000, 12_100))
    print(dict(met))
    assert not faults, (len(faults), faults[:5])
    assert met["pairs"] >= 2000
    assert met["large"] >= 300
    assert met["by rows"] >= 500
    assert met["few rows"] >= 100
    assert met["three digits"] >= 200
    assert met["in graphs"] >= 200


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
        "round_rows.cu",
        "high = first, at_high = at_first;",
        "high = first;",
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

USERS = {
    "split.cu": [(operand, "SPLIT")],
    "planes.cu": [(operand, "PLANES")],
    "high_parts.cu": [(operand, "HIGH_PARTS"), (slots, "HIGH_PARTS")],
    "conclude.hpp": [(way, "STATUS"), (few, "FEW_ROWS")],
    "round_rows.cu": [(rows, "ROUND_ROWS")],
    "few_rows.cu": [(few, "FEW_ROWS")],
    "row_scales.cu": [(rounder, "ROW_SCALES")],
    "pack.cu": [(way, "PACK"), (columns, "PACK"), (dense, "PACK")],
}


@pytest.mark.slow
@pytest.mark.parametrize("part", PLANTED)
def test_a_planted_fault_is_found(part, tmp_path, monkeypatch):
    file, right, wrong = PLANTED[part]
    text = (CSRC / file).read_text()
    assert text.count(right) == 1
    (tmp_path / file).write_text(text.replace(right, wrong))
    for module, name in USERS[file]:
        # A source finds a header beside it before that of the suite.
        source = tmp_path / getattr(module, name).path.name
        if not source.exists():
            source.write_text((CSRC / source.name).read_text())
        monkeypatch.setattr(module, name, CudaSource(source))
    for seed in range(20_000, 21_500):
        if run_case(draw_case(seed, "medium" if seed % 4 == 0 else "small")).faults:
            return
    pytest.fail(f"1,500 pairs of operands do not show that {part} are wrong")
