"""Launches that are made ready once: their arguments, their order and their failures."""

import ctypes
import struct

import pytest
import torch

from accelsim.kernels import launches
from accelsim.kernels.launches import Launch, LaunchList, Pointer
from accelsim.kernels.nvcc import CudaError

CPU = torch.device("cpu")
WORDS = ctypes.POINTER(ctypes.c_uint64)


class _Arguments(ctypes.Structure):
    _fields_ = (("count", ctypes.c_int32), ("x", ctypes.c_void_p))


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


def words(launch):
    return list(launch.words)


def test_every_kind_of_argument_becomes_64_bits(library):
    tensor = torch.zeros(3)
    launch = Launch(library, "f", CPU, tensor, None, -2, True, 0.5, 1 << 40)
    assert words(launch) == [
        tensor.data_ptr(),
        0,
        2**64 - 2,
        1,
        struct.unpack("Q", struct.pack("d", 0.5))[0],
        1 << 40,
    ]


def test_a_pointer_is_written_to_all_its_places_and_nowhere_else(library):
    pointer = Pointer()
    first = Launch(library, "f", CPU, 1, pointer, 2)
    arguments = _Arguments(count=5)
    pointer.fill(arguments, _Arguments.x.offset)
    second = Launch(library, "g", CPU, arguments)
    for address in (1 << 47, 64):
        pointer.set(address)
        assert words(first) == [1, address, 2]
        assert (second.words.count, second.words.x) == (5, address)


def test_a_list_is_queued_in_order_on_the_streams_that_it_says(library):
    made = [
        Launch(library, "f", CPU, 1),
        Launch(library, "g", CPU, 2).aside(),
        Launch(library, "h", CPU, _Arguments()),
    ]
    LaunchList(made, CPU).run(11, 22)
    assert library.calls == [
        ("f_packed", ctypes.addressof(made[0].words), 11),
        ("g_packed", ctypes.addressof(made[1].words), 22),
        ("h", ctypes.addressof(made[2].words), 11),
    ]


def test_a_failure_ends_the_list_and_names_the_function(library):
    made = [Launch(library, name, CPU, 1) for name in ("f", "g", "h")]
    library.failing = "g_packed"
    with pytest.raises(CudaError, match="g: CUDA error 7"):
        LaunchList(made, CPU).run(11)
    assert [call[0] for call in library.calls] == ["f_packed", "g_packed"]
