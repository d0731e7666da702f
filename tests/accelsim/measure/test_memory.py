"""What is said when a GPU's memory is not enough."""

import pytest
import torch

from accelsim.measure.memory import GIB, describe_out_of_memory
from accelsim.measure.timing import StageTimer

SAID = "CUDA out of memory. Tried to allocate 30.00 GiB. GPU 0 has a total capacity of 80.00 GiB"


@pytest.fixture(autouse=True)
def full_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 70 * GIB)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (10 * GIB, 80 * GIB))


def test_it_names_the_stage_and_what_would_fit():
    timer = StageTimer("cpu")
    with pytest.raises(torch.OutOfMemoryError) as caught, timer.repeat(), timer.stage("gemm"):
        raise torch.OutOfMemoryError(SAID)
    said = describe_out_of_memory(caught.value)
    assert "in stage 'gemm'" in said
    assert "30.00 GiB were requested" in said
    assert "70.00 GiB of 80.00 GiB were in use" in said
    assert "80% of the rows" in said


def test_outside_the_stages_and_without_numbers():
    said = describe_out_of_memory(torch.OutOfMemoryError("out of memory"))
    assert "outside the timed stages" in said
    assert "50% of the rows" in said
