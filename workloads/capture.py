"""Capture the GEMMs that a model runs, forward and backward, into a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from accelsim.errors import InputError
from workloads.bundle_stream import DTYPE_NAMES, BundleStream, Described
from workloads.gemm import PHASES
from workloads.tracing import GemmCall, Multiplication, Tracer
from workloads.tracing.modes import is_fake


@dataclass(frozen=True)
class Sampling:
    """The GEMMs that are captured, and how much of each.

    Parameters
    ----------
    gemms : sequence of str
        Globs of names, such as ``*.q_proj`` or ``model.layers.0.*``.
    phases : sequence of str
        Of `workloads.PHASES`.
    rows : int, optional
        Keep at most this many rows of A and of B, evenly spaced; d is never cropped, so each kept
        entry of the product is the model's own.
    heads : int, optional
        Keep at most this many of a batch (attention heads), evenly spaced.
    """

    gemms: Sequence[str] = ("*",)
    phases: Sequence[str] = PHASES
    rows: int | None = None
    heads: int | None = None

    def wants(self, name: str, phase: str) -> bool:
        """Whether a GEMM is to be captured.

        Parameters
        ----------
        name : str
            Of the GEMM.
        phase : str
            ``forward``, ``grad_input`` or ``grad_weight``.
        """
        return phase in self.phases and any(fnmatchcase(name, glob) for glob in self.gemms)

    def crop(self, operand: Tensor) -> Tensor:
        """Return the part of an operand that is kept.

        Parameters
        ----------
        operand : Tensor
            ``[rows, d]`` or ``[batch, rows, d]``.
        """
        kept = _evenly(operand, -2, self.rows)
        return _evenly(kept, 0, self.heads) if kept.ndim == 3 else kept

    def size(self, shape: Sequence[int]) -> int:
        """Return how many entries of an operand of this shape are kept.

        Parameters
        ----------
        shape : Sequence[int]
            Of the whole operand.
        """
        *lead, rows, d = shape
        batch = lead[0] if lead else 1
        kept_batch = batch if self.heads is None else min(batch, self.heads)
        return kept_batch * (rows if self.rows is None else min(rows, self.rows)) * d

    def describe(self) -> str:
        """Return what was cropped, as text; empty if nothing.

        Returns
        -------
        str
            Such as the number of rows and heads that were kept.
        """
        parts = []
        if self.rows is not None:
            parts.append(f"at most {self.rows} rows of A and of B")
        if self.heads is not None:
            parts.append(f"at most {self.heads} of a batch")
        return ", ".join(parts) + ", evenly spaced" if parts else ""


def _evenly(tensor: Tensor, dim: int, keep: int | None) -> Tensor:
    total = tensor.shape[dim]
    if keep is None or total <= keep:
        return tensor
    return tensor.index_select(dim, torch.arange(keep, device=tensor.device) * total // keep)


@dataclass(frozen=True)
class Captured:
    """One GEMM that was seen.

    Parameters
    ----------
    place : GemmCall
        Its place; without operands.
    a, b : tuple of int
        The whole operands' shapes.
    itemsize : int
        Bytes of one entry.
    """

    place: GemmCall
    a: tuple[int, ...]
    b: tuple[int, ...]
    itemsize: int

    @property
    def described(self) -> Described:
        """Its description in the bundle."""
        site = self.place.site
        return Described(self.place.name, site.op, site.layer, self.place.phase)

    def bytes(self, sampling: Sampling) -> int:
        """Return what its kept operands take.

        Parameters
        ----------
        sampling : Sampling
            What is kept of the operands.
        """
        return self.itemsize * (sampling.size(self.a) + sampling.size(self.b))


class Capture(Tracer):
    """Write every GEMM that a model runs inside the context to a bundle.

    ::

        with Capture(model, "mine.safetensors"):
            model(batch).loss.backward()

    The model is not changed and computes the same bits; see `Tracer` for what is switched off.
    Operands go straight to the file, in the type that they have. A bundle holds float32, float16
    and bfloat16: a GEMM of float64 is not captured, which `skipped` reports with its name. A GEMM
    that gradient checkpointing runs again is captured once. If the model ends with an error, no
    file is left; if the file cannot take all, as on a full disk, the model runs to its end and
    what was captured before is kept, and the context ends with an error that reports this.

    Parameters
    ----------
    model : nn.Module
        Any model; see `Tracer`.
    path : str or Path, optional
        The bundle to write. Without it nothing is written and no operand is copied: the shapes are
        what is wanted.
    sampling : Sampling
        Which GEMMs, and how much of each; all, whole, by default.
    source : mapping, optional
        Where the operands come from, for the bundle: model, package, text, licence.
    budget : int, optional
        Bytes of operands after which GEMMs are skipped.
    progress : callable, optional
        Called with each GEMM's name when it has been captured.

    Attributes
    ----------
    gemms : list of Captured
        What was captured, in the order in which it ran.
    skipped : Counter
        What could not be captured, with the reason.

    Examples
    --------
    >>> import torch
    >>> from workloads import open_bundle
    >>> from workloads.capture import Capture, Sampling
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> with Capture(model, "mine.safetensors", Sampling(phases=("forward",))):
    ...     _ = model(torch.ones(3, 4))
    >>> [(gemm.name, gemm.op, gemm.phase) for gemm in open_bundle("mine.safetensors").gemms]
    [('0', 'linear', 'forward'), ('2', 'linear', 'forward')]
    """

    def __init__(
        self,
        model: nn.Module,
        path: str | Path | None = None,
        sampling: Sampling = Sampling(),
        source: Mapping[str, Any] | None = None,
        budget: int | None = None,
        progress: Callable[[str], None] = lambda name: None,
    ) -> None:
        super().__init__(model, shapes_only=path is None)
        self.gemms: list[Captured] = []
        self._sampling = sampling
        self._source = dict(source or {})
        self._budget = budget
        self._progress = progress
        self._stream = None if path is None else BundleStream(Path(path))
        self._closing = ExitStack()
        self._full: InputError | None = None
        self._refused: dict[str, None] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._stream is not None:
                stack.enter_context(self._stream)
            super().__enter__()
            self._closing = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        with self._closing:
            if error is None and self._stream is not None:
                if not self.gemms:
                    raise self._full or InputError(f"{self._stream.path}: {self.nothing()}")
                self._stream.finish([gemm.described for gemm in self.gemms], self._about())
                if self._full is not None:
                    kept = f"the {len(self.gemms)} GEMMs that were captured before are kept"
                    raise InputError(f"{self._full}; {kept}") from self._full

    def multiply(
        self,
        run: Callable[[], Any],
        multiplication: Multiplication,
        calls: Iterable[GemmCall | None],
    ) -> Any:
        """Record the operands, before an operator in place can overwrite them, and run it."""
        for call in calls:
            if call and not call.again and self._sampling.wants(call.name, call.phase):
                self._record(call)
        return run()

    def _record(self, call: GemmCall) -> None:
        a, b = call.a, call.b
        place = call._replace(a=_NOTHING, b=_NOTHING)
        gemm = Captured(place, tuple(a.shape), tuple(b.shape), a.element_size())
        reason = self._refusal(call, gemm)
        if reason is not None:
            self._refused[reason] = None
            self.left.add(reason, a.numel() * b.shape[-2])
            return
        if self._stream is not None:
            kept_a, kept_b = (self._sampling.crop(x) for x in (a, b))
            try:
                self._stream.add(kept_a, kept_b, call.name)
            except InputError as error:  # the model continues; the end of the context reports it
                self._full = error
                return
        self.gemms.append(gemm)
        self._progress(call.name)

    def _refusal(self, call: GemmCall, gemm: Captured) -> str | None:
        """Return why a GEMM cannot be captured; None if it can."""
        for dtype in (call.a.dtype, call.b.dtype):
            if not dtype.is_floating_point:
                return f"{call.name}: operands of {dtype} are not floating-point numbers"
            if dtype not in DTYPE_NAMES:
                hint = "; convert the model with .float()" if dtype == torch.float64 else ""
                held = "a bundle holds float32, float16 and bfloat16"
                return f"{call.name}: operands of {dtype}; {held}{hint}"
        if self._full is not None:
            return "the bundle cannot be written any further"
        if self._stream is None:
            return None
        if is_fake(call.a) or is_fake(call.b):
            return f"{call.name}: operands without values"
        if call.a.is_meta or call.b.is_meta:
            return f"{call.name}: operands on the device 'meta' have no values; load the weights"
        written = self._stream.written + gemm.bytes(self._sampling)
        if self._budget is not None and written > self._budget:
            return f"the budget of {self._budget:,} bytes is used up"
        return None

    def _about(self) -> dict[str, Any]:
        crop = self._sampling.describe()
        return self._source | ({"crop": crop} if crop else {})

    def nothing(self) -> str:
        """Explain why nothing was captured, and what could be.

        Returns
        -------
        str
            The reason, with what could not be captured.
        """
        if self._refused:
            shown = "; ".join(list(self._refused)[:4])
            more = f"; {len(self._refused) - 4} more" if len(self._refused) > 4 else ""
            return f"no GEMM could be captured: {shown}{more}"
        globs, phases = ", ".join(self._sampling.gemms), ", ".join(self._sampling.phases)
        names = self._placing.sites.names()
        lost = "".join(f"; {reason}" for reason in list(self.skipped)[:4])
        if not names:
            return f"the model ran no GEMM inside the capture{lost}"
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        return f"no GEMM matches {globs} in phase {phases}; the model ran: {shown}{lost}"


_NOTHING = torch.empty(0, device="cpu")
