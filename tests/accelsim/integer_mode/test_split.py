"""K cut over two processes: partial sums are added as integers, with the bits of one process."""

import threading
from types import SimpleNamespace

import pytest
import torch

from accelsim.arithmetic.digits import DigitSystem
from accelsim.errors import DataError, InputError
from accelsim.integer_mode.pinned import split
from accelsim.integer_mode.pinned.split import SplitRoute, splitting
from accelsim.measure.timing import Untimed
from accelsim.routes import SimulatedRoute
from accelsim.types import PerOperand, Request, Rounding


class Threads:
    """Two threads as a group of processes."""

    ReduceOp = SimpleNamespace(SUM="sum", MAX="max")

    def __init__(self, size=2):
        self.size, self.here = size, threading.local()
        self.barrier = threading.Barrier(size, timeout=20)
        self.sent = [None] * size
        self.types = []

    def get_world_size(self, group):
        return self.size

    def get_rank(self, group):
        return self.here.rank

    def _exchange(self, tensor):
        self.sent[self.here.rank] = tensor.clone()
        self.barrier.wait()
        found = list(self.sent)
        self.barrier.wait()
        return found

    def all_gather(self, every, mine, group):
        for tensor, found in zip(every, self._exchange(mine), strict=True):
            tensor.copy_(found)

    def all_reduce(self, tensor, op="sum", group=None):
        together = torch.stack(self._exchange(tensor))
        if op == "sum":
            self.types.append(tensor.dtype)
        tensor.copy_(together.sum(0, dtype=tensor.dtype) if op == "sum" else together.amax(0))

    def run(self, work):
        """Call `work` in every thread; return the results, or raise the first error."""
        results, errors = [None] * self.size, []

        def call(rank):
            self.here.rank = rank
            try:
                results[rank] = work()
            except Exception as error:
                errors.append(error)
                self.barrier.abort()

        threads = [threading.Thread(target=call, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise next(e for e in errors if not isinstance(e, threading.BrokenBarrierError))
        return results


def request(a, b, output=torch.float32, granularity="row", percentile=90, beta=63):
    rounding = PerOperand.both(Rounding(percentile, beta, granularity, "nonzero"))
    digits = PerOperand.both(DigitSystem("balanced", 8))
    shape = (1, None, a.shape[-1], len(b))
    kinds = PerOperand("activations", "weights")
    return Request(shape, a.device, a.dtype, rounding, digits, frozenset("b"), output, names=kinds)


@pytest.fixture
def group(monkeypatch):
    threads = Threads()
    monkeypatch.setattr(split, "dist", threads)
    return threads


def operands(depth=37):
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(5, depth, generator=generator)
    a[1, 3], a[2] = 400.0, 0.0
    a[3, :-1] = 0.0  # its percentile is 0
    return a, torch.randn(7, depth, generator=generator)


def both(group, a, b, how):
    def work():
        route = SplitRoute(how, SimulatedRoute, None)
        weight = route.prepare("b", b)
        result = route.run(a, weight, Untimed())
        route.check()
        return result, route

    return group.run(work)


def test_two_parts_have_the_bits_of_the_whole(group):
    a, b = operands()
    how = request(a, b)
    whole = SimulatedRoute(how)
    right = whole.run(a, b, Untimed())
    for found, route in both(group, a, b, how):
        assert torch.equal(found, right)
        assert torch.equal(route.integers(), whole.integers())
        assert route.counts().dense_macs == whole.counts().dense_macs
        assert torch.equal(route.scales().a, whole.scales().a)
    assert set(group.types) == {torch.int32}


def test_parts_that_are_dequantized_before_they_are_added_have_other_bits(group, monkeypatch):
    a, b = operands(512)
    how = request(a, b)
    right = SimulatedRoute(how).run(a, b, Untimed())

    def early(self, partial, parts):
        scales = parts.map(lambda part: part.scale)
        floats = split.dequantize(partial, scales, torch.float32)
        split.dist.all_reduce(floats)
        return floats

    monkeypatch.setattr(SplitRoute, "_total", early)
    monkeypatch.setattr(SplitRoute, "run", lambda self, a, b, timer: _run_early(self, a, b, timer))
    found, _ = both(group, a, b, how)[0]
    assert not torch.equal(found, right)
    torch.testing.assert_close(found, right)


def _run_early(route, a, b, timer):
    parts = PerOperand(route._part("a", a), route._part("b", b))
    return route._total(route._multiplied(parts, timer), parts)


def test_a_scale_of_a_part_alone_has_other_bits(group, monkeypatch):
    a, b = operands(512)
    how = request(a, b)
    right = SimulatedRoute(how).run(a, b, Untimed())
    monkeypatch.setattr(SplitRoute, "_gathered", lambda self, mine: [mine, torch.zeros_like(mine)])
    assert not torch.equal(both(group, a, b, how)[0][0], right)


def test_sums_are_sent_in_the_type_that_is_proved_to_hold_them(group):
    """The bound is depth times both peaks: 2 * 32767 * 32768 fits int32, one more does not."""
    for peak, dtype in ((32767, torch.int32), (32768, torch.int64)):
        a, b = torch.full((1, 2), float(peak)), torch.full((1, 2), 32768.0)
        rounding = PerOperand(Rounding(100, 2 * peak, "row"), Rounding(100, 65536, "row"))
        how = request(a, b, output=None)
        how = Request(**{**vars(how), "rounding": rounding})
        group.types.clear()
        for found, _ in both(group, a, b, how):
            assert found.item() == 2 * peak * 32768
        assert set(group.types) == {dtype}


def test_nan_is_an_error_in_every_process(group):
    a, b = operands()
    a[4, 36] = float("nan")
    with pytest.raises(DataError, match="activations: found NaN or infinity"):
        both(group, a, b, request(a, b))


def test_only_products_with_a_weight_are_cut(group):
    a, b = operands()
    group.here.rank = 0
    opener = splitting(SimulatedRoute, None)
    assert isinstance(opener(request(a, b)), SplitRoute)
    attention = Request(**{**vars(request(a, b)), "names": PerOperand.both("attention")})
    assert isinstance(opener(attention), SimulatedRoute)
    with pytest.raises(InputError, match="one scale for each row"):
        opener(request(a, b, granularity="tensor"))
