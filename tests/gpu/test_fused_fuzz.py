"""The fused route on drawn operands: every number is right, or there is an error that is seen."""

import pytest
from fused_fuzz import draw_case, fuzz, fuzz_in_processes, run_case
from planted import PLANTED

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
    assert met["replayed"] > 20
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
    assert met["replayed"] >= 500


USERS = {
    "split.cu": [(operand, "SPLIT")],
    "planes.cu": [(operand, "PLANES")],
    "high_parts.cu": [(operand, "HIGH_PARTS"), (slots, "HIGH_PARTS")],
    "conclude.hpp": [(way, "STATUS"), (few, "FEW_ROWS")],
    "round_rows.cu": [(rows, "ROUND_ROWS")],
    "search.hpp": [(rows, "ROUND_ROWS")],
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
