"""From float32 operands to the exact integer product, against the fp32 GEMM on the same threads."""

import statistics
from time import perf_counter

import pytest
import torch

from accelsim.arithmetic.oracle import compare, oracle
from accelsim.arithmetic.rounding import quantize
from accelsim.measure.timing import StageTimer
from accelsim.routes import GeneralRoute
from accelsim.types import PerOperand, Request, Rounding
from accelsim.unpack import DigitSystem, load_strategy
from gemm_backends import load_backend

SIZE = 2048
BETA = 31
SYSTEM = DigitSystem("balanced", 8)


@pytest.fixture(scope="module")
def operands():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(SIZE, SIZE, generator=generator) for _ in range(2))
    a[:, :: SIZE // 4] *= 30
    return a, b


def request():
    return Request(
        shape=(1, SIZE, SIZE, SIZE),
        device=torch.device("cpu"),
        dtype=torch.float32,
        rounding=PerOperand.both(Rounding(beta=BETA)),
        digits=PerOperand.both(SYSTEM),
        fixed=frozenset("b"),
    )


@pytest.mark.parametrize("name", ["cpu-int8"])
def test_b_prepared(measure, operands, name):
    """Quantize A, unpack, multiply, pack; floor: A read, its digits and C written, B's digits read.

    The GEMM in fp32 is timed before every run, so that both see the same machine. Without
    AVX-512 VNNI the backend has no int8 instructions to be fast with.
    """
    a, b = operands
    backend, strategy = load_backend(name), load_strategy("column")
    route = GeneralRoute(request(), strategy, backend)
    prepared_b = route.prepare("b", b)
    stages, fp32 = StageTimer(), list[float]()

    def multiply_fp32():
        start = perf_counter()
        torch.mm(a, b.T)
        fp32.append(perf_counter() - start)
        return ()

    def fp32_s():
        return statistics.median(fp32[2:])

    def run():
        with stages.repeat():
            return route.run(a, prepared_b, stages)

    done = measure(
        run,
        multiply_fp32,
        rounds=7,
        floor=a.nbytes + 2 * SIZE * SIZE + 8 * SIZE * SIZE,
        fp32_ms=lambda _: fp32_s() * 1e3,
        times_as_fast_as_fp32=lambda median: fp32_s() / median,
        unpack_and_pack_over_fp32=lambda _: (
            sum(stages.summary()[stage]["median"] for stage in ("unpack", "pack")) / fp32_s() / 1e3
        ),
    )
    exact = oracle(quantize(a, 95, BETA).values, quantize(b, 95, BETA).values)
    assert compare(done, exact).exact
    assert route.counts().prepared == ("b",)
