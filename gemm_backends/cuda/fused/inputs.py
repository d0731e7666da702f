"""What the pipeline takes, and the messages where it does not."""

from __future__ import annotations

from torch import Tensor

from accelsim.arithmetic.rounding import rank
from accelsim.errors import DataError, InputError
from accelsim.kernels.select import TYPES, Selector, round_to_integers
from gemm_backends.cuda.cutlass_kernels import has_wgmma


def check_operands(a: Tensor, b: Tensor) -> None:
    """Refuse operands, or a GPU, of another kind.

    Raises
    ------
    InputError
        If the GPU is no Hopper, or the operands are not two contiguous matrices of floats on it.
    """
    if not has_wgmma():
        raise InputError("the GPU pipeline needs compute capability 9.0 (Hopper)")
    for name, x in (("A", a), ("B", b)):
        if x.dtype not in TYPES or x.device.type != "cuda" or x.ndim != 2 or not x.numel():
            raise InputError(
                f"{name} must be a float32, float16 or bfloat16 matrix on a CUDA device, with "
                f"entries; got {x.dtype} {[*x.shape]} on {x.device}"
            )
        if not x.is_contiguous():
            raise InputError(f"{name} must be contiguous")
    if a.shape[1] != b.shape[1]:
        raise InputError(f"A {[*a.shape]} and B {[*b.shape]} differ in their last dimension")


def rounded(x: Tensor, percentile: float, beta: float, name: str) -> Tensor:
    """Quantize an operand ``[rows, d]`` to int32, waiting for the GPU.

    Raises
    ------
    DataError
        If it cannot be quantized.
    """
    selector = Selector(x.numel(), x.device)
    selector.run(x, rank(x.numel(), percentile), beta)
    report = selector.report()
    check_report(report, x.numel(), name)
    return round_to_integers(x, report[1])


def check_report(report: tuple[float, float, float, int | None], count: int, name: str) -> None:
    """Read a selector's report on an operand of `count` entries.

    Raises
    ------
    DataError
        If it held NaN or infinity, its scale is undefined, or an integer reaches 2^31.
    """
    _, scale, largest, nonfinite = report
    if nonfinite is not None:
        raise DataError(f"{name}: entry {nonfinite} of {count} is NaN or infinite")
    if scale != scale or scale * largest >= 2**31:
        raise DataError(
            f"{name}: the scale is undefined or an entry reaches 2^31; raise the percentile"
        )
