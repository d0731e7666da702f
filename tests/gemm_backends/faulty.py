"""Backends that are wrong on purpose, each with the check of the kit that must catch it."""

import threading
import time
from dataclasses import replace

import torch

from gemm_backends import (
    Accumulator,
    Availability,
    Corrections,
    Cost,
    GemmBackend,
    OverflowReport,
    Support,
    Tile,
)
from gemm_backends.cpu.sparse import sparse_product
from gemm_backends.emulator.lanes import corrected_by

FAULTY = {}


def caught_by(check):
    """Record which check is meant for a faulty backend."""

    def record(backend):
        FAULTY[backend] = check
        return backend

    return record


def exact(a, b):
    """Exact in float64, and much faster than in int64: no sum here reaches 2^53."""
    return (a.to(torch.float64) @ b.to(torch.float64).mT).to(torch.int64)


def wrapped(product, accumulator):
    low, mask = accumulator.minimum, (1 << accumulator.bits) - 1
    return ((product - low) & mask) + low


def exceeds(a, b, accumulator):
    return bool(
        (exact(a.to(torch.int16).abs(), b.to(torch.int16).abs()) > accumulator.maximum).any()
    )


class Correct(GemmBackend):
    """Does what it says; the faulty ones change one thing."""

    name = "double"
    bits = 8
    accumulator = Accumulator(bits=32, overflow="wrap")

    def availability(self):
        return Availability(True, execution="emulated")

    def matmul(self, a, b):
        return wrapped(exact(a, b), self.accumulator).to(torch.int32)


class Saturating(Correct):
    accumulator = Accumulator(bits=20, overflow="saturate")

    def matmul(self, a, b):
        if not exceeds(a, b, self.accumulator):
            return exact(a, b)
        total = torch.zeros(len(a), len(b), dtype=torch.int64)
        for x, y in zip(a.T.to(torch.int64), b.T.to(torch.int64), strict=True):
            total += x[:, None] * y
            total.clamp_(self.accumulator.minimum, self.accumulator.maximum)
        return total


class Sparse(Correct):
    def sparse_matmul(self, a, b):
        return sparse_product(a, b, torch.int32)


class Lanes(Correct):
    """Adds the products of high digits."""

    def corrected_matmul(self, a, b, corrections):
        total = exact(a, b) + self.corrections(a, b, corrections)
        return wrapped(total, self.accumulator).to(torch.int32)

    def corrections(self, a, b, high):
        return corrected_by(a, b, high)


class Aligned(Correct):
    """Takes whole tiles only."""

    tile = Tile(8, 32, 16)
    alignment = Tile(8, 32, 16)

    def matmul(self, a, b):
        assert len(a) % 8 == a.shape[1] % 32 == len(b) % 16 == 0
        return super().matmul(a, b)


class UnsignedA(Correct):
    """Multiplies an unsigned by a signed digit."""

    signed = (False, True)

    def matmul(self, a, b):
        return super().matmul(a.to(torch.int16) & 255, b)


# Wrong products.


@caught_by("small_shapes")
class ColumnForScalar(Correct):
    """A special case for K = 1 that forgets B's last row."""

    def matmul(self, a, b):
        product = super().matmul(a, b)
        if a.shape[1] == 1 and len(b) > 1:
            product[:, -1] = 0
        return product


@caught_by("odd_shapes")
class DropsTheTail(Correct):
    """Unrolls K by 4 and forgets what is left over."""

    def matmul(self, a, b):
        d = a.shape[1]
        kept = d if d < 4 else d - d % 4
        return super().matmul(a[:, :kept], b[:, :kept])


@caught_by("tile_edges")
class LosesTheRestOfAnUnrolledLoop(Correct):
    """Takes two tiles of K at a time, and forgets the last one of an odd number."""

    def matmul(self, a, b):
        d = a.shape[-1]
        if d > 64 and d % 64 == 32:
            a, b = a[..., : d - 32], b[..., : d - 32]
        return exact(a, b)


@caught_by("tile_edges")
class LosesATileOfLargeShapes(Correct):
    """Right in either dimension alone, wrong where both have several tiles."""

    def matmul(self, a, b):
        if a.shape[-2] > 256 and a.shape[-1] > 320:
            a, b = a[..., :-32], b[..., :-32]
        return exact(a, b)


@caught_by("tile_edges")
class OffByOneAtTileEdges(Correct):
    """Takes the last full tile of rows for the first partial one."""

    def matmul(self, a, b):
        product = super().matmul(a, b)
        if len(a) % 32 == 1 and len(a) > 32:
            product[-1] = product[-2]
        return product


@caught_by("tile_edges")
class OverrunsItsLargeTile(Correct):
    """Takes at most 512 columns of B."""

    def matmul(self, a, b):
        product = super().matmul(a, b)
        product[:, 512:] = 0
        return product


@caught_by("tile_edges")
class WrongPastItsOwnTile(Correct):
    """Forgets the partial sums of all but the last pass over its unusual tile."""

    tile = Tile(1, 200, 1)

    def matmul(self, a, b):
        rest = max(0, (a.shape[1] - 1) // 200 * 200)
        return super().matmul(a[:, rest:], b[:, rest:])


@caught_by("empty_dimensions")
class UninitialisedForEmptyK(Correct):
    def matmul(self, a, b):
        product = super().matmul(a, b)
        return product if a.shape[1] else torch.full_like(product, 0x5A5A5A5A)


@caught_by("extreme_digits")
class IgnoresTheMostNegativeDigit(Correct):
    def matmul(self, a, b):
        return super().matmul(a.clamp(min=-127), b)


@caught_by("small_shapes")
class EndsTheProcess(Correct):
    """Calls a library that exits where it should raise."""

    def matmul(self, a, b):
        raise SystemExit("no licence")


@caught_by("long_sums")
class WrongBeyond16BitK(Correct):
    """Counts K in 16 bits."""

    def matmul(self, a, b):
        d = a.shape[1]
        kept = d % (1 << 16) if d > 1 << 16 else d
        return super().matmul(a[:, :kept], b[:, :kept])


@caught_by("long_sums")
class WrongInARangeOfK(Correct):
    """Has one faulty kernel among those that it chooses from by K."""

    def matmul(self, a, b):
        return super().matmul(a, b) + int(3000 <= a.shape[1] < 4000)


@caught_by("large_products")
class LosesTheLastRowOfALargeProduct(Correct):
    """Writes the rest of its blocks of 6 rows wrongly, where there are many blocks."""

    def matmul(self, a, b):
        return super().matmul(a, b) + self.wrong(len(a), a.shape[1], len(b))

    def wrong(self, n, d, h):
        return int(n > 1000 and n % 6 == 5 and h > 0)


@caught_by("large_products")
class WrongForManyColumns(LosesTheLastRowOfALargeProduct):
    """Has a faulty kernel for wide products whose width is no multiple of 64."""

    def wrong(self, n, d, h):
        return int(h > 1500 and h % 64 > 0)


@caught_by("large_products")
class WrongWhereAllIsLarge(LosesTheLastRowOfALargeProduct):
    """Splits large products in two dimensions at once."""

    def wrong(self, n, d, h):
        return int(n > 2048 and d > 64 and h > 2048)


@caught_by("random_gemms")
class SkipsRowsOfZeros(Correct):
    """Skips them without clearing their results."""

    def matmul(self, a, b):
        return super().matmul(a, b) + (a == 0).all(1, keepdim=True) * (a.shape[1] > 0)


# Wrong accumulators.


@caught_by("accumulator_bound")
class Float32(Correct):
    """Sums in float32."""

    def matmul(self, a, b):
        return (a.to(torch.float32) @ b.to(torch.float32).T).to(torch.int32)


@caught_by("accumulator_bound")
class NarrowerThanClaimed(Correct):
    def matmul(self, a, b):
        return wrapped(exact(a, b), Accumulator(24, "wrap")).int()


class WithOffset(Correct):
    """Takes A as unsigned, by an offset, and starts each sum at what corrects for it."""

    accumulator = Accumulator(bits=20, overflow="wrap")

    def matmul(self, a, b):
        total = wrapped(-128 * b.to(torch.int64).sum(1), self.accumulator).expand(len(a), -1)
        for x, y in zip(a.T.to(torch.int64) + 128, b.T.to(torch.int64), strict=True):
            total = self.added(total, x[:, None] * y)
        return total.int()

    def added(self, total, step):
        return wrapped(total + step, self.accumulator)


@caught_by("accumulator_overflow")
class SaturatesWithOffset(WithOffset):
    """With -128 in A, all of its sums are 0, so that none saturates."""

    def added(self, total, step):
        return (total + step).clamp(self.accumulator.minimum, self.accumulator.maximum)


@caught_by("accumulator_partial_sums")
class SaturatesPartialSumsWithOffset(WithOffset):
    """Wraps at the end, and saturates in the middle unless A is -128."""

    def matmul(self, a, b):
        low, high = self.accumulator.minimum, self.accumulator.maximum
        total = torch.zeros(len(a), len(b), dtype=torch.int64)
        for x, y in zip(a.T.to(torch.int64), b.T.to(torch.int64), strict=True):
            step = x[:, None] * y
            total = torch.where(x[:, None] == -128, total + step, (total + step).clamp(low, high))
        same = (a == a[:, :1]).all() and (b == b[:, :1]).all()
        return wrapped(exact(a, b) if same else total, self.accumulator).int()


@caught_by("accumulator_bound")
class SaturatesAtItsLowestEnd(Correct):
    """Negative sums of positive digits of A and negative ones of B lose their last step."""

    def matmul(self, a, b):
        product = exact(a, b)
        over = (product < -(2**31) + 2**17) & (a[:, :1] > 0)
        return wrapped(product + over, self.accumulator).to(torch.int32)


@caught_by("accumulator_bound")
class WrongInMixedRowsOnly(Correct):
    """Looks at the first and the last row of B to choose a kernel that may overflow."""

    def matmul(self, a, b):
        product = super().matmul(a, b)
        mixed = len(b) == 3 and bool((b[0] == 0).any()) and not bool((b[1] == 0).any())
        return product + int(mixed and b.shape[1] > 10_000 and bool((b[1] == 127).all()))


@caught_by("accumulator_overflow")
class NarrowerMultiplierThanClaimed(Correct):
    """With 4-bit digits, K must be 2^25 to fill 32 bits; here it wraps at 31."""

    bits = 4
    accumulator = Accumulator(bits=16, overflow="wrap")

    def matmul(self, a, b):
        return wrapped(exact(a, b), Accumulator(17, "wrap")).int()


@caught_by("accumulator_overflow")
class WrapsWhereItClaimsToSaturate(Correct):
    accumulator = Accumulator(bits=20, overflow="saturate")


@caught_by("accumulator_overflow")
class SaturatesWhereItClaimsToWrap(Saturating):
    accumulator = Accumulator(bits=20, overflow="wrap")


@caught_by("accumulator_overflow")
class WiderThanClaimed(Correct):
    def matmul(self, a, b):
        return exact(a, b)


@caught_by("accumulator_overflow")
class WrapsWhereItClaimsToRaise(Correct):
    accumulator = Accumulator(bits=20, overflow="error")


@caught_by("accumulator_overflow")
class WrapsOrSaturatesAsTheShapeWants(Correct):
    """Like a library that has a saturating kernel for larger results."""

    def matmul(self, a, b):
        if len(a) < 24:
            return super().matmul(a, b)
        return exact(a, b).clamp(self.accumulator.minimum, self.accumulator.maximum).int()


@caught_by("accumulator_partial_sums")
class SaturatesTheFinalSumOnly(Saturating):
    def matmul(self, a, b):
        return exact(a, b).clamp(self.accumulator.minimum, self.accumulator.maximum)


@caught_by("overflow_report")
class NeverReportsAnOverflow(Correct):
    def matmul_report(self, a, b):
        return self.matmul(a, b), OverflowReport(0)


@caught_by("overflow_report")
class AlwaysReportsAnOverflow(Correct):
    def matmul_report(self, a, b):
        return self.matmul(a, b), OverflowReport(6, (0, 0, 0))


# Operands misread, results misplaced, calls that disturb each other.


@caught_by("output")
class Transposed(Correct):
    def matmul(self, a, b):
        return super().matmul(a, b).T


@caught_by("output")
class ReturnsFloats(Correct):
    def matmul(self, a, b):
        return super().matmul(a, b).to(torch.float64)


@caught_by("output")
class TooNarrowForItsAccumulator(Correct):
    accumulator = Accumulator(bits=48, overflow="wrap")


@caught_by("batches")
class WrongBatchOrder(Correct):
    batched = True

    def matmul(self, a, b):
        return super().matmul(a, b.flip(0) if b.ndim > 2 else b)


@caught_by("batches")
class WrongBatchOrderByItself(Correct):
    """Takes batches although it does not say so, and takes them the wrong way round."""

    def matmul(self, a, b):
        product = super().matmul(a, b)
        return product.flip(0) if a.ndim > 2 else product


@caught_by("strides")
class IgnoresStrides(Correct):
    """Reads the memory of B as if it were contiguous."""

    def matmul(self, a, b):
        if b.stride()[-1] > 1:
            b = b.as_strided(b.shape, (b.shape[1], 1))
        return super().matmul(a, b)


@caught_by("ambiguous_strides")
class TrustsIsContiguous(Correct):
    """Reads a row of A with the stride that it has, and leaves the result as it found it else."""

    def matmul(self, a, b):
        a = a.contiguous()
        if a.stride() != (a.shape[1], 1):
            return torch.empty(len(a), len(b), dtype=torch.int32)
        return super().matmul(a, b)


@caught_by("shared_operand")
class CachesByAddress(Correct):
    """Keeps a converted copy of every operand, found again by its address."""

    def __init__(self):
        self.copies = {}

    def prepare(self, digits):
        key = digits.data_ptr(), digits.shape, digits.stride()
        return self.copies.setdefault(key, (digits, digits.to(torch.int64)))[1]


@caught_by("inputs_unmodified")
class MutatesItsInput(Correct):
    def matmul(self, a, b):
        product = super().matmul(a, b)
        b.clamp_(min=-127)
        return product


@caught_by("inputs_unmodified")
class ChangesItsInputForAWhile(Correct):
    """Takes digits with an offset, and takes the offset away again."""

    def matmul(self, a, b):
        shifted = super().matmul(a, b.bitwise_xor_(1))
        b.bitwise_xor_(1)
        return shifted + super().matmul(a, b) - super().matmul(a, b ^ 1)


@caught_by("inputs_unmodified")
class ClearsWhatItSkips(Correct):
    """Zeroes the memory between the columns of a view, as if it were padding."""

    def prepare(self, digits):
        if digits.ndim == 2 and digits.shape[1] > 1 and digits.stride(1) == 2:
            rest = digits.as_strided(digits.shape, digits.stride(), digits.storage_offset() + 1)
            rest.zero_()
        return digits


@caught_by("sparse_product")
class DropsTheLastSparseEntry(Sparse):
    def sparse_matmul(self, a, b):
        if a.entries > 1:
            a.values[-1] = 0
        return super().sparse_matmul(a, b)


@caught_by("sparse_product")
class IgnoresEmptySparseRows(Sparse):
    """Walks from entry to entry, and fills the rows that have some."""

    def sparse_matmul(self, a, b):
        product = torch.ones((a.shape[0], b.shape[0]), dtype=torch.int32)
        rows = a.row_of_entry.unique()
        product[rows] = super().sparse_matmul(a, b)[rows]
        return product


@caught_by("corrected_product")
class LanesWithoutPairs(Lanes):
    """Never multiplies two high digits."""

    def corrections(self, a, b, high):
        none = replace(high.b, digits=replace(high.b.digits, values=0 * high.b.digits.values))
        of_a = super().corrections(a, b, Corrections(high.a, none))
        none = replace(high.a, digits=replace(high.a.digits, values=0 * high.a.digits.values))
        return of_a + super().corrections(a, b, Corrections(none, high.b))


@caught_by("corrected_product")
class LanesOfOneLevel(Lanes):
    """Takes every high digit for one of the first level."""

    def corrections(self, a, b, high):
        first = (
            replace(side, exponent=torch.full_like(side.exponent, self.bits))
            for side in (high.a, high.b)
        )
        return super().corrections(a, b, Corrections(*first))


@caught_by("corrected_product")
class LanesThatKeepTheLastLine(Lanes):
    """Overwrites what another line of the same row has added."""

    def corrections(self, a, b, high):
        last = dict(zip(high.a.index.tolist(), range(len(high.a.index)), strict=True))
        kept = torch.tensor(sorted(last.values()), dtype=torch.int64)
        lines = torch.isin(high.a.digits.row_of_entry, kept)
        digits = replace(high.a.digits, values=high.a.digits.values * lines)
        return super().corrections(a, b, Corrections(replace(high.a, digits=digits), high.b))


@caught_by("prepared_operands")
class PreparedOnlyOnce(Correct):
    """Frees an operand after its first use."""

    def prepare(self, digits):
        return [digits.clone()]

    def matmul(self, a, b):
        x, y = a[0], b[0]
        product = super().matmul(x, y)
        y.zero_()
        return product


@caught_by("determinism")
class Nondeterministic(Correct):
    """Now and then loses an update, like a sum without atomics."""

    def __init__(self):
        self.calls = 0

    def matmul(self, a, b):
        self.calls += 1
        product = super().matmul(a, b)
        if self.calls % 7 == 0 and product.numel():
            product[0, 0] -= 1
        return product


@caught_by("determinism")
class SeldomNondeterministicWhenLarge(Correct):
    """Loses an update in one of 40 large products."""

    def __init__(self):
        self.calls = 0

    def matmul(self, a, b):
        product = super().matmul(a, b)
        self.calls += product.numel() >= 4096
        if self.calls % 40 == 39 and product.numel():
            product[0, 0] -= 1
        return product


@caught_by("determinism")
class WrongOnceInThousandsOfCalls(SeldomNondeterministicWhenLarge):
    """Loses an update in one of 2000 products of any size."""

    def matmul(self, a, b):
        product = Correct.matmul(self, a, b)
        self.calls += 1
        if self.calls % 2000 == 1999 and product.numel():
            product[0, 0] ^= 1
        return product


@caught_by("independent_calls")
class ReusesItsResultBuffer(Correct):
    def __init__(self):
        self.buffers = {}

    def matmul(self, a, b):
        product = super().matmul(a, b)
        buffer = self.buffers.setdefault(product.shape, torch.empty_like(product))
        return buffer.copy_(product)


@caught_by("independent_calls")
class LeavesOldResultsInItsBuffer(Correct):
    """Adds to a workspace that it clears only when it allocates it."""

    def __init__(self):
        self.buffers = {}

    def matmul(self, a, b):
        product = super().matmul(a, b)
        buffer = self.buffers.setdefault(product.shape, torch.zeros_like(product))
        return buffer.add_(product).clone()


# Wrong claims.


@caught_by("availability")
class UnknownExecution(Correct):
    def availability(self):
        return Availability(True, execution="simulated")


@caught_by("availability")
class UnknownDevice(Correct):
    def availability(self):
        return Availability(True, execution="emulated", device="gpu")


@caught_by("supported_widths")
class WrongAtOneWidth(Correct):
    """Has a multiplier of its own for 5 bits, which is a bit too narrow."""

    def for_bits(self, bits_a, bits_b):
        return IgnoresTheTopBit() if bits_a == bits_b == 5 else self


class IgnoresTheTopBit(Correct):
    def matmul(self, a, b):
        return super().matmul(a, b.clamp(-8, 7))


@caught_by("options")
class OptionsThatNoRecordCanHold(Correct):
    def __init__(self, dtype=torch.int32):
        self.dtype = dtype


@caught_by("supported_widths")
class ClaimsWiderDigitsThanItsBits(Correct):
    def supports(self, spec):
        return Support(True)


@caught_by("supported_widths")
class ForgetsItselfForOtherWidths(Correct):
    def for_bits(self, bits_a, bits_b):
        return None


@caught_by("supported_shapes")
class AnswersWithABool(Correct):
    def supports(self, spec):
        return spec.bits_a <= 8 and spec.bits_b <= 8


@caught_by("supported_shapes")
class RefusesButComputes(Correct):
    """Says that it wants multiples of 8, but gives a result for anything."""

    def supports(self, spec):
        return Support(spec.d % 8 == 0, "d must be a multiple of 8")

    def multiply(self, a, b):
        return exact(a, b).to(torch.int32)


@caught_by("supported_shapes")
class AcceptsWhatItGetsWrong(Correct):
    """Needs multiples of 8 and does not say so."""

    def matmul(self, a, b):
        kept = a.shape[1] // 8 * 8
        return super().matmul(a[:, :kept], b[:, :kept])


@caught_by("too_wide_digits")
class CutsOffWideDigits(Correct):
    """Packs nibbles without looking at the upper halves."""

    bits = 4

    def prepare(self, digits):
        return ((digits & 15) ^ 8) - 8


@caught_by("errors")
class TruncatesToTheShorterOperand(Correct):
    def multiply(self, a, b):
        d = min(a.shape[-1], b.shape[-1])
        return super().multiply(a[..., :d], b[..., :d])


@caught_by("executed_macs")
class CountsLessThanItDoes(Correct):
    def executed_macs(self, spec):
        return spec.n // 8 * 8 * spec.d * spec.h


@caught_by("cost")
class CheaperWhenLarger(Correct):
    """Charges a partial tile more than a whole one."""

    def cost(self, spec):
        return Cost(model="fixture", cycles=spec.n * spec.h * (1 + spec.d % 8))


@caught_by("cost")
class CostOfANumber(Correct):
    def cost(self, spec):
        return spec.n * spec.d * spec.h


@caught_by("cost")
class NegativeArea(Correct):
    def cost(self, spec):
        return Cost(cycles=1, area_um2=-1.0)


@caught_by("cost")
class InfiniteEnergy(Correct):
    def cost(self, spec):
        return Cost(model="fixture", energy_pj=float("inf"))


# Wrong in use.


@caught_by("threads")
class OneWorkspaceForAllThreads(Correct):
    def matmul(self, a, b):
        self.workspace = super().matmul(a, b)
        time.sleep(0.001)
        return self.workspace


@caught_by("threads")
class PacksIntoAStaticBuffer(Correct):
    """Shares a buffer between calls, as a static array of a C library; a call seldom reads late."""

    buffer = torch.empty(0)

    def matmul(self, a, b):
        self.type.buffer = b
        product = super().matmul(a[:1], self.type.buffer)
        mine = self.type.buffer is b
        return super().matmul(a, b) if mine else super().matmul(a, b) + 0 * product[:, :1] + 1

    @property
    def type(self):
        return type(self)


@caught_by("threads")
class OnlyInTheThreadThatMadeIt(Correct):
    def __init__(self):
        self.local = threading.local()
        self.local.ready = True

    def matmul(self, a, b):
        assert self.local.ready
        return super().matmul(a, b)


@caught_by("memory")
class KeepsEveryResult(Correct):
    def __init__(self):
        self.kept = []

    def matmul(self, a, b):
        self.kept.append(super().matmul(a, b))
        return self.kept[-1].clone()


@caught_by("memory")
class KeepsEveryOperand(Correct):
    def __init__(self):
        self.kept = []

    def prepare(self, digits):
        self.kept.append(digits.clone())
        return digits


@caught_by("memory")
class KeepsALittleOfEveryCall(Correct):
    def __init__(self):
        self.kept = []

    def matmul(self, a, b):
        self.kept.append(bytes(4096))
        return super().matmul(a, b)


@caught_by("execution")
class ClaimsNativeButUsesFloat32(Correct):
    """Exact, as fast as float32, and no int8 unit anywhere."""

    def availability(self):
        return Availability(True, execution="native")

    def matmul(self, a, b):
        products = [
            x.to(torch.float32) @ y.to(torch.float32).mT
            for x, y in zip(a.split(1024, -1), b.split(1024, -1), strict=True)
        ]
        return sum(product.to(torch.int64) for product in products)


@caught_by("execution")
class WrongWhereItIsTimed(Correct):
    """Has a kernel for the shape of benchmarks."""

    def availability(self):
        return Availability(True, execution="native")

    def matmul(self, a, b):
        product = torch.from_numpy((a.numpy().astype("f4") @ b.numpy().T.astype("f4")).astype("i4"))
        product[0, 7:8] ^= int(product.numel() == 1 << 20)
        return product


@caught_by("execution")
class ClaimsNativeButIsSlow(Correct):
    """Computes in NumPy, where no product of torch's is seen, and takes a minute by its clock.

    Tests replace the kit's clock by its own, so that no noise can hide how slow it is.
    """

    def __init__(self):
        self.seconds = 0

    def clock(self):
        return time.perf_counter() + self.seconds

    def availability(self):
        return Availability(True, execution="native")

    def matmul(self, a, b):
        self.seconds += 60
        x, y = a.numpy().astype("float64"), b.numpy().astype("float64")
        return torch.from_numpy((x @ y.T).astype("int32"))


@caught_by("execution")
class ClaimsNativeButEmulates(Correct):
    """Takes two products of float64."""

    def availability(self):
        return Availability(True, execution="native")

    def matmul(self, a, b):
        high, low = a >> 4, a & 15
        high, low = (part.to(torch.float64) @ b.to(torch.float64).T for part in (high, low))
        return (16 * high + low).to(torch.int32)
