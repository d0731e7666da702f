"""float64 operands are refused with a message wherever they come in; none is cut to float32."""

import re
import textwrap

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

import accelsim
from accelsim.analysis.choosing import rounding_error
from accelsim.analysis.ladder import Ladder
from accelsim.arithmetic.rounding import quantize
from accelsim.cli import main
from accelsim.config import load_config
from accelsim.errors import DataError, InputError
from accelsim.integer_mode.pinned.split import SplitRoute
from accelsim.measure.timing import Untimed
from accelsim.parity.clipping import ClippedGemms
from accelsim.parity.groups import GroupedGemms
from accelsim.routes import SimulatedRoute, open_route
from accelsim.settings import PerKind, Unpacking
from accelsim.types import PerOperand, Request, Rounding, StrategyChoice
from accelsim.unpack import DigitSystem, load_strategy
from gemm_backends import load_backend
from workloads import open_bundle, write_bundle
from workloads.gemm import Gemm
from workloads.profile import measure

WIDE = torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
NARROW = WIDE.float()
REFUSED = (
    r"found torch\.float64; expected float32, float16 or bfloat16; convert it with \.float\(\)"
)


def request(dtype, output):
    how = Rounding(95, 15)
    return Request(
        shape=(1, 5, 8, 5),
        device=torch.device("cpu"),
        dtype=dtype,
        rounding=PerOperand.both(how),
        digits=PerOperand.both(DigitSystem("balanced", 8)),
        output=output,
    )


def gemm(a, b, name="x"):
    return Gemm("w", name, "linear", "", "forward", 1, 5, 8, 5, load=lambda: (a, b))


@pytest.mark.parametrize(("a", "b"), [(WIDE, WIDE), (NARROW, WIDE), (WIDE, NARROW)])
def test_single_products(a, b):
    how = PerOperand.both(Rounding(95, 15))
    with pytest.raises(DataError, match=f"[AB]: {REFUSED}"):
        accelsim.choose(a, b, 1e-2)
    with pytest.raises(DataError, match=f"[AB]: {REFUSED}"):
        rounding_error(a, b, how)
    with pytest.raises(DataError, match=rf"w: tensor 'x/[ab]': {REFUSED}"):
        measure([gemm(a, b)])
    unpacking = Unpacking(PerOperand.both(8), "balanced", StrategyChoice("mix"))
    ladder = Ladder((15,), 95, "tensor", unpacking, load_backend("int64"), 1)
    with pytest.raises(DataError, match=rf"w: tensor 'x/[ab]': {REFUSED}"):
        next(ladder.rungs(gemm(a, b)))


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("x", [WIDE, WIDE[:0], WIDE[:, :0], WIDE.T, torch.zeros_like(WIDE)])
def test_every_shape_of_an_operand(x, granularity):
    """Entries that float32 would hold exactly are no reason to take them: the type is refused."""
    with pytest.raises(DataError, match=f"mine: {REFUSED}"):
        quantize(x, 95, 15, granularity, name="mine")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("output", [None, torch.float32, torch.float64])
@pytest.mark.parametrize("strategy", ["simulate", "mix", "block"])
def test_routes(dtype, output, strategy):
    """The request's own type, and the one of the result, change nothing about that."""
    asked = request(dtype, output)
    if strategy == "simulate":
        route = SimulatedRoute(asked)
    else:
        block = 32 if strategy == "block" else None
        route = open_route(asked, load_strategy(strategy, block), load_backend("int64"))
    with pytest.raises(DataError, match=f"A: {REFUSED}"):
        route.run(WIDE, NARROW, Untimed())
    with pytest.raises(DataError, match=f"B: {REFUSED}"):
        route.prepare("b", WIDE)


def test_a_route_whose_depth_is_cut(monkeypatch):
    monkeypatch.setattr("torch.distributed.get_world_size", lambda group: 2)
    monkeypatch.setattr("torch.distributed.get_rank", lambda group: 0)
    rows = PerOperand.both(Rounding(95, 15, "row"))
    asked = request(torch.float32, torch.float32)
    asked = Request(**{**vars(asked), "rounding": rows})
    with pytest.raises(DataError, match=f"A: {REFUSED}"):
        SplitRoute(asked, SimulatedRoute, None).prepare("a", WIDE)


class Layers(nn.Module):
    """One layer of float32, and one whose operands are float64."""

    def __init__(self):
        super().__init__()
        self.narrow, self.wide = nn.Linear(8, 6), nn.Linear(6, 4).double()

    def forward(self, x):
        return self.wide(self.narrow(x).double())


class Attention(nn.Module):
    """Attention without weights."""

    def forward(self, q, k, v):
        return nn.functional.scaled_dot_product_attention(q, k, v)


MODES = {
    "plain": lambda model, **options: accelsim.integer_gemms(model, 15, **options),
    "backend": lambda model, **o: accelsim.integer_gemms(model, 15, backend="int64", **o),
    "pass": lambda model, **o: accelsim.integer_gemms(model, 15, nonfinite="pass", **o),
    "checked": lambda model, **o: accelsim.integer_gemms(model, 15, check=True, **o),
    "invariant": lambda model, **o: accelsim.invariant(model, 15, **o),
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_integer_mode(mode):
    model, x = Layers(), NARROW
    with pytest.raises(DataError, match=rf"wide \(forward\): \w+: {REFUSED}"):  # noqa: SIM117
        with mode(model):
            model(x)
    with mode(model, skip=["wide"]) as found:
        model(x)
    assert found.tally.summary()["gemms"] == 1
    q = WIDE[None, None]
    with pytest.raises(DataError, match=rf"matmul \(forward\): \w+: {REFUSED}"):  # noqa: SIM117
        with mode(Attention()):
            Attention()(q, q, q)


class WideGradient(torch.autograd.Function):
    """A linear layer whose gradient is computed in float64."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(weight)
        return x @ weight.T

    @staticmethod
    def backward(ctx, gradient):
        (weight,) = ctx.saved_tensors
        return (gradient.double() @ weight.double()).float(), None


class OwnGradient(nn.Linear):
    def forward(self, x):
        return WideGradient.apply(x, self.weight)


def test_gradients_of_float64():
    model = OwnGradient(8, 6)
    x = NARROW.clone().requires_grad_()
    with pytest.raises(DataError, match=rf"\(grad_input\): \w+: {REFUSED}"):  # noqa: SIM117
        with accelsim.integer_gemms(model, 15):
            model(x).sum().backward()


@pytest.mark.parametrize(
    "treatment",
    [
        lambda model: GroupedGemms(model, 4, 8),
        lambda model: ClippedGemms(model, PerKind.all(95.0)),
    ],
)
def test_treatments_beside_integers(treatment):
    model = Layers()
    with pytest.raises(DataError, match=rf"wide \([AB]\): {REFUSED}"), treatment(model):
        model(NARROW)


@pytest.mark.parametrize("training", [False, True])
def test_converted_models(training):
    config = accelsim.IntegerConfig(beta=15, training=training)
    with pytest.raises(InputError, match=r"0: its weight is torch\.float64; expected float32"):
        accelsim.quantize_(nn.Sequential(nn.Linear(8, 4).double()), config)
    model = Layers()
    left = accelsim.quantize_(model, config).left
    assert left == {"wide": "its weight is torch.float64; expected float32, float16 or bfloat16"}
    with pytest.raises(DataError, match=f"narrow: activations: {REFUSED}"):
        model(WIDE)
    model.double()
    with pytest.raises(DataError, match=f"narrow: activations: {REFUSED}"):
        model(WIDE)


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.int64, np.uint8, np.bool_])
def test_bundles(tmp_path, dtype):
    path = tmp_path / "x.safetensors"
    values = WIDE.numpy().astype(dtype)
    safetensors.numpy.save_file({"x/a": values, "x/b": values}, path)
    with pytest.raises(InputError, match=r"tensor 'x/a': found type \w+; operands are F32, F16"):
        open_bundle(path)
    again = tmp_path / "again.safetensors"
    with pytest.raises(InputError, match=r"tensor 'x/a': found torch\.\w+; operands are float32"):
        write_bundle(again, [gemm(*[torch.from_numpy(values)] * 2)], {})
    assert not again.exists()


def test_configs(tmp_path):
    path = tmp_path / "run.yaml"
    for entry in ("{synthetic: {n: 2, d: 2, h: 2, dtype: float64}}", "{bundle: x, dtype: float64}"):
        path.write_text(f"workloads: [{entry}]\nunpack: {{bits: 8}}\nbackends: int64\n")
        with pytest.raises(InputError, match=r"dtype: unknown value 'float64'.*float32"):
            load_config(path)


SOURCE = """
    import numpy as np
    import torch
    from pydantic import Field
    from typing import ClassVar
    from workloads import Gemm, WorkloadSource

    X = torch.linspace(-3, 3, 40, dtype=torch.float64).reshape(5, 8)
    OPERANDS = {
        "float64": lambda: (X, X),
        "mixed": lambda: (X.float(), X),
        "integers": lambda: (X.float(), X.long()),
        "numpy": lambda: (X.numpy(), X.numpy()),
        "numpy32": lambda: (X.float().numpy(), X.float().numpy()),
        "shape": lambda: (X.float(), X.float()[1:]),
        "one": lambda: X.float(),
        "raises": lambda: X.no_such_name,
    }

    class Mine(WorkloadSource):
        key: ClassVar[str] = "mine"
        mine: str = Field(description="a name")

        def open(self, folder):
            place = "linear", "", "forward", 1, 5, 8, 5
            return [Gemm("w", self.mine, *place, load=OPERANDS[self.mine])]
"""
SAID = {
    "float64": f"w: tensor 'float64/a': {REFUSED}",
    "mixed": f"w: tensor 'mixed/b': {REFUSED}",
    "integers": r"w: tensor 'integers/b': found torch\.int64; expected float32, float16 or bfloat",
    "numpy": r"w: tensor 'numpy/a': found ndarray; expected a tensor of PyTorch",
    "numpy32": r"w: tensor 'numpy32/a': found ndarray; expected a tensor of PyTorch",
    "shape": r"w: tensor 'shape/b': found shape \[4, 8\]; expected \[5, 8\]",
    "one": r"w: tensors 'one/a' and 'one/b': cannot be loaded: ValueError: ",
    "raises": r"w: tensors 'raises/a' and 'raises/b': cannot be loaded: AttributeError: ",
}


@pytest.mark.parametrize("kind", SAID)
def test_workloads_of_plugins(tmp_path, monkeypatch, capsys, kind):
    """Operands that are not what the GEMM declares end the command before its first record."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(textwrap.dedent(SOURCE))
    (tmp_path / "run.yaml").write_text(
        f"workloads: [{{source: mine.py:Mine, mine: {kind}}}]\n"
        "unpack: {bits: 8}\nbackends: int64\ntiming: {repeats: 1, warmup: 0}\noutput: out\n"
    )
    for command in (["run", "run.yaml"], ["ladder", "run.yaml"]):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert re.search(SAID[kind], error)
    assert not list(tmp_path.rglob("records.jsonl"))
