"""Run prompts in several processes, over which K of every product with a weight is cut."""

from __future__ import annotations

import tempfile
import traceback
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from accelsim.errors import UnsupportedError
from accelsim.integer_mode import invariant
from accelsim.parity.invariance.first_operator import Recorder
from accelsim.parity.invariance.prompts import Session
from accelsim.parity.invariance.ways import alone


@dataclass(frozen=True)
class Running:
    """What the processes run: every prompt by itself.

    Parameters
    ----------
    model : nn.Module
        A causal language model of Hugging Face.
    prompts : sequence of Tensor
        int64 ``[tokens]`` each.
    options : mapping
        Arguments of `accelsim.invariant`.
    device : {"cpu", "cuda"}
        Where each process runs; on GPUs each has one of its own.
    """

    model: nn.Module
    prompts: Sequence[Tensor]
    options: Mapping[str, Any]
    device: str = "cpu"

    def over_processes(
        self, count: int, watcher: Recorder | None = None
    ) -> tuple[dict[int, Tensor], Mapping[str, int]]:
        """Return logits by prompt, and how often what is not pinned was called.

        Raises
        ------
        UnsupportedError
            If a process fails, or the processes disagree.
        """
        if not dist.is_available():
            raise UnsupportedError("this PyTorch has no torch.distributed")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            torch.save(self, folder / "running.pt")
            prompt = None if watcher is None else watcher.prompt
            context = get_context("spawn")
            workers = [
                context.Process(target=_work, args=(rank, count, folder, prompt))
                for rank in range(count)
            ]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            for rank in range(count):
                failed = folder / f"{rank}.txt"
                if failed.exists():
                    raise UnsupportedError(f"process {rank} failed: {failed.read_text()}")
            done = [torch.load(folder / f"{rank}.pt") for rank in range(count)]
        logits, unpinned, outputs = done[0]
        for other, _, _ in done[1:]:
            if any(not torch.equal(logits[i], other[i]) for i in logits):
                raise UnsupportedError("the processes disagree about the logits")
        if watcher is not None:
            watcher.outputs = defaultdict(list, outputs)
        return logits, unpinned


def _work(rank: int, count: int, folder: Path, prompt: int | None) -> None:
    """Run a process's part and leave its results, or why it failed, in the folder."""
    try:
        # One thread each: the processes share the cores.
        torch.set_num_threads(1)
        # Written by the process that started this one.
        running: Running = torch.load(folder / "running.pt", weights_only=False)
        kind = "gloo"
        if running.device == "cuda":
            kind = "nccl"
            torch.cuda.set_device(rank)
            running.model.to("cuda")
        where = f"file://{folder / 'meeting'}"
        dist.init_process_group(kind, init_method=where, rank=rank, world_size=count)
        watcher = None if prompt is None else Recorder(prompt)
        followed = nullcontext() if watcher is None else watcher.follow(running.model)
        mode = invariant(running.model, **running.options, group=dist.group.WORLD)
        with torch.no_grad(), mode, followed:
            logits = alone(Session(running.model, watcher), running.prompts)
        outputs = {} if watcher is None else dict(watcher.outputs)
        torch.save((logits, mode.tally.summary()["unpinned"], outputs), folder / f"{rank}.pt")
    except Exception:
        (folder / f"{rank}.txt").write_text(traceback.format_exc(limit=-1).strip())
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
