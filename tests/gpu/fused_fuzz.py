"""Draws pairs of operands for the fused route, and judges every run of them.

The reference shares nothing with the route: it sorts for the percentile, rounds in PyTorch, and
multiplies 16-bit limbs in float64.
"""

import gc
import multiprocessing
import os
import random
import sys
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from quotient import rounded_quotient

from accelsim.arithmetic.digits import DigitSystem
from accelsim.arithmetic.rounding import rank
from accelsim.errors import DataError
from accelsim.kernels.launches import RecordedLaunches
from accelsim.measure.timing import Untimed
from accelsim.types import PerOperand, Request, Rounding
from gemm_backends import load_backend
from gemm_backends.cuda.fused import planner

DEVICE = torch.device("cuda")
DTYPES = (torch.bfloat16, torch.float32, torch.float16)
KINDS = (
    "normal",
    "uniform",
    "long tails",
    "log-normal",
    "columns",
    "rows",
    "corners",
    "scattered",
    "few values",
    "bursts",
)
RUNS = 4
"""Runs of each pair: the first one and three with new values of another kind."""

REPEATS = 3
"""Runs of the same operands in a case that recurs: the last ones are launched as a CUDA graph."""

ENDLESS = 100
"""Seconds after which a case is taken to run for ever; the longest ones take some two."""


@dataclass
class Case:
    """A pair of operands and what is asked of the route."""

    seed: int
    shape: tuple
    dtype: torch.dtype
    rounding: PerOperand
    kinds: list
    output: torch.dtype | None
    prepared: tuple
    graph: bool
    transposed: bool
    columns: bool
    recurs: bool


@dataclass
class Outcome:
    """What the runs of a case came to."""

    runs: int = 0
    digits: int = 1
    refused: int = 0
    poisoned: int = 0
    replans: int = 0
    replayed: int = 0
    faults: list = field(default_factory=list)


def draw_case(seed, size=None):
    """Draw a case: `size` is "small", "medium", "large" or None for a mix."""
    r = random.Random(seed)
    size = size or r.choices(("small", "medium", "large"), (70, 12, 18))[0]
    low, high = {"small": (1, 400), "medium": (300, 2048), "large": (2049, 3300)}[size]
    n, d, h = (r.randint(low, high) for _ in range(3))
    if size == "small" and r.random() < 0.3:
        n, d, h = (r.choice((1, 2, 15, 16, 17, 127, 128, 129, 255, 256, 257)) for _ in range(3))
    if size == "small" and r.random() < 0.2:
        n = r.randint(1, 64)
    if size == "large" and r.random() < 0.15:
        n, d, h = r.choice(((n, d, 11008), (n, 11008, h), (11008, d, 2049), (4096, 4096, 4096)))
    if size != "small" and r.random() < 0.5:
        n, d, h = (-(-x // 8) * 8 for x in (n, d, h))
    batch = r.choice((2, 3, 8)) if size == "small" and r.random() < 0.2 else 1

    def rounding():
        return Rounding(
            r.choice((95, 95, 95, 90, 99, 99.5, 50, 100)),
            round(5 * (1023 / 5) ** r.random(), 2) if r.random() < 0.7 else r.choice((31, 127)),
            "row" if r.random() < 0.3 else "tensor",
            r.choice(("error", "nonzero")),
        )

    first = rounding()
    dtype = r.choice(DTYPES)
    return Case(
        seed,
        (batch, n, d, h),
        dtype,
        PerOperand(first, rounding() if r.random() < 0.5 else first),
        [(r.choice(KINDS), r.choice(KINDS)) for _ in range(RUNS)],
        r.choices((dtype, None, torch.float32, torch.float16), (70, 15, 10, 5))[0],
        r.choice((("b",), ("b",), (), (), ("a",), ("a", "b"))),
        r.random() < 0.15,
        r.random() < 0.1,
        r.random() < 0.6,
        r.random() < 0.4,
    )


def draw_operand(kind, shape, dtype, generator, r):
    """Draw one operand: a kind of entries, and heavy hitters of either sign."""
    x = torch.randn(shape, generator=generator, device=DEVICE)
    rows, d = shape[-2:]

    def factors(*size):
        most = r.choice((3, 10, 60, 1000)) * (r.random() < 0.9 or 300)
        values = 1 + most * torch.rand(size, generator=generator, device=DEVICE)
        sign = r.choice((1, -1, 0))
        return values * (sign or torch.randn(size, generator=generator, device=DEVICE).sign())

    def some(count):
        share = r.choice((0.001, 0.01, 0.1, 0.4))
        wanted = max(1, int(count * share))
        return torch.randperm(count, generator=generator, device=DEVICE)[:wanted]

    if kind == "uniform":
        x = torch.rand(shape, generator=generator, device=DEVICE) - r.choice((0, 0.5))
    elif kind == "long tails":
        x = x**3
    elif kind == "log-normal":
        x = x.sign() * (r.choice((1, 2)) * x.abs()).exp()
    elif kind == "columns":
        columns = some(d)
        x[..., columns] = x[..., columns].abs() * factors(len(columns))
    elif kind == "rows":
        lines = some(rows)
        x[..., lines, :] *= factors(len(lines), 1)
    elif kind == "corners":
        i, j = max(1, rows // r.choice((2, 7, 40))), max(1, d // r.choice((2, 7, 40)))
        x[..., -i:, -j:] *= factors(1)
        x[..., 0, 0] *= factors(1)[0]
    elif kind == "scattered":
        count = max(1, int(x.numel() * r.choice((1e-4, 1e-3, 1e-2))))
        where = torch.randint(x.numel(), (count,), generator=generator, device=DEVICE)
        x.view(-1)[where] *= factors(count)
    elif kind == "bursts":
        # A few lines have far more heavy hitters than all others, in few columns.
        lines = torch.randperm(rows, generator=generator, device=DEVICE)[: r.randint(1, 4)]
        columns = torch.randperm(d, generator=generator, device=DEVICE)[: max(1, d // 25)]
        x[..., lines[:, None], columns] *= factors(len(lines), len(columns))
    elif kind == "few values":
        x = torch.randint(-3, 4, shape, generator=generator, device=DEVICE).float()
        x[..., 0, : max(1, d // 50)] *= factors(1)[0]
    largest = torch.finfo(dtype).max / 4
    return (x * r.choice((1e-3, 1, 30))).clamp(-largest, largest).to(dtype)


def reference_integers(x, rounding):
    """Round by sorting; returns int64 integers and float32 scales, or why there are none."""
    values = x.to(torch.float32)
    lines = values if rounding.granularity == "row" else values.reshape(1, -1)
    order = lines.abs().sort(dim=-1).values
    count = lines.shape[-1]
    alpha = order[..., count - rank(count, rounding.percentile)]
    if rounding.zero_alpha == "nonzero" and (alpha == 0).any():
        # The percentile of those that are not zero: they are the last ones in order.
        present = (order > 0).sum(dim=-1)
        flat = alpha.reshape(-1).tolist()
        for i, some in enumerate(present.reshape(-1).tolist()):
            if flat[i] == 0 and some:
                line = order.reshape(-1, count)[i]
                flat[i] = float(line[count - rank(some, rounding.percentile)])
        alpha = torch.tensor(flat, dtype=torch.float32, device=DEVICE).reshape(alpha.shape)
    scale = (rounding.beta / (2 * alpha.to(torch.float64))).to(torch.float32)
    scale = torch.where(order[..., -1] == 0, torch.ones_like(scale), scale)
    if not (torch.isfinite(scale) & (scale > 0)).all():
        return None, "no scale"
    scale = scale.unsqueeze(-1) if rounding.granularity == "row" else scale.reshape(())
    rounded = (values * scale).round()
    if float(rounded.abs().max()) >= 2**62:
        return None, "too large"
    return rounded.to(torch.int64), scale


def exact_product(a, b):
    """Multiply int64 matrices modulo 2^64, from float64 products of 16-bit limbs."""
    largest = [max(1, int(x.abs().max())) for x in (a, b)]
    if largest[0] * largest[1] * a.shape[-1] < 2**53:
        return (a.double() @ b.double().mT).to(torch.int64)
    total = 0
    for i, x in _limbs(a, largest[0]):
        for j, y in _limbs(b, largest[1]):
            if i + j < 4:
                total = total + ((x @ y.mT).to(torch.int64) << 16 * (i + j))
    return total


def _limbs(x, largest):
    count = max(1, -(-(largest.bit_length() + 1) // 16))
    for i in range(count):
        part = x >> 16 * i
        yield i, (part if i == count - 1 else part & 0xFFFF).double()


def proved(a, b):
    """Whether the norms prove that int64 holds every sum."""
    norms = [x.double().square().sum(dim=-1).max().sqrt() for x in (a, b)]
    return bool(norms[0] * norms[1] < 2.0**62.9)


def open_route(case):
    batch, n, d, h = case.shape
    return load_backend("cutlass-int8").fused(
        Request(
            shape=(batch, n, d, h),
            device=DEVICE,
            dtype=case.dtype,
            rounding=case.rounding,
            digits=PerOperand.both(DigitSystem("balanced", 8)),
            fixed=frozenset(case.prepared),
            output=case.output,
        )
    )


@contextmanager
def choosing_columns(wanted):
    """Take slots and places wherever they save multiplications, whatever they cost besides."""
    kept = planner.ASIDE, planner.COPIED_BYTE
    if wanted:
        planner.ASIDE = planner.COPIED_BYTE = 0
    try:
        yield
    finally:
        planner.ASIDE, planner.COPIED_BYTE = kept


@contextmanager
def counting_replays(outcome):
    """Count the runs that are launched as a graph that was recorded of an earlier run."""
    kept = RecordedLaunches.run

    def run(self, stream):
        outcome.replayed += 1
        kept(self, stream)

    RecordedLaunches.run = run
    try:
        yield
    finally:
        RecordedLaunches.run = kept


def run_case(case):
    """Run a case; `faults` of what is returned says what was wrong."""
    outcome = Outcome()
    with choosing_columns(case.columns), counting_replays(outcome):
        _run_case(case, outcome)
    if case.shape[1] * case.shape[3] > 2**22:
        torch.cuda.empty_cache()
    return outcome


def _run_case(case, outcome):
    r = random.Random(case.seed + 1)
    generator = torch.Generator(DEVICE).manual_seed(case.seed)
    batch, n, d, h = case.shape
    lead = (batch,) if batch > 1 else ()
    route = open_route(case)

    def fresh(side, kind):
        rows = n if side == "a" else h
        return draw_operand(kind, (*lead, rows, d), case.dtype, generator, r)

    operands = {side: fresh(side, kind) for side, kind in zip("ab", case.kinds[0], strict=True)}
    rounded, given = {}, {}
    for side, x in operands.items():
        rounded[side] = reference_integers(x, case.rounding.of(side))
        if side in case.prepared:
            if rounded[side][0] is None:
                outcome.refused += 1
                try:
                    route.prepare(side, x)
                    outcome.faults.append((0, f"{side} was prepared: {rounded[side][1]}"))
                except DataError:
                    pass
                return
            try:
                given[side] = route.prepare(side, x)
            except DataError as error:
                outcome.faults.append((0, f"{side} was refused: {error}"))
                return
        else:
            given[side] = x.mT.contiguous().mT if case.transposed else x

    def expected():
        """Return the integers, the scales, and whether int64 is proved; None without a scale."""
        if any(values is None for values, _ in rounded.values()):
            return None
        (qa, sa), (qb, sb) = rounded["a"], rounded["b"]
        return exact_product(qa, qb), (sa, sb), proved(qa, qb)

    def judge(out, number, right):
        outcome.runs += 1
        fault = _judge(case, route, out, right, outcome, bool(case.graph and number))
        if fault:
            outcome.faults.append((number, fault))

    graph = captured = None
    for number in range(RUNS):
        if number:
            for side, kind in zip("ab", case.kinds[number], strict=True):
                if side not in case.prepared:
                    x = fresh(side, kind)
                    rounded[side] = reference_integers(x, case.rounding.of(side))
                    given[side] = given[side].copy_(x) if case.graph or case.recurs else x
        right = expected()
        if case.graph and number:
            if graph is None:
                gc.collect()  # an older graph that it destroyed now would end the capture
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    captured = route.run(given["a"], given["b"], Untimed())
            captured.fill_(77)
            graph.replay()
            judge(captured, number, right)
            continue
        repeats = REPEATS if case.recurs and not case.graph else 1
        for repeat in range(repeats):
            out = route.run(given["a"], given["b"], Untimed())
            if repeat in (0, repeats - 1):
                judge(out, number, right)
            del out  # so that the next one takes its place in memory
    counts = route.counts()
    outcome.replans = counts.replans
    if counts.prepared != tuple(sorted(case.prepared)):
        outcome.faults.append((RUNS, f"prepared: {counts.prepared}"))
    outcome.digits = max(counts.max_digits_a, counts.max_digits_b, outcome.digits)


def _judge(case, route, out, right, outcome, in_graph):
    try:
        route.check()
        error = None
    except DataError as found:
        error = str(found)
    if error is not None:
        if right is None:
            outcome.refused += 1
            return None
        if not in_graph:
            return f"refused: {error}"
        outcome.poisoned += 1
        poisoned = out == -(2**63) if out.dtype is torch.int64 else out.isnan()
        return None if bool(poisoned.all()) else "an error, and the result is not poisoned"
    if right is None:
        return "there is no scale, and nothing was said"
    product, scales, fits = right
    for side, scale, found in zip("ab", scales, (route.scales().a, route.scales().b), strict=True):
        if not torch.equal(scale, found):
            return f"scale of {side}"
    try:
        integers = route.integers()
    except DataError as found:
        return f"check() saw nothing, and integers() says: {found}"
    if isinstance(integers, np.ndarray):
        if fits:
            return "Python integers where int64 is proved"
        low = np.vectorize(lambda c: (int(c) + 2**63) % 2**64 - 2**63, otypes=[np.int64])(integers)
        integers = torch.from_numpy(low).to(DEVICE)
        if not torch.equal(integers, product):
            return "wrong Python integers"
        return None
    if not torch.equal(integers, product):
        return f"{int((integers != product).sum())} of {product.numel()} integers wrong"
    if case.output is None:
        return None if torch.equal(out, product) else "the result is not the integers"
    if int(product.abs().max()) < 2**53:
        scale = scales[0].double() * (scales[1].double().mT if scales[1].ndim else scales[1])
        floats = rounded_quotient(product, scale, case.output)
        if not torch.equal(out, floats):
            return f"{int((out != floats).sum())} of {product.numel()} floats wrong"
    return None


def fuzz(seeds, size=None):
    """Run cases; return what was met, and the faults."""
    met, faults = Counter(), []
    for seed in seeds:
        case = draw_case(seed, size)
        outcome = run_case(case)
        met["pairs"] += 1
        met["runs"] += outcome.runs
        met["refused"] += outcome.refused
        met["poisoned"] += outcome.poisoned
        met["replans"] += outcome.replans
        met["in graphs"] += case.graph
        met["replayed"] += outcome.replayed
        met["large"] += min(case.shape[1:]) > 2048
        met["by rows"] += "row" in (case.rounding.a.granularity, case.rounding.b.granularity)
        met["three digits"] += outcome.digits >= 3
        met["batches"] += case.shape[0] > 1
        met["few rows"] += case.shape[1] <= 64 and case.rounding.a.granularity == "row"
        faults += [(seed, str(case), number, str(fault)) for number, fault in outcome.faults]
    return met, faults


def fuzz_in_processes(seeds, batch=25):
    """As `fuzz`, by up to six processes that share the GPU: most of a small case is host time."""
    batches = [seeds[i : i + batch] for i in range(0, len(seeds), batch)]
    processes = min(6, os.cpu_count() or 1)
    met, faults = Counter(), []
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for more, found in pool.map(_watched_fuzz, batches):
            met, faults = met + more, faults + found
            print(f"{met['pairs']} of {len(seeds)} pairs, {len(faults)} faults", flush=True)
    return met, faults


def _watched_fuzz(seeds):
    """As `fuzz`; a case that does not end is named, and ends the process."""
    met, faults = Counter(), []
    for seed in seeds:
        watchdog = threading.Timer(ENDLESS, _give_up, [seed])
        watchdog.start()
        more, found = fuzz([seed])
        watchdog.cancel()
        met, faults = met + more, faults + found
    return met, faults


def _give_up(seed):
    print(f"{draw_case(seed)} has not ended after {ENDLESS} s", file=sys.stderr, flush=True)
    os._exit(1)
