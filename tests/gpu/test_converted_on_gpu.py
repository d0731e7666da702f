"""Converted models on a GPU: the integers of the CPU, compiled and in CUDA graphs."""

import pytest
import torch
from torch import nn

import accelsim
from accelsim.errors import DataError
from accelsim.integer_mode.converted import products
from accelsim.integer_mode.converted.config import parsed
from accelsim.routes import expected, wrong_floats
from accelsim.types import PerOperand, Request

pytestmark = pytest.mark.gpu


def rows(n, d, seed, heavy=30):
    torch.manual_seed(seed)
    x = torch.randn(n, d)
    x[:, :4] *= heavy
    return x


def model(d=512, dtype=torch.bfloat16):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(d, 384), nn.ReLU(), nn.Linear(384, 136)).to(dtype).cuda()


def convert(layers, granularity, beta=63):
    config = accelsim.IntegerConfig({"weights": 127, "default": beta}, granularity=granularity)
    floats = [layer.weight.detach() for layer in layers if isinstance(layer, nn.Linear)]
    accelsim.quantize_(layers, config)
    exact = [layer for layer in layers if hasattr(layer, "settings")]
    return {id(layer.weight): x for layer, x in zip(exact, floats, strict=True)}


@pytest.fixture
def judged(monkeypatch):
    """Compare every product with the oracle's."""
    forward, seen, floats = products.forward, [], {}

    def judging(x, weight, settings):
        result = forward(x, weight, settings)
        if torch.cuda.is_current_stream_capturing():
            return result
        config = parsed(settings)
        request = Request(
            (1, None, x.shape[-1], weight.h),
            x.device,
            x.dtype,
            PerOperand(config.rounding("activations"), config.rounding("weights")),
            config.systems,
        )
        right = expected(request, x.reshape(-1, x.shape[-1]), floats[id(weight.digits)])
        seen.append(wrong_floats(result.reshape(-1, weight.h), right))
        return result

    monkeypatch.setattr(products, "forward", judging)
    return floats, seen


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("granularity", ["row", "tensor"])
def test_products_are_the_oracles(judged, granularity, dtype):
    layers = model(dtype=dtype)
    floats, seen = judged
    floats |= convert(layers, granularity)
    for n in (1, 3, 16, 40, 64, 200, 1000):
        for beta_heavy in (1, 30, 400):
            layers(rows(n, 512, n, beta_heavy).to("cuda", dtype))
    accelsim.check(layers)
    assert len(seen) == 42
    assert not any(seen)


@pytest.mark.parametrize("n", [1, 16, 64, 500])
def test_a_graph_takes_new_values(judged, n):
    layers = model()
    floats, seen = judged
    floats |= convert(layers, "row")
    compiled = torch.compile(layers, fullgraph=True)
    x = rows(n, 512, 0).to("cuda", torch.bfloat16)
    stream = torch.cuda.Stream()
    with torch.no_grad(), torch.cuda.stream(stream):
        for _ in range(2):
            compiled(x)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph, stream=stream):
        y = compiled(x)
    for seed in range(4):
        x.copy_(rows(n, 512, seed, 30 + 100 * seed))
        graph.replay()
        torch.cuda.synchronize()
        with torch.no_grad():
            assert torch.equal(y, compiled(x))
    assert not any(seen)
    accelsim.check(layers)
    x[0, 3] = torch.nan
    graph.replay()
    torch.cuda.synchronize()
    assert y[0].isnan().all()
    with pytest.raises(DataError):
        accelsim.check(layers)


def test_memory_holds_no_floats():
    layers = model()
    before = sum(x.nbytes for x in layers.parameters())
    convert(layers, "row")
    assert sum(x.nbytes for x in [*layers.parameters(), *layers.buffers()]) < 0.6 * before
