"""Launches of kernels that are made ready once and then queued again and again, without Python."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from accelsim.kernels.nvcc import CSRC, CudaSource, raise_for

if TYPE_CHECKING:
    import torch

LAUNCHES = CudaSource(CSRC / "launches.cu")


class Pointer:
    """An address among the arguments of launches that differs from run to run."""

    def __init__(self) -> None:
        self._places: list[ctypes.c_uint64] = []
        self._kept: list[Any] = []

    def fill(self, arguments: Any, offset: int) -> None:
        """Record a place that gets the address.

        Parameters
        ----------
        arguments : ctypes.Structure
            Arguments of a launch.
        offset : int
            Where the place is in them, in bytes.
        """
        self._kept.append(arguments)
        place = ctypes.c_uint64.from_address(ctypes.addressof(arguments) + offset)
        self._places.append(place)

    def set(self, address: int) -> None:
        """Write the address wherever it belongs; any number of up to 64 bits will do."""
        for place in self._places:
            place.value = address


class Arguments(ctypes.Structure):
    """What a C function takes: a structure whose fields it has under the same names.

    Every field has 64 bits.

    Parameters
    ----------
    **values
        One for each field: tensors, whose addresses are passed and which are kept; None, a null
        pointer; `Pointer`, which writes the field later; integers and floats.

    Raises
    ------
    TypeError
        If a field has no value, or a value no field.
    """

    def __init__(self, **values: Any) -> None:
        super().__init__()
        self.kept = tuple(values.values())
        names = [name for name, *_ in self._fields_]
        if values.keys() != set(names):
            wrong = sorted(values.keys() ^ set(names))
            raise TypeError(f"{type(self).__name__} has the fields {names}; wrong: {wrong}")
        for name, value in values.items():
            if isinstance(value, Pointer):
                value.fill(self, getattr(type(self), name).offset)
            else:
                setattr(self, name, value.data_ptr() if hasattr(value, "data_ptr") else value)


class Launch:
    """A call of a C function that queues work on a stream, with its arguments made ready.

    Parameters
    ----------
    source : CudaSource
        Where the function is.
    symbol : str
        Its name. It takes a structure and a stream.
    device : torch.device
        A CUDA device.
    arguments : ctypes.Structure
        What it takes.
    """

    beside = False
    """Whether it is queued on the second stream of its list."""

    def __init__(
        self, source: CudaSource, symbol: str, device: torch.device, arguments: ctypes.Structure
    ) -> None:
        self.symbol, self.device, self.arguments = symbol, device, arguments
        self._kept: tuple[object, ...] = ()
        self.function = ctypes.cast(source.function(symbol, device), ctypes.c_void_p)

    def keep(self, *needed: object) -> None:
        """Keep what the arguments point to as long as the launch itself."""
        self._kept = (*self._kept, *needed)

    def aside(self) -> Self:
        """Have it queued on the second stream of its list."""
        self.beside = True
        return self


class _Call(ctypes.Structure):
    """What ``csrc/launches.cu`` describes."""

    _fields_ = (
        ("function", ctypes.c_void_p),
        ("arguments", ctypes.c_void_p),
        ("beside", ctypes.c_int64),
    )


class LaunchList:
    """Launches that are queued one after the other in a single call.

    Parameters
    ----------
    launches : sequence of Launch
        In their order; some may be for a second stream.
    device : torch.device
        A CUDA device.
    """

    def __init__(self, launches: Sequence[Launch], device: torch.device) -> None:
        self._launches, self._device = launches, device
        self._function = LAUNCHES.function("accelsim_launch_all", device)
        self._failed = ctypes.c_int64()
        self._calls = (_Call * len(launches))(
            *(
                _Call(launch.function, ctypes.addressof(launch.arguments), launch.beside)
                for launch in launches
            )
        )
        self._arguments = (
            ctypes.byref(self._calls),
            ctypes.c_int64(len(launches)),
            ctypes.byref(self._failed),
        )

    def run(self, stream: int, beside: int = 0) -> None:
        """Queue all launches.

        Parameters
        ----------
        stream, beside : int
            Streams of the device, as CUDA knows them.

        Raises
        ------
        CudaError
            If one of them fails.
        """
        streams = ctypes.c_void_p(stream), ctypes.c_void_p(beside)
        status = on_device(self._device, self._function, *self._arguments, *streams)
        if status:
            raise_for(status, self._launches[self._failed.value].symbol)

    def record(self) -> RecordedLaunches:
        """Return them as a CUDA graph, with the arguments that they have now.

        All of them have been queued before, so that their kernels are loaded.

        Raises
        ------
        CudaError
            If they cannot be recorded.
        """
        graph = ctypes.c_void_p()
        function = LAUNCHES.function("accelsim_record_all", self._device)
        status = on_device(self._device, function, *self._arguments, ctypes.byref(graph))
        if status:
            raise_for(status, "accelsim_record_all")
        return RecordedLaunches(graph, self._launches, self._device)


class RecordedLaunches:
    """Launches that the driver makes in one call.

    Parameters
    ----------
    graph : ctypes.c_void_p
        The executable CUDA graph, which this owns.
    launches : sequence of Launch
        What it was recorded from; what their arguments point to is kept.
    device : torch.device
        A CUDA device.
    """

    def __init__(
        self, graph: ctypes.c_void_p, launches: Sequence[Launch], device: torch.device
    ) -> None:
        self._graph, self._launches, self._device = graph, launches, device
        self._replay = LAUNCHES.function("accelsim_replay", device)
        forget = LAUNCHES.function("accelsim_forget", device)
        # When the interpreter ends, so does what there is of CUDA.
        weakref.finalize(self, forget, graph).atexit = False

    def run(self, stream: int) -> None:
        """Queue them on a stream of the device, as CUDA knows it.

        Raises
        ------
        CudaError
            If they cannot be queued.
        """
        status = on_device(self._device, self._replay, self._graph, ctypes.c_void_p(stream))
        if status:
            raise_for(status, "accelsim_replay")


def on_device(device: torch.device, function: Any, *arguments: Any) -> int:
    """Call a C function with a device as the current one, and return its status."""
    import torch

    if device.index is None or device.index == torch.cuda.current_device():
        return int(function(*arguments))
    with torch.cuda.device(device):
        return int(function(*arguments))


def launch_now(launches: Sequence[Launch], device: torch.device) -> None:
    """Queue launches once, on the current stream."""
    LaunchList(launches, device).run(current_stream(device))


def current_stream(device: torch.device) -> int:
    """Return the current stream of a device, as CUDA knows it."""
    import torch

    index = torch.cuda.current_device() if device.index is None else device.index
    # Python's wrapper takes as long as all launches of a run.
    return int(torch._C._cuda_getCurrentRawStream(index))


class _Clear(Arguments):
    """What ``csrc/arguments.hpp`` describes."""

    _fields_ = (("memory", ctypes.c_void_p), ("bytes", ctypes.c_int64))


class _AtEvent(Arguments):
    """What ``csrc/arguments.hpp`` describes."""

    _fields_ = (("event", ctypes.c_void_p),)


def cleared(memory: torch.Tensor) -> Launch:
    """Return what fills a contiguous tensor with zeros."""
    arguments = _Clear(memory=memory, bytes=memory.nbytes)
    return Launch(LAUNCHES, "accelsim_clear", memory.device, arguments)


def at_once(
    beside: Sequence[Launch], meanwhile: Sequence[Launch], events: Sequence[torch.cuda.Event]
) -> list[Launch]:
    """Return launches on the second stream with others on the first, which then wait for them.

    Parameters
    ----------
    beside, meanwhile : sequence of Launch
        For the second stream and for the first.
    events : sequence of torch.cuda.Event
        Two, which have been recorded before, so that they exist.
    """
    if not beside or not meanwhile:
        return [*beside, *meanwhile]
    begin, end = (_AtEvent(event=event.cuda_event) for event in events)
    device = meanwhile[0].device
    return [
        Launch(LAUNCHES, "accelsim_record", device, begin),
        Launch(LAUNCHES, "accelsim_wait", device, begin).aside(),
        *(launch.aside() for launch in beside),
        *meanwhile,
        Launch(LAUNCHES, "accelsim_record", device, end).aside(),
        Launch(LAUNCHES, "accelsim_wait", device, end),
    ]


class Arrival:
    """Waits for a number that the device writes into the host's memory.

    Parameters
    ----------
    word : int
        Its address.
    device : torch.device
        A CUDA device.
    """

    SPINS = 1 << 24

    def __init__(self, word: int, device: torch.device) -> None:
        self._device = device
        self._arrives = LAUNCHES.function("accelsim_arrives", device)
        self._word = ctypes.c_void_p(word)
        self._spins = ctypes.c_int64(self.SPINS)

    def wait(self, value: int) -> None:
        """Wait until the word has a value.

        Raises
        ------
        RuntimeError
            If the device fails before it is written.
        """
        import torch

        number = ctypes.c_uint32(value)
        if self._arrives(self._word, number, self._spins):
            return
        # It takes long, or never comes: then this says why.
        torch.cuda.synchronize(self._device)
        if not self._arrives(self._word, number, self._spins):
            raise RuntimeError("a kernel of the fused route has not run to its end")
