"""The cache of prepared weights, and the checksums that keep it from being stale."""

import pytest
import torch
from torch import nn

import accelsim
from accelsim.errors import DataError
from accelsim.integer_mode import checksum as checksum_module
from accelsim.integer_mode import weights as weights_module
from accelsim.integer_mode.checksum import checksum, checksum_there
from accelsim.integer_mode.weights import Weights

MASK = 2**64 - 1


def by_hand(data):
    """Work out a checksum in Python's integers."""
    total = 0
    for place in range(len(data) // 8):
        word = int.from_bytes(data[8 * place : 8 * place + 8], "little")
        mixed = word ^ ((place + 1) * 0x9E3779B97F4A7C15 & MASK)
        mixed = (mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9 & MASK
        total += mixed ^ (mixed >> 32)
    return (total & MASK) ^ int.from_bytes(data[len(data) // 8 * 8 :], "little")


@pytest.mark.parametrize("chunk", [1, 3, 1 << 22])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (3, 5), (1, 7), (16, 16), (33, 20)])
def test_a_checksum_is_the_same_however_it_is_worked_out(shape, dtype, chunk, monkeypatch):
    monkeypatch.setattr(checksum_module, "CHUNK", chunk)
    x = torch.randint(-128, 128, shape).to(dtype)
    expected = by_hand(x.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    for y in (x, x.T, x[None], x.clone()):
        assert checksum(y) == expected
        assert int(checksum_there(y)) & MASK == expected


def test_a_checksum_of_memory_that_begins_anywhere():
    whole = torch.arange(40, dtype=torch.int8)
    for start in range(9):
        part = whole[start : start + 24]
        assert int(checksum_there(part)) & MASK == checksum(part) == checksum(part.clone())


@pytest.mark.parametrize("function", [checksum, lambda x: int(checksum_there(x))])
def test_a_checksum_sees_entries_and_their_places(function):
    x = torch.randn(33, 21)
    base = function(x)
    for place in ((0, 0), (16, 7), (32, 19), (32, 20)):
        y = x.clone()
        y[place] = -y[place]
        assert function(y) != base
    y = x.clone()
    y[[3, 4]] = y[[4, 3]]
    assert function(y) != base


class Prepares:
    """A route that counts what it prepares."""

    def __init__(self):
        self.sides = []

    def prepare(self, side, x):
        self.sides.append(side)
        return side, x.clone()


@pytest.fixture
def layer():
    return nn.Linear(6, 4)


def test_what_stays(layer):
    weights, weight = Weights(layer), layer.weight.detach()
    assert weights.stays(weight)
    assert weights.stays(weight.T)
    assert weights.stays(layer.bias[None])
    assert not weights.stays(weight.clone())
    assert not weights.stays(torch.randn(6, 4))


def test_a_weight_that_was_written_to_stays_from_its_second_use(layer):
    weights, weight = Weights(layer), layer.weight.detach()
    assert weights.stays(weight)
    weight.add_(1)
    weights.written([None, weight, 3])
    assert not weights.stays(weight)
    assert weights.stays(weight)
    assert weights.stays(weight)
    assert not weights.stays(weight[:2]), "a view's first use after a write"
    assert weights.stays(weight[:2])


def test_a_write_through_one_view_drops_the_others(layer):
    weights, weight, route = Weights(layer), layer.weight.detach(), Prepares()
    assert weights.stays(weight)
    assert weights.stays(weight.T)
    weights.prepared(weight, "a", route)
    weights.prepared(weight.T, "b", route)
    weights.written([weight[1]])
    assert not weights.stays(weight.T)
    assert weights.stays(weight.T)
    weights.prepared(weight.T, "b", route)
    assert route.sides == ["a", "b", "b"]


def test_one_preparation_for_each_route_side_and_view(layer):
    weights, weight, routes = Weights(layer), layer.weight.detach(), [Prepares(), Prepares()]
    for _ in range(3):
        for view in (weight, weight.T, weight[:2], weight[1:3]):
            for route in routes:
                for side in "ab":
                    assert weights.stays(view)
                    found_side, values = weights.prepared(view, side, route)
                    assert found_side == side
                    assert torch.equal(values, view)
    assert [route.sides for route in routes] == [["a", "b"] * 4] * 2


def test_views_of_one_place_and_other_strides_shapes_and_types(layer):
    square = nn.Linear(4, 4, bias=False)
    weights, weight, route = Weights(square), square.weight.detach(), Prepares()
    views = [weight, weight.T, weight[:2], weight.view(2, 8), weight.view(torch.int32)]
    for view in views:
        assert weights.stays(view)
        assert torch.equal(weights.prepared(view, "a", route)[1], view)
    assert len(route.sides) == len(views)


@pytest.mark.parametrize("seen", ["version", "checksum"])
def test_writes_that_no_operator_shows(layer, seen, monkeypatch):
    if seen == "version":
        monkeypatch.setattr(weights_module, "SHARED_MEMORY", ())
    weights, weight, route = Weights(layer), layer.weight.detach(), Prepares()
    assert weights.stays(weight)
    weights.prepared(weight, "a", route)
    if seen == "version":
        weight.mul_(2)
    else:
        weight.numpy()[0, 0] += 1
    assert weights.stays(weight), "nothing that writes through PyTorch goes on"
    assert torch.equal(weights.prepared(weight, "a", route)[1], weight)
    assert route.sides == ["a", "a"]


def test_a_weight_whose_memory_was_replaced(layer):
    weights, route = Weights(layer), Prepares()
    assert weights.stays(layer.weight.detach())
    layer.weight.data = torch.randn(4, 6)
    assert not weights.stays(layer.weight.detach())
    assert route.sides == []


def test_inference_tensors_have_no_version():
    with torch.inference_mode():
        layer = nn.Linear(6, 4)
        weights, weight = Weights(layer), layer.weight
        assert weights.stays(weight)
        assert weights.stays(weight)
        weight.add_(1)
        assert weights.stays(weight), "by its checksum alone"


# As on a GPU, where the checksum is compared at the end only ----------------------------------


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    monkeypatch.setattr(weights_module, "SHARED_MEMORY", ())


def write_unseen(layer):
    layer.weight.detach().numpy()[2, 1] += 1


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("options", [{"exact": "simulate"}, {"backend": "int64"}])
def test_an_unseen_write_is_an_error_at_the_end(layer, options):
    model, x = nn.Sequential(layer), torch.randn(3, 6)
    context = accelsim.integer_gemms(model, beta=31, **options)

    def run():
        with context:
            model(x)
            write_unseen(layer)
            model(x)

    with pytest.raises(DataError, match=r"^0\.weight: its values changed"):
        run()
    with context:
        model(x)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_what_was_seen_is_no_error(layer):
    x = torch.randn(3, 6)
    with accelsim.integer_gemms(layer, beta=31) as mode, torch.no_grad():
        layer(x)
        layer.weight.mul_(3)
        write_unseen(layer)
    with mode, torch.no_grad():
        layer(x)
        layer.weight.mul_(3)
        layer(x)
        layer(x)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_an_error_of_the_model_is_not_hidden(layer):
    mode = accelsim.integer_gemms(layer, beta=31)

    def run():
        with mode:
            layer(torch.randn(3, 6))
            write_unseen(layer)
            raise KeyError("the user's")

    with pytest.raises(KeyError, match="the user's"):
        run()


@pytest.mark.usefixtures("as_on_a_gpu")
def test_each_view_is_compared(layer):
    weights, weight, route = Weights(layer), layer.weight.detach(), Prepares()
    for view in (weight[:2], weight[2:]):
        assert weights.stays(view)
        weights.prepared(view, "a", route)
        weights.prepared(view, "b", route)
    weights.check()
    weight.numpy()[0, 0] += 1
    with pytest.raises(DataError, match=r"^weight: "):
        weights.check()


def test_on_the_cpu_nothing_is_compared_at_the_end(layer, monkeypatch):
    monkeypatch.setattr(weights_module, "checksum_there", None)
    with accelsim.integer_gemms(layer, beta=31):
        layer(torch.randn(3, 6))
        write_unseen(layer)
        layer(torch.randn(3, 6))


def test_what_is_kept_holds_for_one_view_in_one_state(layer):
    weights, weight = Weights(layer), layer.weight.detach()
    assert weights.stays(weight)
    view, kept = weights.kept(weight)
    assert weights.is_unchanged(weight, view, kept)
    assert not weights.is_unchanged(weight.T, view, kept), "another view"
    assert not weights.is_unchanged(weight.clone(), view, kept), "other memory"
    weights.written([weight])
    assert not weights.is_unchanged(weight, view, kept), "a write that was seen"


@pytest.mark.parametrize("write", [lambda x: x.mul_(2), lambda x: x.numpy().__imul__(2)])
def test_what_is_kept_does_not_hold_after_a_write_that_no_operator_shows(layer, write):
    weights, weight = Weights(layer), layer.weight.detach()
    assert weights.stays(weight)
    view, kept = weights.kept(weight)
    write(weight)
    assert not weights.is_unchanged(weight, view, kept)
