"""The smallest GEMM that still shows a mismatch, saved with the config that replays it."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from accelsim.arithmetic.bounds import largest
from accelsim.config import RunConfig
from accelsim.errors import AccelsimError
from accelsim.measure.timing import StageTimer
from accelsim.plugins.registry import split_reference
from accelsim.records import record_key
from accelsim.records.folder import MISMATCHES
from accelsim.records.record import Minimised
from accelsim.routes import expected
from accelsim.routes.rounding import rounded
from accelsim.runner.cases import Case
from accelsim.runner.opening import request_of
from accelsim.runner.trial import Trial
from accelsim.types import SIDES, PerOperand, Rounding
from workloads import Gemm
from workloads.bundle_writer import write_bundle

SECONDS = 10.0
"""Time limit for minimising one mismatch, in seconds."""

Operands = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Excerpt:
    """The heads, rows of A, rows of B and columns of both that make up a sub-GEMM."""

    heads: tuple[int, ...]
    n: tuple[int, ...]
    h: tuple[int, ...]
    d: tuple[int, ...]

    @classmethod
    def all_of(cls, operands: Operands) -> Excerpt:
        """Select everything of ``[batch, n, d]`` and ``[batch, h, d]``."""
        (batch, n, d), h = operands[0].shape, operands[1].shape[1]
        return cls(*(tuple(range(size)) for size in (batch, n, h, d)))

    def of(self, operands: Operands) -> Operands:
        """Cut the sub-GEMM out, without a batch dimension where one head is left."""
        a, b = (
            x[list(self.heads)][:, list(rows)][:, :, list(self.d)].contiguous()
            for x, rows in zip(operands, (self.n, self.h), strict=True)
        )
        return (a[0], b[0]) if len(self.heads) == 1 else (a, b)


def minimise(
    case: Case, config: RunConfig, operands: Operands, entry: tuple[int, ...], folder: Path
) -> Minimised | None:
    """Reduce a GEMM whose product is wrong, and save the result.

    Heads, rows and columns are removed as long as the remaining product differs from the oracle's
    (delta debugging). The operands are saved as integers, with a config that leaves them as they
    are: percentile 100 and β = 2 max|A|, whose scale is exactly 1.

    Parameters
    ----------
    case : Case
        What was run.
    config : RunConfig
        The settings that all cases share.
    operands : tuple of Tensor
        A and B as floats, on the backend's device.
    entry : tuple of int
        ``(head, row, column)`` of a wrong entry, which is tried first on its own.
    folder : Path
        The run's folder.

    Returns
    -------
    Minimised or None
        None if the mismatch does not show again.

    Raises
    ------
    AccelsimError
        If the bundle cannot be written.

    References
    ----------
    A. Zeller and R. Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE Trans.
    Software Eng. 28 (2002).
    """
    integers = _integers(case, config, operands)
    deadline = time.monotonic() + SECONDS

    def shows(excerpt: Excerpt) -> bool:
        return _is_wrong(case, config, excerpt.of(integers))

    whole = Excerpt.all_of(integers)
    if not shows(whole):
        return None
    head, row, column = entry
    alone = replace(whole, heads=(head,), n=(row,), h=(column,))
    excerpt = alone if shows(alone) else whole
    before = None
    while excerpt != before and time.monotonic() < deadline:
        before = excerpt
        for axis in ("heads", "n", "h", "d"):
            excerpt = _shrink_axis(excerpt, axis, shows, deadline)
    return _save(case, config, excerpt.of(integers), folder)


def is_replay(config: RunConfig) -> bool:
    """Whether a config is one that `minimise` wrote: its GEMM has been minimised."""
    return config.path.parent.name == MISMATCHES


def _integers(case: Case, config: RunConfig, operands: Operands) -> Operands:
    """Return the quantized operands as float32, which holds them exactly, with a batch."""
    request = request_of(case, operands, config)
    a, b = (rounded(request, side, x) for side, x in zip(SIDES, operands, strict=True))
    pair = (a.values.to(torch.float32), b.values.to(torch.float32))
    return pair if pair[0].ndim == 3 else (pair[0][None], pair[1][None])


def _identity(operands: Operands) -> PerOperand[Rounding]:
    """Return the rounding that leaves integers as they are."""
    return PerOperand(*(Rounding(100.0, float(max(1, 2 * largest(x)))) for x in operands))


def _is_wrong(case: Case, config: RunConfig, operands: Operands) -> bool:
    """Run a sub-GEMM; one that raises shows no mismatch."""
    try:
        trial = Trial(replace(case, quantize=_identity(operands)), operands, config)
        trial.repeat(StageTimer(operands[0].device))
        right = expected(trial.request, *operands)
    except Exception:
        return False
    return not trial.judge(right).right


def _shrink_axis(
    excerpt: Excerpt, axis: str, shows: Callable[[Excerpt], bool], deadline: float
) -> Excerpt:
    """Take away as many indices of one axis as possible (the algorithm ddmin)."""
    parts = 2
    while len(kept := getattr(excerpt, axis)) > 1:
        size = -(-len(kept) // parts)
        chunks = [kept[i : i + size] for i in range(0, len(kept), size)]
        smaller = [
            *chunks,
            *(tuple(i for i in kept if i not in set(chunk)) for chunk in chunks if parts > 2),
        ]
        for indices in smaller:
            if time.monotonic() > deadline:
                return excerpt
            candidate = replace(excerpt, **{axis: indices})
            if shows(candidate):
                excerpt = candidate
                parts = 2 if len(indices) <= size else max(2, parts - 1)
                break
        else:
            if parts >= len(kept):
                break
            parts = min(len(kept), 2 * parts)
    return excerpt


def _save(case: Case, config: RunConfig, operands: Operands, folder: Path) -> Minimised:
    a, b = (x.cpu() for x in operands)
    batch, n, d, h = (a.shape[0] if a.ndim == 3 else 1, a.shape[-2], a.shape[-1], b.shape[-2])
    words = f"{case.gemm.workload}-{case.gemm.name}-{case.backend.name}"
    key = hashlib.sha256(repr(record_key(case.fields)).encode()).hexdigest()[:8]
    stem = f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', words)}-{key}"
    gemm = Gemm(
        stem, case.gemm.name, case.gemm.op, case.gemm.layer, case.gemm.phase, batch, n, d, h,
        lambda: (a, b), batched=a.ndim == 3,
    )  # fmt: skip
    source = {"mismatch_of": case.gemm.id, "backend": case.backend.name}
    directory = folder / MISMATCHES
    try:
        directory.mkdir(exist_ok=True)
        write_bundle(directory / f"{stem}.safetensors", [gemm], source)
        (directory / f"{stem}.yaml").write_text(
            _replay(case, config, operands, directory / f"{stem}.yaml")
        )
    except OSError as error:
        raise AccelsimError(f"cannot write to {directory}: {error.strerror}") from error
    return Minimised(config=f"{MISMATCHES}/{stem}.yaml", batch=batch, n=n, d=d, h=h)


def _replay(case: Case, config: RunConfig, operands: Operands, path: Path) -> str:
    beta = _identity(operands).map(lambda rounding: rounding.beta)
    chosen = case.unpack.strategy
    strategy = replace(chosen, name=_absolute(chosen.name, config.path.parent))
    unpack: dict[str, Any] = {
        "bits": case.unpack.bits.to_record(),
        "strategy": strategy.to_record(),
        "digits": case.unpack.digits,
        **({} if case.unpack.block is None else {"block": case.unpack.block}),
    }
    content = {
        "name": "mismatch",
        "workloads": [{"bundle": f"{path.stem}.safetensors"}],
        "quantize": {
            "percentile": 100,
            "beta": beta.to_record(),
        },
        "unpack": unpack,
        "backends": [{"name": _absolute(case.choice.target, Path()), **case.choice.options}],
        "k_split": config.k_split,
        "product": case.product,
        "timing": {"repeats": 1, "warmup": 0},
        "output": str(path.absolute().with_name(f"{path.stem}-replay")),
    }
    head = (
        f"# The smallest part found of {case.gemm.id} that {case.backend.name} still gets wrong.\n"
        f"# accelsim run {path} --overwrite\n"
        "# The bundle holds integers. Percentile 100 and a beta of twice the largest magnitude\n"
        "# make the scale 1, so that rounding leaves them as they are.\n"
    )
    return head + yaml.safe_dump(content, sort_keys=False)


def _absolute(name: str, folder: Path) -> str:
    """Make the path in ``path/to/file.py:ClassName`` absolute."""
    reference = split_reference(name)
    if reference is None:
        return name
    path, class_name = reference
    return f"{(folder / path).absolute()}:{class_name}"
