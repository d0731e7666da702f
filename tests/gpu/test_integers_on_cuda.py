"""Integer GEMMs on a GPU: the scale is the CPU's, and Tensor Cores give the simulation's bits."""

import pytest
import torch
from torch.optim import AdamW

from accelsim import integer_gemms
from accelsim.arithmetic.rounding import quantize
from accelsim.errors import InputError
from workloads.models.text_tasks import NextTokenTask


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (4, 256, 256)])
@pytest.mark.parametrize("percentile", [50, 95, 100])
@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_the_integers_are_those_of_the_cpu(shape, percentile, granularity):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) ** 3
    there, here = (quantize(y, percentile, 31, granularity) for y in (x.cuda(), x))
    assert torch.equal(there.scale.cpu(), here.scale)
    assert torch.equal(there.values.cpu(), here.values)


def steps(**options):
    """The losses of three training steps on integers, and the weights after them."""
    task = NextTokenTask(batch=4, context=32, width=64, layers=2, heads=4)
    torch.manual_seed(0)
    model = task.model().cuda()
    optimizer = AdamW(model.parameters(), lr=1e-3)
    losses = []
    for number in range(3):
        optimizer.zero_grad()
        with integer_gemms(model, beta=31, **options) as mode:
            loss = task.loss(model, task.batch(number, seed=0))
            loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, torch.cat([x.detach().flatten() for x in model.parameters()]), mode.tally.total


@pytest.mark.parametrize("bits", [4, 8])
def test_training_on_tensor_cores_is_that_of_the_simulation(bits):
    losses, weights, _ = steps(exact="simulate")
    found, found_weights, total = steps(backend="cuda-int8", bits=bits, check=True)
    assert found == losses
    assert torch.equal(found_weights, weights)
    assert total.checked == total.gemms > 0
    assert (total.inexact, total.overflows) == (0, 0)
    assert losses[-1] < losses[0]


def test_a_cuda_graph_is_refused_with_the_way_out():
    model = torch.nn.Linear(64, 64).cuda()
    x = torch.randn(8, 64, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), integer_gemms(model, beta=31):
        model(x)
        with pytest.raises(InputError, match="quantize_"), torch.cuda.graph(graph):
            model(x)
        model(x)
