"""Launches that are made ready once: their arguments, their order and their failures."""

import ctypes

import pytest
import torch

from accelsim.kernels import launches
from accelsim.kernels.launches import Arguments, Launch, LaunchList, Pointer
from accelsim.kernels.nvcc import CudaError

CPU = torch.device("cpu")


class _Product(ctypes.Structure):
    _fields_ = (("count", ctypes.c_int32), ("x", ctypes.c_void_p))


class _Given(Arguments):
    _fields_ = (
        ("count", ctypes.c_int64),
        ("x", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("share", ctypes.c_double),
    )


def given(count=0, x=None, out=None, share=0.0):
    return _Given(count=count, x=x, out=out, share=share)


class Library:
    """Stands for a compiled source: every call of a function notes its arguments and its stream."""

    def __init__(self):
        self.calls, self.failing = [], None
        self._kept = {}

    def function(self, symbol, device):
        if symbol == "accelsim_launch_all":
            return self._launch_all
        if symbol not in self._kept:
            kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
            self._kept[symbol] = kind(lambda words, stream: self._note(symbol, words, stream))
        return self._kept[symbol]

    def _note(self, symbol, words, stream):
        self.calls.append((symbol, words, stream or 0))
        return 7 if symbol == self.failing else 0

    @staticmethod
    def _launch_all(calls, count, failed, stream, beside):
        """Do what launches.cu does."""
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        for number, call in enumerate(calls._obj[: count.value]):
            status = kind(call.function)(call.arguments, beside if call.beside else stream)
            if status:
                failed._obj.value = number
                return status
        return 0


@pytest.fixture
def library(monkeypatch):
    found = Library()
    monkeypatch.setattr(launches, "LAUNCHES", found)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    return found


def test_every_kind_of_argument_has_its_field():
    tensor = torch.zeros(3)
    found = given(count=-(1 << 40), x=tensor, share=0.5)
    assert (found.count, found.x, found.out, found.share) == (
        -(1 << 40), tensor.data_ptr(), None, 0.5,
    )  # fmt: skip
    assert given(count=True).count == 1


def test_tensors_are_kept_as_long_as_the_structure():
    found = given(x=torch.zeros(3), out=torch.ones(2))
    assert [x for x in found.kept if isinstance(x, torch.Tensor)][1].tolist() == [1, 1]


def test_a_field_without_a_value_and_a_value_without_a_field_are_errors():
    with pytest.raises(TypeError, match=r"wrong: \['out', 'share'\]"):
        _Given(count=1, x=None)
    with pytest.raises(TypeError, match=r"wrong: \['rows'\]"):
        _Given(count=1, x=None, out=None, share=0.0, rows=3)


def test_a_pointer_is_written_to_all_its_places_and_nowhere_else(library):
    pointer = Pointer()
    first = given(count=1, x=pointer, out=2, share=0.5)
    second = _Product(count=5)
    pointer.fill(second, _Product.x.offset)
    for address in (1 << 47, 64):
        pointer.set(address)
        assert (first.count, first.x, first.out, first.share) == (1, address, 2, 0.5)
        assert (second.count, second.x) == (5, address)


def test_a_pointer_may_be_a_number():
    pointer = Pointer()
    found = given(count=pointer)
    pointer.set((1 << 32) - 1)
    assert (found.count, found.x) == ((1 << 32) - 1, None)


def test_a_list_is_queued_in_order_on_the_streams_that_it_says(library):
    made = [
        Launch(library, "f", CPU, given(1)),
        Launch(library, "g", CPU, given(2)).aside(),
        Launch(library, "h", CPU, _Product()),
    ]
    LaunchList(made, CPU).run(11, 22)
    assert library.calls == [
        ("f", ctypes.addressof(made[0].arguments), 11),
        ("g", ctypes.addressof(made[1].arguments), 22),
        ("h", ctypes.addressof(made[2].arguments), 11),
    ]


def test_a_failure_ends_the_list_and_names_the_function(library):
    made = [Launch(library, name, CPU, given(1)) for name in ("f", "g", "h")]
    library.failing = "g"
    with pytest.raises(CudaError, match="g: CUDA error 7"):
        LaunchList(made, CPU).run(11)
    assert [call[0] for call in library.calls] == ["f", "g"]
