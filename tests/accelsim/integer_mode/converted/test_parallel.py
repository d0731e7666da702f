"""Converted models in data-parallel training: the weights of a single process, bit for bit."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from converted_models import converted, mlp, rows
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

STEPS = 2


def train(rank, kind, file):
    dist.init_process_group("gloo", f"file://{file}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    settings = {"training": True, "granularity": "row"}
    model, alone = converted(mlp(), **settings), converted(mlp(), **settings)
    if kind == "ddp":
        parallel = DistributedDataParallel(model)
    else:
        mesh = init_device_mesh("cpu", (2,))
        for layer in (model[0], model[2]):
            fully_shard(layer, mesh=mesh)
        parallel = fully_shard(model, mesh=mesh)
    halves = (rows(8, 33) / 50).split(4)
    optimizers = [torch.optim.SGD(each.parameters(), 1e-2) for each in (parallel, alone)]
    for _ in range(STEPS):
        for optimizer in optimizers:
            optimizer.zero_grad()
        (parallel(halves[rank]) ** 2).mean().backward()
        for half in halves:
            ((alone(half) ** 2).mean() / 2).backward()
        for optimizer in optimizers:
            optimizer.step()
    for found, right in zip(parallel.parameters(), alone.parameters(), strict=True):
        whole = found.full_tensor() if hasattr(found, "full_tensor") else found
        assert torch.equal(whole, right)
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not dist.is_available(), reason="torch is built without distributed")
@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_two_processes_train_as_one(kind, tmp_path, monkeypatch):
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", here + os.pathsep + os.environ.get("PYTHONPATH", ""))
    torch.multiprocessing.spawn(train, (kind, tmp_path / "meeting"), nprocs=2)
