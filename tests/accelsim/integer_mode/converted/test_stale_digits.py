"""Digits that something wrote to after they were prepared are not used as they were."""

import ctypes
import multiprocessing
import threading

import pytest
import torch
from converted_models import converted, mlp, rows

import accelsim
from accelsim.arithmetic.rounding import quantize
from accelsim.errors import DataError
from accelsim.integer_mode import weights as weights_module
from accelsim.integer_mode.converted import products


def numpy(tensor, new):
    tensor.detach().numpy()[...] = new.numpy()


def another_process(tensor, new):
    tensor.share_memory_()
    child = multiprocessing.get_context("fork").Process(target=numpy, args=(tensor, new))
    child.start()
    child.join()
    assert child.exitcode == 0


def another_thread(tensor, new):
    thread = threading.Thread(target=lambda: tensor.data.copy_(new))
    thread.start()
    thread.join()


WRITES = {
    "numpy": numpy,
    "memmove": lambda x, new: ctypes.memmove(x.data_ptr(), new.data_ptr(), new.nbytes),
    "data": lambda x, new: x.data.copy_(new),
    "new data": lambda x, new: setattr(x, "data", new.clone()),
    "storage": lambda x, new: x.untyped_storage().copy_(new.untyped_storage()),
    "dlpack": lambda x, new: torch.from_dlpack(x.detach()).copy_(new),
    "foreach": lambda x, new: torch._foreach_copy_([x.data], [new]),
    "another type": lambda x, new: (
        x.data.flatten().view(torch.uint8).copy_(new.flatten().view(torch.uint8))
    ),
    "another thread": another_thread,
    "another process": another_process,
}
WAYS = {
    "simulated": {},
    "int64": {"backend": "int64"},
    "4 bits": {"backend": "int64", "bits": 4},
    "by row": {"backend": "int64", "granularity": "row"},
}


def pair(**settings):
    """Two converted models whose tensors have the same shapes, and other entries."""
    one, other = mlp(), mlp()
    with torch.no_grad():
        for layer in (other[0], other[2]):
            layer.weight.copy_(3 * layer.weight.flip(1))
    return converted(one, **settings), converted(other, **settings)


def tensors(model):
    return [x for layer in (model[0], model[2]) for x in layer.stored.tensors.values()]


@pytest.mark.parametrize("settings", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_whatever_writes_to_digits_is_noticed(write, settings):
    model, other = pair(**settings)
    x = rows(7, 33)
    with torch.no_grad():
        before = model(x), model(x)
        for mine, new in zip(tensors(model), tensors(other), strict=True):
            write(mine, new.clone())
        assert torch.equal(*before)
        right = other(x)
        assert not torch.equal(right, before[0])
        assert torch.equal(model(x), right)
        assert torch.equal(model(x), right)


@pytest.mark.parametrize("blind", [False, True])
def test_bounds_are_those_of_the_digits_as_they_are(monkeypatch, blind):
    """A proof by norms that no longer hold lets float32 multiply what it does not hold."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4096, 8, bias=False))
    model = converted(model, beta={"weights": 3, "default": 255})
    x, digits = 1 + torch.rand(64, 4096), torch.randint(100, 128, (8, 4096), dtype=torch.int8)
    if blind:
        monkeypatch.setattr(products, "state_of", lambda tensor: tensor._version)
    with torch.no_grad():
        model(x)
        model[0].stored.digits.numpy()[...] = digits.numpy()
        found = model(x)
        rounded = quantize(x, 95, 255)
        exact = rounded.values.long() @ digits.T.long()
        scales = rounded.scale.double() * model[0].weight_scale
    assert int(exact.min()) > 1 << 24
    assert torch.equal(found, (exact.double() / scales).float()) != blind


def test_a_gpu_compares_at_the_end(monkeypatch):
    """There only versions are looked at in every use; `accelsim.check` finds the rest."""
    monkeypatch.setattr(weights_module, "SHARED_MEMORY", ())
    model, other = pair(backend="int64")
    x = rows(7, 33)
    with torch.no_grad():
        first = model(x)
        accelsim.check(model)
        model[0].stored.digits.data.copy_(other[0].stored.digits)
        assert torch.equal(model(x), first), "stale, as only a checksum could tell"
        with pytest.raises(DataError, match="0: the weight's values changed, and no write to them"):
            accelsim.check(model)
        assert not torch.equal(model(x), first)
        accelsim.check(model)
        other[0].stored.digits.copy_(model[0].stored.digits)
        accelsim.check(other)


def test_a_write_that_is_seen_is_no_error_at_the_end(monkeypatch):
    monkeypatch.setattr(weights_module, "SHARED_MEMORY", ())
    model, other = pair(backend="int64")
    x = rows(7, 33)
    with torch.no_grad():
        model(x)
        model.load_state_dict(other.state_dict())
        accelsim.check(model)
        assert torch.equal(model(x), other(x))
        accelsim.check(model)


def test_digits_that_stay_are_prepared_once(monkeypatch):
    model, _ = pair(backend="int64")
    seen = []
    opener = products._opener
    monkeypatch.setattr(products, "_opener", lambda s: seen.append(s) or opener(s))
    x = rows(7, 33)
    with torch.no_grad():
        for _ in range(3):
            model(x)
    assert len(seen) == 2
