"""Models and operands of the tests of converted models."""

import copy

import torch
from torch import nn

import accelsim

BETA = {"weights": 127, "activations": 63, "gradients": 1023, "default": 31}


def mlp(dtype=torch.float32, bias=True, d=33):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(d, 24, bias=bias), nn.ReLU(), nn.Linear(24, 5))
    with torch.no_grad():
        model[0].weight[3] *= 40  # an output channel with entries of several digits
        model[0].weight[:, 2] *= 25
    return model.to(dtype)


def rows(*shape, dtype=torch.float32):
    torch.manual_seed(1)
    x = torch.randn(shape)
    x[..., 1] *= 50
    return x.to(dtype)


def converted(model, **settings):
    twin = copy.deepcopy(model)
    accelsim.quantize_(twin, accelsim.IntegerConfig(**{"beta": BETA, **settings}))
    return twin


def reference(model, run, **settings):
    """Return what `integer_gemms` computes in the linear layers of a model."""
    mode = accelsim.integer_gemms(model, **{"beta": BETA, "ops": ("linear",), **settings})
    with mode:
        return run(model)
