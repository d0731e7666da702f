"""``accelsim gpu``: time exact GEMMs on an NVIDIA GPU, stage by stage and end to end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import click

from accelsim.errors import AccelsimError, InputError, NothingCouldRunError

Record = dict[str, Any]
Shape = tuple[int, int, int]


@click.command()
@click.option(
    "--shape",
    "shapes",
    type=(click.IntRange(min=1),) * 3,
    multiple=True,
    metavar="N H D",
    default=((8192, 8192, 8192), (4096, 11008, 4096)),
    show_default=True,
    help="A GEMM of [N, D] by [H, D]; may be repeated.",
)
@click.option(
    "--operands",
    multiple=True,
    default=("channels", "scattered", "plain"),
    show_default=True,
    help="Kind of operands, or BUNDLE.safetensors:GEMM, tiled to the shape; may be repeated.",
)
@click.option(
    "--beta",
    "betas",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    default=(31.0, 127.0),
    show_default=True,
)
@click.option(
    "--percentile",
    type=click.FloatRange(min=0, max=100, min_open=True),
    default=95.0,
    show_default=True,
)
@click.option("--repeats", type=click.IntRange(min=1), default=30, show_default=True)
@click.option(
    "--only",
    type=click.Choice(["gemm", "front-end", "pipeline"]),
    multiple=True,
    help="Measure this alone; may be repeated.",
)
@click.option("--torchao", is_flag=True, help="Time torchao's int8 dynamic quantization too.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write records.jsonl, run.json and table.md to this folder.",
)
def command(
    shapes: tuple[Shape, ...],
    operands: tuple[str, ...],
    betas: tuple[float, ...],
    percentile: float,
    repeats: int,
    only: tuple[str, ...],
    torchao: bool,
    output: Path | None,
) -> int:
    """Time exact GEMMs on this NVIDIA GPU, beside what a user would run instead.

    Three things are measured: the products alone, on every backend of the GPU; the front end,
    kernel by kernel; and the whole pipeline, bfloat16 in and out and exact integers inside (b = 8),
    as one CUDA graph. Repeats are interleaved, the L2 cache is flushed before each, and every
    integer of the timed runs is compared with the oracle's.
    """
    import torch

    from accelsim.gpu.operands import find_operands
    from accelsim.gpu.tables import tables

    for kind in operands:
        find_operands(kind)
    if not torch.cuda.is_available():
        raise NothingCouldRunError("there is no CUDA device")
    wanted = only or ("gemm", "front-end", "pipeline")
    folder = _Folder(output)
    records: list[Record] = []
    measured = _measure(shapes, operands, betas, percentile, repeats, wanted, torchao)
    for record in measured:
        records.append(record)
        folder.append(record)
        click.echo(_line(record), err=True)
    text = tables(records)
    folder.finish(text)
    click.echo(text, nl=False)
    return int(any(record["status"] not in ("ok", "unsupported") for record in records))


def _measure(
    shapes: tuple[Shape, ...],
    operands: tuple[str, ...],
    betas: tuple[float, ...],
    percentile: float,
    repeats: int,
    wanted: tuple[str, ...],
    torchao: bool,
) -> Iterator[Record]:
    import torch

    from accelsim.gpu.benchmark import benchmark
    from accelsim.gpu.frontend import time_front_end
    from accelsim.gpu.gemms import time_gemms
    from gemm_backends.survey import survey

    device = torch.device("cuda")
    if "gemm" in wanted:
        backends = [
            found.backend
            for found in survey()
            if found.backend and found.availability and found.availability.available
            if found.availability.device == "cuda"
        ]
        for n, h, d in shapes:
            facts = {"measured": "gemm", "n": n, "h": h, "d": d}
            yield from _kept(facts, partial(time_gemms, (n, h, d), backends, repeats, device))
    if "front-end" in wanted:
        size = max(d for _, _, d in shapes)
        for measure in time_front_end(size, repeats, device):
            yield from _kept({"measured": "front-end", "size": size}, measure)
    if "pipeline" in wanted:
        for (n, h, d), kind, beta, prepared in product(shapes, operands, betas, (True, False)):
            facts = {
                "measured": "pipeline", "n": n, "h": h, "d": d, "operands": kind,
                "percentile": percentile, "beta": beta, "prepared": ["b"] if prepared else [],
            }  # fmt: skip
            beside = torchao and prepared
            yield from _kept(
                facts,
                partial(
                    benchmark, (n, h, d), kind, percentile, beta, prepared, repeats, beside, device
                ),
            )


def _kept(facts: Record, measure: Callable[[], Record]) -> Iterator[Record]:
    """Measure one thing; what goes wrong is a record with the reason, and the rest goes on."""
    import torch

    from accelsim.measure.memory import describe_out_of_memory

    try:
        found = measure()
        status = "ok" if found.pop("all_exact") else "inexact"
        yield {**facts, "status": status, "reason": "", **found}
    except InputError as error:
        yield {**facts, "status": "unsupported", "reason": str(error)}
    except torch.OutOfMemoryError as error:
        yield {**facts, "status": "error", "reason": describe_out_of_memory(error)}
    except AccelsimError as error:
        yield {**facts, "status": "error", "reason": str(error)}
    torch.cuda.empty_cache()


class _Folder:
    """Where results go: every record as soon as it is known, then the machine and the table."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        if path is None:
            return
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise InputError(f"{path} is not empty; choose another folder with --output")
            self._start = datetime.now(UTC).isoformat(timespec="seconds")
        except OSError as error:
            raise InputError(f"cannot write to {path}: {error.strerror}") from error

    def append(self, record: Record) -> None:
        if self._path:
            with (self._path / "records.jsonl").open("a") as file:
                file.write(json.dumps(record) + "\n")

    def finish(self, table: str) -> None:
        from accelsim.measure.machine import environment, git_state
        from accelsim.measure.timing import clock_source

        if self._path is None:
            return
        facts = {
            "start": self._start,
            "end": datetime.now(UTC).isoformat(timespec="seconds"),
            "git": git_state(),
            "clock": clock_source("cuda"),
            "machine": environment(),
        }
        (self._path / "run.json").write_text(json.dumps(facts, indent=2) + "\n")
        (self._path / "table.md").write_text(table)


def _line(record: Record) -> str:
    keys = ("measured", "n", "h", "d", "size", "operands", "beta", "prepared", "stage", "bits")
    said = " ".join(f"{key}={record[key]}" for key in keys if key in record)
    reason = f" ({record['reason']})" if record["reason"] else ""
    return f"{said}: {record['status']}{reason}"
