"""Every strategy and digit system on operands of real models, through the backends."""

import json
import os
from pathlib import Path

import pytest

from accelsim.arithmetic.oracle import compare, oracle
from accelsim.arithmetic.rounding import quantize
from accelsim.measure.timing import StageTimer
from accelsim.routes.execute import execute, schedule
from accelsim.types import PerOperand
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy
from gemm_backends import load_backend
from workloads import open_bundle

ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("ACCELSIM_SHARED", ROOT.parent / "shared"))
SHIPPED = [
    gemm
    for path in sorted((ROOT / "workloads" / "data").glob("*.safetensors"))
    for gemm in open_bundle(path).gemms
]
BACKENDS = ["emulator", "cpu-int8"]
PAIRS = [f"{a}/{b}" for a in ("row", "column", "both") for b in ("row", "column", "both")]


def check(gemm, percentile, beta, bits, strategy, digits, backends):
    """Run the main path once and return the unpack ratio."""
    system = DigitSystem(digits, bits)
    a, b = (quantize(x, percentile, beta).values for x in gemm.load())
    problem = load_strategy(strategy).unpack(IntegerOperand(a, system), IntegerOperand(b, system))
    expected = oracle(a, b)
    for name in backends:
        backend = load_backend(name).for_bits(bits, bits)
        scheduled = schedule(problem, backend, PerOperand.both(system), "auto")
        timer = StageTimer()
        with timer.repeat():
            done = execute(scheduled, backend, timer, watch_overflow=False, wide=False)
        verdict = compare(done.result, expected if expected.ndim == 3 else expected[None])
        assert verdict.exact, (gemm.name, beta, bits, strategy, digits, name, verdict)
    return problem.ratio


@pytest.mark.parametrize("digits", ["paper", "balanced"])
@pytest.mark.parametrize(("bits", "beta"), [(3, 15), (4, 31), (8, 255)])
@pytest.mark.parametrize("gemm", SHIPPED, ids=lambda gemm: gemm.name)
def test_shipped_operands_are_exact(gemm, bits, beta, digits):
    ratios = {name: check(gemm, 95, beta, bits, name, digits, BACKENDS) for name in (*PAIRS, "mix")}
    assert ratios["mix"] <= min(ratios[name] for name in PAIRS) + 1e-12


LETTERS = {"row": "r", "column": "c", "both": "b"}


@pytest.mark.slow
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
@pytest.mark.parametrize(
    "setting", [(95, 5), (95, 15), (95, 31), (95, 127), (95, 255), (100, 255)], ids=str
)
def test_ratios_equal_the_reference_on_all_captures(setting, bits):
    if not SHARED.is_dir():
        pytest.skip("the full captures are not part of the repository; set ACCELSIM_SHARED")
    rows = json.loads((SHARED / "reference" / "unpack_ratios.json").read_text())
    percentile, beta = setting
    rows = [r for r in rows if (r["percentile"], r["beta"], r["bits"]) == (*setting, bits)]
    assert rows
    for row in rows:
        (gemm,) = open_bundle(SHARED / "captures" / f"{row['gemm']}.safetensors").gemms
        for name in (*PAIRS, "mix"):
            key = "mix9" if name == "mix" else "".join(LETTERS[part] for part in name.split("/"))
            ratio = check(gemm, percentile, beta, bits, name, "paper", BACKENDS)
            reference_tried_both = "bb" in row["ratio"]
            if key in row["ratio"] and (name != "mix" or reference_tried_both):
                assert ratio == pytest.approx(row["ratio"][key], rel=1e-3)
            check(gemm, percentile, beta, bits, name, "balanced", BACKENDS)
