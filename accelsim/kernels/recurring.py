"""Launches that recur with the same addresses are recorded once, and then launched as a whole.

A driver's call for each kernel takes the host as long as the kernels of a small product take the
device. As a CUDA graph all of them are one call. A graph holds the addresses with which it was
recorded; where a model runs again and again, PyTorch's allocator gives its tensors the same ones.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TypeAlias

from accelsim.kernels.launches import LaunchList, RecordedLaunches

Addresses: TypeAlias = tuple[int, ...]

MOST = 8
"""Graphs of one list, and addresses met last that are taken to recur."""

MOST_RECORDED = 4 * MOST
"""No more graphs than this are recorded of a list whose addresses recur and change all the same."""


class Recurring:
    """A list of launches, and graphs of it for the addresses that recur.

    Parameters
    ----------
    launches : LaunchList
        The list. Whoever runs it writes the addresses into it before.
    """

    def __init__(self, launches: LaunchList) -> None:
        self._launches = launches
        self._met: deque[Addresses] = deque(maxlen=MOST)
        self._recorded = 0
        self._graphs: OrderedDict[Addresses, RecordedLaunches] = OrderedDict()

    def run(self, stream: int, beside: int, addresses: Addresses) -> None:
        """Queue all launches.

        Parameters
        ----------
        stream, beside : int
            Streams of the device, as CUDA knows them; without a graph the second one is used, too.
        addresses : tuple of int
            All addresses among the launches' arguments that differ from run to run.

        Raises
        ------
        CudaError
            If one of them fails.
        """
        graph = self._graphs.get(addresses)
        if graph is not None:
            self._graphs.move_to_end(addresses)
            graph.run(stream)
            return
        self._launches.run(stream, beside)
        if addresses not in self._met:
            self._met.append(addresses)
        elif self._recorded < MOST_RECORDED:
            self._graphs[addresses] = self._launches.record()
            self._recorded += 1
            if len(self._graphs) > MOST:
                self._graphs.popitem(last=False)
