"""Counts of the integer GEMMs of a model."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from accelsim.errors import InputError, unknown_name
from accelsim.integer_mode.pinned import Pinning
from accelsim.integer_mode.tally_table import WHOLE_MODEL, legend, table
from workloads.gemm import listed
from workloads.tracing import GemmCall, Skipped


@dataclass
class Totals:
    """Sums over GEMMs.

    Parameters
    ----------
    gemms : int
        How many there were.
    dense_macs : int
        Their multiplications.
    unpacked : int
        Those that went through a backend as low-bit products; the next three are theirs.
    unpacked_macs, low_bit_macs : int
        Their multiplications as they are, and in low-bit products.
    entries, out_of_bound : int
        Entries of their operands, and those that do not fit one digit.
    checked, inexact : int
        Those compared with the oracle, and those in which an integer differed.
    overflows : int
        Accumulator steps that overflowed, where the backend tells.
    """

    gemms: int = 0
    dense_macs: int = 0
    unpacked: int = 0
    unpacked_macs: int = 0
    low_bit_macs: int = 0
    entries: int = 0
    out_of_bound: int = 0
    checked: int = 0
    inexact: int = 0
    overflows: int = 0

    @property
    def ratio(self) -> float | None:
        """The unpack ratio r, weighted by multiplications; None if nothing was unpacked."""
        return self.low_bit_macs / self.unpacked_macs if self.unpacked_macs else None

    def add(self, **counts: int) -> None:
        """Count more."""
        fields = vars(self)
        for name, count in counts.items():
            fields[name] += count

    def __add__(self, other: Totals) -> Totals:
        both = replace(self)
        both.add(**vars(other))
        return both


@dataclass
class Tally:
    """Counts of the GEMMs of a model, by layer, op and phase, and of what stayed in floats.

    Printed, it has the counts by op and phase; ``print(tally.table(by="layer"))`` prints them by
    layer. `rows` returns either as numbers, and `summary` the counts of all GEMMs together.

    Parameters
    ----------
    skipped : Skipped
        GEMMs, and operators that may hold some, that could not be taken, by reason.
    not_chosen : Skipped
        GEMMs that the selection leaves out, by place.
    pinning : Pinning or None
        What has the same bits everywhere, where that was asked for.
    by_place : dict
        ``(layer, op, phase)`` to `Totals`, in the order in which they first ran.
    """

    skipped: Skipped = field(default_factory=Skipped)
    not_chosen: Skipped = field(default_factory=Skipped)
    pinning: Pinning | None = None
    by_place: dict[tuple[str, str, str], Totals] = field(
        default_factory=lambda: defaultdict(Totals)
    )
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def add(self, call: GemmCall, **counts: int) -> None:
        """Count one GEMM.

        Parameters
        ----------
        call : GemmCall
            The GEMM.
        **counts
            What it adds to the fields of its `Totals`.
        """
        key = call.site.layer, call.site.op, call.phase
        size = call.a.numel() * call.b.shape[-2]
        with self._lock:
            self.by_place[key].add(gemms=1, dense_macs=size, **counts)

    @property
    def total(self) -> Totals:
        """The counts of all GEMMs."""
        return sum(self.by_place.values(), Totals())

    @property
    def float_macs(self) -> int:
        """Multiplications that stayed in floats, as far as they are known."""
        return self.skipped.macs.total() + self.not_chosen.macs.total()

    @property
    def coverage(self) -> float | None:
        """The share of the multiplications that were integer ones; None if there was none.

        It is an upper bound if the multiplications of skipped operators are unknown.
        """
        integer = self.total.dense_macs
        return integer / (integer + self.float_macs) if integer + self.float_macs else None

    def sum(self, wanted: Callable[[str], bool]) -> Totals:
        """Return the counts of the GEMMs of some phases.

        Parameters
        ----------
        wanted : callable
            Whether a phase is to be counted.
        """
        return sum(
            (counts for (*_, phase), counts in self.by_place.items() if wanted(phase)), Totals()
        )

    def summary(self) -> dict[str, Any]:
        """Return the counts of all GEMMs as JSON types, with their unpack ratio.

        Returns
        -------
        dict
            The fields of `Totals` (``gemms``, ``dense_macs``, ``unpacked``, ``unpacked_macs``,
            ``low_bit_macs``, ``entries``, ``out_of_bound``, ``checked``, ``inexact``,
            ``overflows``), where ``checked`` and ``inexact`` are None if no product was compared
            with the oracle's, and ``entries`` and ``out_of_bound`` if none was unpacked;
            ``ratio``, r of all GEMMs together, ``low_bit_macs`` over ``unpacked_macs``;
            ``coverage``, the share of the multiplications that were integer ones;
            ``not_chosen_macs``, those of GEMMs that the selection leaves out; of what could not be
            taken ``skipped``, the calls by reason, ``skipped_macs``, the multiplications of those
            whose size is known, and ``skipped_unknown``, the calls of the rest. With `pinning`
            there are the ``level`` that holds and the calls of what is ``unpinned``.
        """
        total = self.total
        unchecked = {} if total.checked else {"checked": None, "inexact": None}
        uncounted = {} if total.unpacked else {"entries": None, "out_of_bound": None}
        return {
            **asdict(total),
            **unchecked,
            **uncounted,
            "ratio": total.ratio,
            "coverage": self.coverage,
            "not_chosen_macs": self.not_chosen.macs.total(),
            "skipped_macs": self.skipped.macs.total(),
            "skipped_unknown": self.skipped.unknown.total(),
            "skipped": dict(self.skipped.calls),
            **({} if self.pinning is None else self.pinning.summary()),
        }

    def __str__(self) -> str:
        """Say how much was in integers, by op and phase, and what stayed in floats."""
        total = self.total
        share = "" if self.coverage is None else f", {self._share(self.coverage)}"
        plural = "" if total.gemms == 1 else "s"
        lines = [f"{total.gemms:,} GEMM{plural} in integers{share}"]
        if total.gemms:
            lines += [f"  {line}" for line in self.table().splitlines()]
        if total.checked:
            lines.append(
                f"{total.checked - total.inexact:,} of {total.checked:,} checked are exact"
            )
        if total.overflows:
            lines.append(f"{total.overflows:,} steps overflowed")
        if not_chosen := self.not_chosen.calls.total():
            several = "" if not_chosen == 1 else "s"
            left = self.not_chosen.macs.total() / max(1, total.dense_macs + self.float_macs)
            names = listed(self.not_chosen.calls)
            lines.append(f"{not_chosen:,} GEMM{several} not chosen, {self._share(left)}: {names}")
        lines += [
            f"{calls:,} stayed in floats: {reason}" for reason, calls in self.skipped.calls.items()
        ]
        if self.pinning is not None:
            lines.append(str(self.pinning))
        return "\n".join(lines)

    def _share(self, share: float) -> str:
        """Say a share of all multiplications, which is a bound if some calls' are unknown."""
        bound = "at most " if self.skipped.unknown else ""
        return f"{bound}{share:.1%} of the GEMMs' multiplications"

    def table(self, by: Literal["op", "layer"] = "op") -> str:
        """Return the counts as a table to print, with lines that sum them up and a legend.

        By layer, the sums of a layer stand below its rows, if it has several.

        Parameters
        ----------
        by : {"op", "layer"}
            As `rows` takes it.

        Returns
        -------
        str
            Its columns are GEMMs, MACs (their multiplications), low-bit MACs (those of their
            digits) and the unpack ratio r; the last two only if something was unpacked.

        Examples
        --------
        >>> import accelsim
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Linear(2, 1))
        >>> with torch.no_grad(), accelsim.integer_gemms(model, beta=127) as mode:
        ...     y = model(torch.ones(3, 4))
        >>> print(mode.tally.table(by="layer"))
        layer     op      phase    GEMMs  MACs
        0         linear  forward      1    24
        1         linear  forward      1     6
        together                       2    30
        MACs: multiplications of the GEMMs
        no unpack ratio r: without a backend nothing is unpacked
        linear: products with weights, those of convolutions, too
        """
        counts = {key: asdict(found) for key, found in self.by_place.items()}
        total = {**asdict(self.total), "ratio": self.total.ratio}
        rows = self.rows(by)
        lines = table(_LABELS[by], rows, total, self._layers()) + legend(counts, total)
        if by == "layer" and any(layer == "" for layer, *_ in counts):
            lines.append(f"{WHOLE_MODEL}: of no layer; globs call its GEMMs matmul, qk and pv")
        return "\n".join(lines)

    def _layers(self) -> dict[str, dict[str, Any]]:
        """Return the counts of each layer, with its unpack ratio."""
        found: dict[str, Totals] = defaultdict(Totals)
        for (layer, *_), counts in self.by_place.items():
            found[layer] += counts
        return {layer: {**asdict(sums), "ratio": sums.ratio} for layer, sums in found.items()}

    def rows(self, by: Literal["op", "layer"] = "op") -> list[dict[str, Any]]:
        """Return the counts as flat rows, for a table or JSON.

        Parameters
        ----------
        by : {"op", "layer"}
            What has a row of its own: each op and phase, or each layer, op and phase.

        Returns
        -------
        list of dict
            ``layer`` (only by layer: its name in ``model.named_modules()``), ``op``, ``phase``, the
            fields of `Totals`, and their ``ratio`` r, None if nothing was unpacked. Layers come in
            the order in which they first ran.

        Raises
        ------
        InputError
            If `by` is something else.
        """
        if by not in _LABELS:
            raise InputError(f"by: {unknown_name('value', by, _LABELS)}")
        labels = _LABELS[by]
        groups: dict[tuple[str, ...], Totals] = defaultdict(Totals)
        first = {layer: order for order, (layer, *_) in reversed([*enumerate(self.by_place)])}
        places = sorted(self.by_place, key=lambda key: first[key[0]] if by == "layer" else 0)
        for key in places:
            groups[key[-len(labels) :]] += self.by_place[key]
        return [
            {**dict(zip(labels, key, strict=True)), **asdict(counts), "ratio": counts.ratio}
            for key, counts in groups.items()
        ]


_LABELS = {"op": ("op", "phase"), "layer": ("layer", "op", "phase")}
