"""The way for a few rows of A: their digits as further rows, beside weights that are read once."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from accelsim.arithmetic.bounds import round_up
from accelsim.kernels.launches import Launch, launch_now
from accelsim.kernels.nvcc import CSRC, CudaSource
from accelsim.types import PerOperand, Side
from gemm_backends.cuda.fused.layout import Layout
from gemm_backends.cuda.fused.operand import Digits
from gemm_backends.cuda.fused.plan import TILE, Few
from gemm_backends.cuda.fused.prepared import FusedOperand
from gemm_backends.cuda.fused.rows import MOST_PLANES, fits_registers
from gemm_backends.cuda.fused.sides import FOUND_WORDS, Floats, Source
from gemm_backends.cuda.fused.status import LARGEST_SUM, PROVABLE_K, Report, Status
from gemm_backends.cuda.fused.way import OUT_TYPES, Incoming, Shape, Way, Work

FEW_ROWS = CudaSource(CSRC / "few_rows.cu")

MOST_STACKED = 128
"""Rows of digits that the kernel takes."""

ROWS, MOST_OFFSET = 128, (1 << 31) - 1
"""Rows of a tile of B, between which the kernel counts bytes in 32 bits."""

_P, _L, _I = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32


class FewArguments(ctypes.Structure):
    """What ``csrc/few_rows.cu`` describes."""

    _fields_ = (
        *((name, _P) for name in ("a", "b", "c")),
        *((name, _L) for name in ("stride_a", "stride_b", "padded")),
        *((name, _P) for name in ("offsets", "entries", "found_a", "nonfinite", "found_b")),
        *((name, _P) for name in ("scale_a", "scale_b", "status", "host")),
        ("limit", ctypes.c_double),
        *((name, _I) for name in ("n", "h", "planes", "digits_b", "scale_b_step", "exponent")),
        *((name, _I) for name in ("provable", "sticks", "type", "splits", "sms")),
    )


def few_plan(sides: PerOperand[Incoming], shape: Shape) -> Few | None:
    """Return the plan for few rows, or None where the operands are not for it.

    Parameters
    ----------
    sides : PerOperand of Incoming
        Operands like those to come; a prepared one is that to come.
    shape : tuple of int
        batch, n, d, h.
    """
    batch, n, d, _ = shape
    a, b = sides.a, sides.b
    suits = (
        batch == 1
        and n * MOST_PLANES <= MOST_STACKED
        and isinstance(a, Floats)
        and a.by_row
        and fits_registers(d, a.x.dtype)
        and isinstance(b, FusedOperand)
        and b.high_lists is not None
        and b.digits.matrix.stride(0) * ROWS <= MOST_OFFSET
    )
    return Few(MOST_PLANES) if suits else None


class FewWay(Way):
    """Runs of a few rows by a prepared operand.

    Parameters
    ----------
    plan : Few
        Digits of A.
    shape : tuple of int
        1, n, d, h.
    sides : PerOperand of Incoming
        Floats with a scale for each row, and the prepared operand.
    status : Status
        Where the device concludes whether a run is exact.
    device : torch.device
        A CUDA device.
    """

    clears = False

    def __init__(
        self,
        plan: Few,
        shape: Shape,
        sides: PerOperand[Incoming],
        status: Status,
        device: torch.device,
    ) -> None:
        super().__init__(shape, status, 0, device)
        _, n, d, h = shape
        assert isinstance(sides.b, FusedOperand), "B is prepared"
        self.plan = plan
        layout = Layout(-(-d // TILE), plan.a)
        self.digits = PerOperand(Digits(1, n, d, layout, device), sides.b.digits)
        self._lists = _listed(sides.b)
        self._found = torch.empty((n, FOUND_WORDS), dtype=torch.int32, device=device)
        self._nonfinite = torch.empty(n, dtype=torch.int64, device=device)
        # What is multiplied besides the entries of C: columns and rows up to whole instructions.
        self.padded = round_up(plan.a * n, 8) * round_up(h, 16) // plan.a

    def unpack(self, new: PerOperand[Source | None], capturing: bool) -> list[Launch]:
        """Return the pass over A, whose conclusion the product draws."""
        assert new.a is not None, "A is new in every run"
        rows = self.row_pass("a")
        return [
            rows.planes(
                new.a, self.digits.a, self.plan.a, self._found, self._nonfinite, by_row=True
            )
        ]

    def multiply(self, out: Tensor, capturing: bool) -> list[Launch]:
        """Return the product."""
        arguments = self._arguments(out)
        arguments.status = self.status.words.data_ptr()
        arguments.host = None if capturing else self.status.host.data_ptr()
        arguments.sticks = capturing
        return [self._launch(arguments)]

    def integers(self, report: Report) -> Tensor:
        """Return the integers of the last run, ``[1, n, h]`` int64."""
        _, n, _, h = self.shape
        out = torch.empty((1, n, h), dtype=torch.int64, device=self._device)
        launch_now(self.remultiply(report, out), self._device)
        return out

    def remultiply(self, report: Report, sums: Tensor) -> list[Launch]:
        """Return the product of the last run once more, into int64."""
        return [self._launch(self._arguments(sums))]

    def settle(self) -> None:
        """Nothing is kept from run to run."""

    def digits_of(self, side: Side) -> Digits:
        """Return the digits of an operand."""
        return self.digits.of(side)

    def work(self, report: Report) -> Work:
        """Return the operation counts of the last run's products."""
        _, n, d, h = self.shape
        tiles = self.digits.a.layout.low * self.plan.a
        listed = report.listed
        return Work(tiles, n * h * d * self.plan.a + listed, listed=listed)

    def _dequantizes(self, out: Tensor) -> bool:
        return True

    def _arguments(self, out: Tensor) -> FewArguments:
        a, b = self.digits.a, self.digits.b
        scale_a, scale_b, found = self.sides.a.scale, self.sides.b.scale, self.sides.b
        assert isinstance(found, FusedOperand), "B is prepared"
        offsets, entries = self._lists
        _, n, d, h = self.shape
        return FewArguments(
            a=a.matrix.data_ptr(),
            b=b.matrix.data_ptr(),
            c=out.data_ptr(),
            stride_a=a.matrix.stride(0),
            stride_b=b.matrix.stride(0),
            padded=a.layout.low * TILE,
            offsets=offsets.data_ptr(),
            entries=entries.data_ptr(),
            found_a=self._found.data_ptr(),
            nonfinite=self._nonfinite.data_ptr(),
            found_b=found.found.data_ptr(),
            scale_a=scale_a.data_ptr(),
            scale_b=scale_b.data_ptr(),
            limit=LARGEST_SUM[False],
            n=n,
            h=h,
            planes=self.plan.a,
            digits_b=found.count,
            scale_b_step=found.by_row,
            exponent=self.sides.a.exponent + found.exponent,
            provable=d <= PROVABLE_K,
            type=OUT_TYPES[out.dtype],
            sms=torch.cuda.get_device_properties(self._device).multi_processor_count,
        )

    def _launch(self, arguments: FewArguments) -> Launch:
        launch = Launch(FEW_ROWS, "accelsim_few_rows", self._device, arguments)
        launch.keep(self.digits, self._lists, self._found, self._nonfinite, self.sides)
        return launch


def _listed(b: FusedOperand) -> tuple[Tensor, Tensor]:
    assert b.high_lists is not None, "the plan is for an operand with lists"
    return b.high_lists
