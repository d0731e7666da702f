"""Fused routes that are wrong on purpose, each with the check of the kit that must catch it.

All are made of one route on the CPU that is right, and change one thing.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from faulty import Correct

from accelsim.errors import DataError
from gemm_backends import Counts, PerOperand, PreparedOperand, Support

FAULTY_ROUTES = {}

LIMIT = 2.0**62


def caught_by(check):
    """Record which check is meant for a faulty route, and give it a backend that offers it."""

    def record(route):
        FAULTY_ROUTES[route] = check
        return route

    return record


def offered_by(route):
    """Return a backend that offers a route."""

    class Offering(Correct):
        def fused(self, request):
            return route(request)

    return Offering()


@dataclass
class Integers:
    """A rounded operand."""

    values: torch.Tensor
    scale: torch.Tensor


class Ready(PreparedOperand):
    """An operand that was rounded ahead."""

    def __init__(self, side, x, rounded):
        super().__init__(side, x.shape)
        self.rounded = rounded


class Exact:
    """The route that is right: two loops over the digits of A and of B, in int64."""

    def __init__(self, request):
        self.request = request
        self.found = None

    # What a route has.

    def prepare(self, side, x):
        return Ready(side, x, self.round(side, x))

    def run(self, a, b, timer):
        with timer.stage("quantize"):
            self.rounded = PerOperand(self.ready("a", a), self.ready("b", b))
        with timer.stage("gemm"):
            self.found = self.product(self.rounded.a.values, self.rounded.b.values)
        self.prepared = tuple(
            side for side, x in (("a", a), ("b", b)) if isinstance(x, PreparedOperand)
        )
        if self.request.output is None:
            return self.found.clone()
        with timer.stage("dequantize"):
            return self.dequantized(self.found)

    def check(self):
        pass

    def integers(self):
        return self.found.clone()

    def scales(self):
        return self.rounded.map(lambda operand: operand.scale)

    def counts(self):
        a, b = self.rounded.a.values, self.rounded.b.values
        dense = a.numel() * b.shape[-2]
        digits = [
            int(self.request.digits.of(side).count(x).max()) if x.numel() else 1
            for side, x in (("a", a), ("b", b))
        ]
        out = [
            int(self.request.digits.of(side).out_of_bound(x).sum())
            for side, x in (("a", a), ("b", b))
        ]
        return Counts(
            strategy_chosen="digits",
            dense_macs=dense,
            low_bit_macs=dense * digits[0] * digits[1],
            products=digits[0] * digits[1],
            max_digits_a=digits[0],
            max_digits_b=digits[1],
            out_of_bound_a=out[0],
            out_of_bound_b=out[1],
            entries_a=a.numel(),
            entries_b=b.numel(),
            prepared=self.prepared,
        )

    # Its parts, in which the faults are.

    def ready(self, side, x):
        return x.rounded if isinstance(x, Ready) else self.round(side, x)

    def round(self, side, x):
        rounding, name = self.request.rounding.of(side), self.request.names.of(side)
        values = x.float()
        if not values.isfinite().all():
            raise DataError(f"{name} holds NaN or infinity")
        rows = values if rounding.granularity == "row" else values.reshape(1, -1)
        scale = self.scale(rows, rounding)
        if not bool((scale.isfinite() & (scale > 0)).all()):
            raise DataError(f"{name} has no scale: α is 0, or too small")
        scale = scale if rounding.granularity == "row" else scale.reshape(())
        product = self.clipped((values * scale).round())
        if values.numel() and not product.abs().max() < LIMIT:
            raise DataError(f"{name} has integers from 2^62 on")
        return Integers(product.to(torch.int64), scale)

    def scale(self, rows, rounding):
        """Return ``[..., 1]`` of scales."""
        if rows.shape[-1] == 0 or rows.numel() == 0:
            return torch.ones(*rows.shape[:-1], 1)
        magnitudes = rows.abs().double()
        alpha = self.alpha(magnitudes, rounding.percentile)
        if rounding.zero_alpha == "nonzero":
            for index in (alpha == 0).nonzero().tolist():
                row = magnitudes[tuple(index[:-1])]
                if row.any():
                    alpha[tuple(index)] = self.alpha(row[row > 0], rounding.percentile)
        alpha[(magnitudes == 0).all(-1, keepdim=True)] = rounding.beta / 2
        return (rounding.beta / (2 * alpha)).float()

    def alpha(self, magnitudes, percentile):
        count = magnitudes.shape[-1]
        k = max(1, int(count * (100 - Fraction(str(percentile))) / 100))
        return magnitudes.kthvalue(count - k + 1, keepdim=True).values

    def clipped(self, integers):
        return integers

    def product(self, a, b):
        """Add up the products of all digits."""
        self.prove(a, b)
        digits = self.request.digits
        total = torch.zeros(*a.shape[:-1], b.shape[-2], dtype=torch.int64)
        for i, x in enumerate(self.planes(a, digits.a)):
            for j, y in enumerate(self.planes(b, digits.b)):
                shift = i * digits.a.shift + j * digits.b.shift
                total += self.low_bit(x, y, i, j) << shift
        return total

    def low_bit(self, x, y, i, j):
        return (x.double() @ y.double().mT).to(torch.int64)

    def planes(self, values, system):
        found = []
        while True:
            if not found or values.any():
                low, high = system.split(values)
                single = not system.out_of_bound(values).any()
                found.append(values if single else low)
                if single:
                    return found
                values = high

    def prove(self, a, b):
        largest = [int(x.abs().max()) if x.numel() else 0 for x in (a, b)]
        if a.shape[-1] * largest[0] * largest[1] >= 2**62:
            raise DataError(f"{self.request.names.a}: a sum may not fit 62 bits")

    def dequantized(self, product):
        """Round to the nearest in float64 and to odd where that is inexact, then once more."""
        a, b = (x.scale.double() for x in (self.rounded.a, self.rounded.b))
        return self.once(product, a * (b.mT if b.ndim else b))

    def once(self, product, scales):
        quotient = product.double() / scales
        if self.request.output == torch.float32:
            return quotient.float()
        nearest = quotient.float()
        beyond = nearest.double().abs() > quotient.abs()
        bits = nearest.view(torch.int32) - beyond.int()
        inexact = bits.view(torch.float32).double() != quotient
        return (bits | inexact.int()).view(torch.float32).to(self.request.output)


# Plans.


@caught_by("route_new_values")
class ReadsBesideItsPlan(Exact):
    """Takes high digits from the columns in which the first operands had some."""

    plan = None

    def product(self, a, b):
        digits = self.request.digits.a
        if self.plan is None:
            self.plan = digits.out_of_bound(a).flatten(0, -2).any(0)
        low, high = digits.split(a)
        fits = ~digits.out_of_bound(a)
        low, high = torch.where(fits, a, low), torch.where(fits, 0, high)
        return super().product(low, b) + (super().product(high * self.plan, b) << digits.shift)


@caught_by("route_new_values")
class DropsTheProductOfHighParts(Exact):
    """Leaves out what the first operands did not have: products of two high digits."""

    plan = None

    def product(self, a, b):
        both = all(
            bool(self.request.digits.of(side).out_of_bound(x).any())
            for side, x in (("a", a), ("b", b))
        )
        self.plan = both if self.plan is None else self.plan
        return super().product(a, b)

    def low_bit(self, x, y, i, j):
        product = super().low_bit(x, y, i, j)
        return product if self.plan or not (i and j) else torch.zeros_like(product)


@caught_by("route_new_values")
class ListsSoManyHeavyHittersAndNoMore(Exact):
    """Has room for 64 entries beyond one digit, and forgets the others."""

    def round(self, side, x):
        rounded = super().round(side, x)
        if side == "a":
            out = self.request.digits.a.out_of_bound(rounded.values).flatten()
            rounded.values.view(-1)[out & (out.cumsum(0) > 64)] = 0
        return rounded


@caught_by("route_new_values")
class ForgetsThePoison(Exact):
    """Keeps C from run to run and writes only what is not 0."""

    kept = None

    def product(self, a, b):
        product = super().product(a, b)
        if self.kept is None or self.kept.shape != product.shape:
            self.kept = torch.zeros_like(product)
        self.kept[product != 0] = product[product != 0]
        return self.kept


# Values.


@caught_by("route_requests")
class WrongForNegativeHeavyHitters(Exact):
    """Finds what is out of bound by the largest entry rather than the largest magnitude."""

    def planes(self, values, system):
        lost = (values < system.digits[0]) & (values.amax(-1, keepdim=True) <= system.digits[1])
        return super().planes(torch.where(lost, system.digits[0], values), system)


@caught_by("route_requests")
class WrongInTheSecondHead(Exact):
    """Takes the high digits of the first head for those of all."""

    def round(self, side, x):
        rounded = super().round(side, x)
        if side == "b" and x.ndim == 3 and len(x) > 1:
            system = self.request.digits.b
            second, first = rounded.values[1], rounded.values[0]
            out = system.out_of_bound(second)
            second[out & ~system.out_of_bound(first)] = 0
        return rounded


@caught_by("route_requests")
class ClipsSilently(Exact):
    def clipped(self, integers):
        return integers.clamp(-(2**15), 2**15 - 1)


@caught_by("route_requests")
class WrongWithScalesByRow(Exact):
    """Rounds B by rows with the scale of the row before."""

    def scale(self, rows, rounding):
        scale = super().scale(rows, rounding)
        return scale.roll(1, -2) if scale.numel() > 1 else scale


@caught_by("route_requests")
class ScaleInFloat64(Exact):
    """Leaves out the rounding of the scale to float32."""

    def round(self, side, x):
        rounded = super().round(side, x)
        rounding = self.request.rounding.of(side)
        rows = x.float() if rounding.granularity == "row" else x.float().reshape(1, -1)
        if rows.numel() and rows.any():
            alpha = rounding.beta / 2 / rounded.scale.double()
            magnitudes = rows.abs().double()
            exact = self.alpha(magnitudes, rounding.percentile)
            alpha = torch.where(exact > 0, exact, alpha)
            scale = rounding.beta / (2 * alpha)
            scale = scale if rounding.granularity == "row" else scale.reshape(())
            rounded.values = (x.double() * scale).round().to(torch.int64)
        return rounded


@caught_by("route_requests")
class RankRoundedUp(Exact):
    """Takes the percentile one entry too low."""

    def alpha(self, magnitudes, percentile):
        count = magnitudes.shape[-1]
        k = min(count, max(1, -int(-count * (100 - Fraction(str(percentile))) // 100)))
        return magnitudes.kthvalue(count - k + 1, keepdim=True).values


@caught_by("route_requests")
class ScaleOfEveryHead(Exact):
    """Gives each head a scale of its own, where one is for the tensor."""

    def round(self, side, x):
        if x.ndim == 2 or self.request.rounding.of(side).granularity == "row" or not len(x):
            return super().round(side, x)
        heads = [super(ScaleOfEveryHead, self).round(side, head) for head in x]
        return Integers(torch.stack([head.values for head in heads]), heads[0].scale)


# Floats.


@caught_by("route_output")
class RoundsTwice(Exact):
    """Rounds to float32 on its way to a shorter type."""

    def once(self, product, scales):
        return (product.double() / scales).float().to(self.request.output)


@caught_by("route_output")
class MultipliesByTheInverse(Exact):
    """Rounds the inverse of the scales first."""

    def once(self, product, scales):
        return super().once(product.double() * (1 / scales), torch.ones(()).double())


@caught_by("route_requests")
class OutputInTheOperandsType(Exact):
    def once(self, product, scales):
        return super().once(product, scales).to(self.request.dtype)


@caught_by("route_long_sums")
class DoesNotCutK(Exact):
    """Sums all of K in 32 bits."""

    def low_bit(self, x, y, i, j):
        return super().low_bit(x, y, i, j).to(torch.int32).to(torch.int64)


@caught_by("route_extremes")
class RefusesFourDigits(Exact):
    """Raises for values that a route must take."""

    def planes(self, values, system):
        found = super().planes(values, system)
        if len(found) > 3:
            raise DataError(f"{self.request.names.a} or {self.request.names.b}: 4 digits")
        return found


# Memory.


@caught_by("route_prepared")
class KeepsAStaleWeight(Exact):
    """Finds a prepared operand again by its address."""

    def __init__(self, request):
        super().__init__(request)
        self.seen = {}

    def prepare(self, side, x):
        key = side, x.data_ptr(), x.shape
        return self.seen.setdefault(key, super().prepare(side, x))


@caught_by("route_prepared")
class PreparesLater(Exact):
    """Keeps the floats, and rounds them in every run."""

    def prepare(self, side, x):
        return Ready(side, x, x)

    def ready(self, side, x):
        return self.round(side, x.rounded if isinstance(x, Ready) else x)


@caught_by("route_prepared")
class OnePreparedOperandAtATime(Exact):
    """Keeps the operand itself, whichever is handed back."""

    def prepare(self, side, x):
        self.only = super().prepare(side, x)
        return self.only

    def ready(self, side, x):
        return self.only.rounded if isinstance(x, Ready) else super().ready(side, x)


@caught_by("route_results")
class ReturnsItsOwnMemory(Exact):
    """Writes every product into one tensor, and returns it."""

    kept = None

    def run(self, a, b, timer):
        output = super().run(a, b, timer)
        if self.kept is None or self.kept.shape != output.shape:
            self.kept = torch.empty_like(output)
        return self.kept.copy_(output)


@caught_by("route_results")
class ReturnsTheLastIntegers(Exact):
    """Keeps the product of operands that it has seen, and gives it away."""

    seen = None

    def product(self, a, b):
        if self.seen is None or not (torch.equal(self.seen[0], a) and torch.equal(self.seen[1], b)):
            self.seen = a, b, super().product(a, b)
        return self.seen[2]

    def integers(self):
        return self.found


@caught_by("route_new_values")
class ReturnsTheLastRunsIntegers(Exact):
    """Says the integers of the run before."""

    last = None

    def run(self, a, b, timer):
        self.last = self.found
        return super().run(a, b, timer)

    def integers(self):
        same = self.last is not None and self.last.shape == self.found.shape
        return self.last if same else super().integers()


# Inputs.


@caught_by("route_strides")
class IgnoresStrides(Exact):
    """Reads a transposed operand as if it were not."""

    def round(self, side, x):
        if x.ndim == 2 and x.stride()[0] == 1 < x.stride()[1]:
            x = x.as_strided(x.shape, (x.shape[1], 1))
        return super().round(side, x)


@caught_by("route_strides")
class ScalesInPlace(Exact):
    """Multiplies an operand by its scale where it lies."""

    def round(self, side, x):
        rounded = super().round(side, x)
        if x.dtype == torch.float32:
            x *= 0
        return rounded


@caught_by("route_errors")
class IgnoresNaN(Exact):
    """Takes NaN for 0, as a maximum does that skips it."""

    def round(self, side, x):
        return super().round(side, x.nan_to_num(0.0))


@caught_by("route_errors")
class NamesNoOperand(Exact):
    def __init__(self, request):
        super().__init__(replace(request, names=PerOperand("A", "B")))


@caught_by("route_errors")
class StaysBroken(Exact):
    """Raises for good after the first error."""

    error = None

    def round(self, side, x):
        if self.error:
            raise self.error
        try:
            return super().round(side, x)
        except DataError as error:
            self.error = error
            raise


@caught_by("route_zeros")
class DividesByZero(Exact):
    """Has no scale for an operand of zeros."""

    def scale(self, rows, rounding):
        if rows.numel() and not rows.any():
            raise ZeroDivisionError("float division by zero")
        return super().scale(rows, rounding)


@caught_by("route_extremes")
class WrapsAt32Bits(Exact):
    """Holds integers in 32 bits."""

    def round(self, side, x):
        rounded = super().round(side, x)
        rounded.values = rounded.values.to(torch.int32).to(torch.int64)
        return rounded


@caught_by("route_extremes")
class SumsWrap(Exact):
    """Proves nothing about its sums."""

    def prove(self, a, b):
        pass


# Counts.


@caught_by("route_counts")
class SaysPreparedWithoutIt(Exact):
    def counts(self):
        return replace(super().counts(), prepared=("a", "b"))


@caught_by("route_counts")
class CountsTooFew(Exact):
    """Counts one multiplication fewer than the GEMM has."""

    def counts(self):
        counts = super().counts()
        return replace(counts, low_bit_macs=counts.dense_macs - 1)


@caught_by("route_counts")
class CountsWhatTheLastRunHad(Exact):
    """Counts what was out of bound in the first operands."""

    first = None

    def counts(self):
        counts = super().counts()
        self.first = counts if self.first is None else self.first
        return replace(counts, out_of_bound_a=self.first.out_of_bound_a)


@caught_by("route_requests")
class NoRoute(Exact):
    """Has no way to say its integers."""

    integers = None


# Graphs.


class SaysLater(Exact):
    """Does what a route does in a graph: gives NaN, and raises in `check`."""

    error = None

    def run(self, a, b, timer):
        try:
            return super().run(a, b, timer)
        except DataError as error:
            self.error = error
            return self.spoiled(a, b)

    def spoiled(self, a, b):
        return torch.full((len(a), b.shape[0]), torch.nan)

    def check(self):
        error, self.error = self.error, None
        if error:
            raise error


class SaysNothing(SaysLater):
    def check(self):
        pass


class KeepsTheOldFloats(SaysLater):
    def spoiled(self, a, b):
        return self.dequantized(self.found)


class RaisesForGood(SaysLater):
    def spoiled(self, a, b):
        self.last = self.error
        return super().spoiled(a, b)

    def check(self):
        self.error = getattr(self, "last", None)
        if self.error:
            raise self.error

    def dequantized(self, product):
        spoiled = torch.full(product.shape, torch.nan)
        return spoiled if hasattr(self, "last") else super().dequantized(product)


class PlansByTheCapture(SaysLater):
    """Rounds A with the scale of the first run."""

    first = None

    def scale(self, rows, rounding):
        self.first = super().scale(rows, rounding) if self.first is None else self.first
        return self.first


class Refusing(Correct):
    """Takes float32 alone, and one scale per tensor."""

    def fused(self, request):
        if request.dtype != torch.float32:
            return Support(False, "takes float32 alone")
        if any(request.rounding.of(side).granularity == "row" for side in ("a", "b")):
            return Support(False, "takes one scale per tensor")
        return Exact(request)


class IntegersAlone(Correct):
    """Gives integers, no floats."""

    def fused(self, request):
        return Exact(request) if request.output is None else Support(False, "gives no floats")
