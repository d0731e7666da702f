"""Linear layers that ran before run as they would if they had not: integers, names, counts."""

import threading

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import accelsim
from accelsim.errors import DataError, InputError, UnsupportedError
from accelsim.integer_mode import layers, mode, routes
from accelsim.integer_mode.weights import Weights
from accelsim.routes import SimulatedRoute
from workloads.tracing.lineage import Lineage

BETAS = {"weights": 255, "activations": 31, "attention": 63, "gradients": 127}


class Model(nn.Module):
    """Layers with and without a bias, one whose input is a weight, one of two names."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(12, 24), nn.Linear(24, 12, bias=False)
        self.queries = nn.Parameter(torch.randn(3, 12))
        self.project = nn.Linear(12, 12)
        self.again = nn.ModuleList([self.down])
        self.tied = nn.Linear(24, 12, bias=False)
        self.tied.weight = self.down.weight

    def forward(self, x):
        x = self.down(torch.relu(self.up(x))) + self.tied(self.up(x))
        return x @ self.project(self.queries).mT


def model():
    torch.manual_seed(0)
    return Model()


def inputs(*shape, seed=1):
    return torch.randn(*(shape or (5, 12)), generator=torch.Generator().manual_seed(seed))


def several_shapes(m):
    return [m(inputs(*shape)) for shape in ((5, 12), (2, 3, 12), (1, 12), (5, 12), (12,), (0, 12))]


def other_strides(m):
    return [m(inputs(5, 12)), m(inputs(12, 5).mT), m(inputs(5, 24)[:, ::2])]


def other_types(m):
    found = [m(inputs()) for _ in range(2)]
    m.double().float()
    found += [m(inputs()) for _ in range(2)]
    m.to(torch.bfloat16)
    return [*found, *(m(inputs().bfloat16()) for _ in range(2))]


def written(write):
    def run(m):
        found = []
        for _ in range(3):
            found += [m(inputs()), m(inputs())]
            write(m)
        return found

    return run


def by_operator(m):
    m.down.weight.mul_(1.5)


def by_numpy(m):
    m.down.weight.detach().numpy()[:] *= 1.5


def by_another_view(m):
    m.down.weight.data.view(-1)[3:7].fill_(9)


def in_a_thread(m):
    thread = threading.Thread(target=lambda: m.down.weight.data.mul_(1.5))
    thread.start()
    thread.join()


def by_data(m):
    m.down.weight.data = m.down.weight.data * 1.5


def by_data_of_the_same_memory(m):
    square = m.project.weight
    square.data = square.data.mT


def by_assignment(m):
    m.down.weight = nn.Parameter(m.down.weight * 1.5)


def by_loading(m):
    m.load_state_dict({name: 1.5 * x for name, x in m.state_dict().items()})


def with_gradients_between(m):
    found = [m(inputs()), m(inputs())]
    with torch.enable_grad():
        m(inputs()).sum().backward()
    return [*found, m(inputs()), m(inputs()), m.up.weight.grad]


def checkpointed(m):
    found = [m(inputs()), m(inputs())]
    with torch.enable_grad():
        for _ in range(2):
            x = inputs().requires_grad_()
            checkpoint(m, x, use_reentrant=True).sum().backward()
            found.append(x.grad)
    return [*found, m.up.weight.grad]


class ByHand(torch.autograd.Function):
    """Runs a layer without gradients, and multiplies for them itself."""

    @staticmethod
    def forward(ctx, x, weight, layer):
        ctx.save_for_backward(x, weight)
        return layer(x)

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        return gradient @ weight, gradient.mT @ x, None


def gradients_by_hand(m):
    found = [m(inputs()), m(inputs())]
    with torch.enable_grad():
        for _ in range(2):
            x = inputs().requires_grad_()
            ByHand.apply(x, m.down.weight, lambda y: m.down(m.up(y))).sum()
            y = inputs(5, 24).requires_grad_()
            ByHand.apply(y, m.down.weight, m.down).sum().backward()
            found.append(y.grad)
    return [*found, m.down.weight.grad]


def hooks(m):
    found = [m(inputs()), m(inputs())]
    handles = [
        m.up.register_forward_hook(lambda layer, args, out: out + args[0] @ layer.weight.mT),
        m.down.register_forward_pre_hook(lambda layer, args: (2 * args[0],)),
    ]
    found += [m(inputs()), m(inputs())]
    for handle in handles:
        handle.remove()
    return [*found, m(inputs())]


def weights_as_inputs(m):
    return [m(inputs()), m(inputs()), m.up(m.queries), m.up(m.queries * 2), m(m.queries)]


def functions(m):
    found = [m(inputs()), m(inputs())]
    found.append(nn.functional.linear(inputs(), m.up.weight, m.up.bias))
    return [
        *found,
        m.up.forward(inputs()),
        torch.func.functional_call(m, dict(_twice(m)), inputs()),
    ]


def _twice(m):
    return [(name, 2 * x.detach()) for name, x in m.named_parameters()]


def other_modes(m):
    found = [m(inputs()), m(inputs())]
    with torch.inference_mode():
        found.append(m(inputs()).clone())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found += [m(inputs()), m(inputs())]
    with accelsim.integer_gemms(m, beta=7, gemms=["up"]) as inner:
        found += [m(inputs()), m(inputs())]
    return [*found, m(inputs()), inner.tally.total.gemms]


CASES = {
    case.__name__: case
    for case in (
        several_shapes, other_strides, other_types, with_gradients_between, checkpointed,
        gradients_by_hand, hooks, weights_as_inputs, functions, other_modes,
    )
} | {
    f"written {write.__name__}": written(write)
    for write in (
        by_operator, by_numpy, by_another_view, in_a_thread, by_data, by_data_of_the_same_memory,
        by_assignment, by_loading,
    )
}  # fmt: skip


def ran(case, patched, **options):
    with pytest.MonkeyPatch.context() as patch:
        if patched:
            patch.setattr(mode.IntegerGemms, "linear", lambda *args: None)
        m = model()
        with torch.no_grad(), accelsim.integer_gemms(m, BETAS, **options) as context:
            found = CASES[case](m)
        names = [(site.name, site.n) for sites in context._placing.sites._placed.values()
                 for site in sites]  # fmt: skip
        return found, context.tally.by_place, context.left, context.not_chosen, names


def same(first, second):
    values, *others = zip(first, second, strict=True)
    return all(
        torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
        for x, y in zip(*values, strict=True)
    ) and all(x == y for x, y in others)


WAYS = {"simulated": {}, "int64": {"backend": "int64"}, "checked": {"check": True}}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_a_layer_runs_as_if_for_the_first_time(case, way):
    assert same(ran(case, False, **WAYS[way]), ran(case, True, **WAYS[way]))


def test_layers_are_looked_up_once(monkeypatch):
    seen = []
    monkeypatch.setattr(mode, "layer_of", lambda *args: seen.append(args[0].name) or found(*args))
    found, m = layers.layer_of, model()
    with torch.no_grad(), accelsim.integer_gemms(m, BETAS) as context:
        for _ in range(3):
            m(inputs())
    assert seen == ["up", "down", "tied"]
    assert context.tally.total.gemms == 3 * 6


BROKEN = {
    "no write is noticed": ((Weights, "is_unchanged"), "written by_operator"),
    "any tensors are taken": ((layers.LinearLayer, "takes"), "several_shapes"),
    "no origin is looked up": ((Lineage, "knows"), "weights_as_inputs"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_noticed_is_found(name, monkeypatch):
    """Broken on purpose: a layer runs as before though something is different."""
    (place, attribute), case = BROKEN[name]
    expected = ran(case, True)
    monkeypatch.setattr(place, attribute, lambda *args: attribute != "knows")
    assert not same(ran(case, False), expected)


def test_nan_is_reported_with_its_layer():
    m, x = model(), inputs()
    with torch.no_grad(), accelsim.integer_gemms(m, BETAS):
        m(x)
        m(x)
        x[2, 3] = torch.nan
        with pytest.raises(DataError, match=r"^up#5 \(forward\): .*nan at \[2, 3\]"):
            m(x)


@pytest.fixture
def overlapping(monkeypatch):
    """Routes whose host does something while it waits; the runs of each product are counted."""
    runs = []

    class Overlapping(SimulatedRoute):
        overlaps = True

        def run(self, a, b, timer, meanwhile=lambda: None):
            runs.append(a.shape)
            result = super().run(a, b, timer)
            meanwhile()
            return result

    monkeypatch.setattr(routes, "SimulatedRoute", Overlapping)
    return runs


def test_a_route_that_overlaps_gives_the_same(overlapping):
    layer, x = nn.Linear(8, 4), inputs(3, 8)
    with torch.no_grad():
        with accelsim.integer_gemms(layer, beta=31, check=True) as found:
            outs = [layer(x) for _ in range(4)]
        with accelsim.integer_gemms(layer, beta=31, exact="simulate") as other:
            right = layer(x)
    assert all(torch.equal(out, right) for out in outs)
    assert (found.tally.total.gemms, found.tally.total.inexact) == (4, 0)
    assert len(overlapping) == 5
    assert other.tally.total.gemms == 1


@pytest.mark.parametrize("written", ["in place", "replaced"])
def test_a_weight_that_was_written_to_costs_one_run_in_vain(overlapping, written):
    layer, x = nn.Linear(8, 4), inputs(3, 8)
    with torch.no_grad(), accelsim.integer_gemms(layer, beta=31, check=True) as mode:
        for _ in range(3):
            layer(x)
        before = len(overlapping)
        if written == "in place":
            layer.weight.neg_()
        else:
            layer.weight.data = -layer.weight.data
        for _ in range(5):
            layer(x)
    assert len(overlapping) - before == 5 + 1
    assert (mode.tally.total.gemms, mode.tally.total.inexact) == (8, 0)


def test_what_a_repeated_layer_is_refused_for_names_it(monkeypatch):
    layer, x = nn.Linear(8, 4), inputs(3, 8)
    with torch.no_grad(), accelsim.integer_gemms(nn.Sequential(layer), beta=31):
        layer(x)
        monkeypatch.setattr(SimulatedRoute, "run", refusing)
        with pytest.raises(InputError, match=r"0 \(forward\): no such sizes"):
            layer(x)


def refusing(self, a, b, timer):
    raise UnsupportedError("no such sizes")
