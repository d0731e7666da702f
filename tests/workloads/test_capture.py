"""What a capture writes is what the model multiplied."""

import resource
import subprocess
import sys
import textwrap

import pytest
import torch
from small_models import ids, language, loss
from torch import nn

import accelsim
from accelsim.errors import DataError, InputError
from workloads import open_bundle
from workloads.capture import Capture, Sampling


def capture(path, model=None, backward=True, **options):
    model = language() if model is None else model
    with Capture(model, path, **options) as done:
        out = model(ids())
        if backward:
            loss(out, ids()).backward()
    return done


def loaded(path):
    return {gemm.name: gemm for gemm in open_bundle(path).gemms}


def test_products_are_the_models_own(tmp_path):
    model, outputs = language(), {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(
                lambda module, args, out, name=name: outputs.update({name: (module, out)})
            )
    capture(tmp_path / "x.safetensors", model)
    gemms = loaded(tmp_path / "x.safetensors")
    assert len(outputs) == 13
    for name, (module, out) in outputs.items():
        a, b = (x.double() for x in gemms[name].load())
        bias = 0 if module.bias is None else module.bias.double()
        product = (a @ b.T + bias).reshape(out.shape).float()
        torch.testing.assert_close(product, out, rtol=1e-5, atol=1e-6)
        if name != "head":
            a, b = (x.double() for x in gemms[f"{name}.dw"].load())
            gradient = module.weight.grad
            torch.testing.assert_close((a @ b.T).float(), gradient, rtol=1e-4, atol=1e-6)


def test_metadata(tmp_path):
    capture(tmp_path / "x.safetensors", source={"model": "mine"})
    bundle = open_bundle(tmp_path / "x.safetensors")
    assert bundle.source == {"model": "mine"}
    gemms = {gemm.name: gemm for gemm in bundle.gemms}
    found = gemms["blocks.1.attention.qk.dq"]
    assert (found.op, found.phase, found.layer) == ("qk", "grad_input", "blocks.1.attention")
    assert (found.batch, found.n, found.d, found.h) == (8, 7, 7, 3)
    found = gemms["blocks.0.up.dx"]
    assert (found.op, found.phase, found.layer) == ("linear", "grad_input", "blocks.0.up")
    assert (found.batched, found.n, found.d, found.h) == (False, 14, 24, 12)


def test_the_same_run_gives_the_same_bytes(tmp_path):
    paths = [tmp_path / name / "x.safetensors" for name in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        capture(path, language())
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_without_a_path_there_are_shapes_alone(tmp_path):
    plan = capture(None, language())
    done = capture(tmp_path / "x.safetensors", language())
    assert [gemm.described for gemm in plan.gemms] == [gemm.described for gemm in done.gemms]
    gemms = open_bundle(tmp_path / "x.safetensors").gemms
    assert [gemm.bytes(Sampling()) for gemm in plan.gemms] == [
        4 * gemm.batch * gemm.d * (gemm.n + gemm.h) for gemm in gemms
    ]
    size = (tmp_path / "x.safetensors").stat().st_size
    assert sum(gemm.bytes(Sampling()) for gemm in plan.gemms) < size


@pytest.mark.parametrize(
    ("globs", "phases", "names"),
    [
        (["head", "*.0.attention.qk"], ["forward"], ["blocks.0.attention.qk", "head"]),
        (["head*"], ["grad_weight"], ["head.dw"]),
    ],
)
def test_globs_and_phases(tmp_path, globs, phases, names):
    path = tmp_path / "x.safetensors"
    capture(path, sampling=Sampling(gemms=globs, phases=phases))
    assert list(loaded(path)) == names


def test_cropping_keeps_entries_of_the_whole_product(tmp_path):
    whole, part = tmp_path / "whole.safetensors", tmp_path / "part.safetensors"
    sampling = Sampling(rows=3, heads=2)
    plan = capture(None, language(), sampling=sampling)
    capture(whole, language())
    capture(part, language(), sampling=sampling)
    assert open_bundle(part).source == {
        "crop": "at most 3 rows of A and of B, at most 2 of a batch, evenly spaced"
    }
    everything, sizes = loaded(whole), []
    for name, gemm in loaded(part).items():
        a, b = gemm.load()
        full_a, full_b = everything[name].load()
        rows_a = torch.arange(gemm.n) * everything[name].n // gemm.n
        rows_b = torch.arange(gemm.h) * everything[name].h // gemm.h
        if gemm.batched:
            heads = torch.arange(gemm.batch) * everything[name].batch // gemm.batch
            full_a, full_b = full_a[heads], full_b[heads]
        assert torch.equal(a, full_a[..., rows_a, :])
        assert torch.equal(b, full_b[..., rows_b, :])
        assert gemm.n <= 3
        assert gemm.h <= 3
        assert gemm.batch <= 2
        sizes.append(a.nbytes + b.nbytes)
    assert sizes == [gemm.bytes(sampling) for gemm in plan.gemms]


def test_a_budget(tmp_path):
    path = tmp_path / "x.safetensors"
    done = capture(path, budget=20_000)
    assert 15_000 < path.stat().st_size < 40_000
    assert done.skipped["the budget of 20,000 bytes is used up"] > 0
    assert len(loaded(path)) == len(done.gemms)


class PartlyWide(nn.Module):
    """A linear layer of float32 and one of float64."""

    def __init__(self):
        super().__init__()
        self.narrow, self.wide = nn.Linear(8, 6), nn.Linear(6, 4).double()

    def forward(self, x):
        return self.wide(self.narrow(x).double())


HINT = "operands of torch.float64; a bundle holds float32, float16 and bfloat16; convert the model"


@pytest.mark.parametrize("writes", [True, False])
def test_gemms_of_float64_are_named_and_not_captured(tmp_path, writes):
    """Their entries are not rounded in passing, and the others are captured as they are."""
    path = tmp_path / "x.safetensors"
    model, x = PartlyWide(), torch.randn(3, 8)
    with Capture(model, path if writes else None) as done:
        model(x).sum().backward()
    assert [gemm.place.name for gemm in done.gemms] == ["narrow", "narrow.dw"]
    names = ("wide", "wide.dx", "wide.dw")
    assert done.skipped == {f"{name}: {HINT} with .float()": 1 for name in names}
    assert sum(done.left.macs.values()) == 3 * (3 * 6 * 4)
    if writes:
        assert torch.equal(loaded(path)["narrow"].load()[0], x)


def test_a_model_of_float64_alone_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "x.safetensors"
    model = language().double()
    with pytest.raises(InputError, match=f"no GEMM could be captured: .*{HINT}"):  # noqa: SIM117
        with Capture(model, path):
            model(ids())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays(tmp_path, dtype):
    path = tmp_path / "x.safetensors"
    model = language().to(dtype)
    with Capture(model, path), torch.no_grad():
        model(ids())
    assert {x.dtype for gemm in loaded(path).values() for x in gemm.load()} == {dtype}


def test_nothing_that_matches(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(InputError) as caught:
        capture(path, sampling=Sampling(gemms=["*.qproj"]))
    assert "no GEMM matches *.qproj" in str(caught.value)
    assert "blocks.0.attention.q" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_gemms(tmp_path):
    model = nn.ReLU()
    with (
        pytest.raises(InputError, match="the model ran no GEMM inside the capture"),
        Capture(model, tmp_path / "x.safetensors"),
    ):
        model(torch.ones(2, 2))


@pytest.mark.parametrize(
    ("model", "x", "reason"),
    [
        (torch.pdist, torch.ones(2, 4), "_pdist_forward: multiplies matrices in a kernel"),
        (
            nn.Linear(4, 3, dtype=torch.complex64),
            torch.ones(2, 4, dtype=torch.complex64),
            "operands of torch.complex64 are not floating-point numbers",
        ),
    ],
    ids=["hidden", "complex"],
)
def test_a_model_whose_gemms_cannot_be_told(tmp_path, model, x, reason):
    module = model if isinstance(model, nn.Module) else nn.Identity()
    with pytest.raises(InputError, match=reason), Capture(module, tmp_path / "x.safetensors"):
        model(x)


def test_an_error_leaves_no_file(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_text("old")
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(3, 3))
    with pytest.raises(RuntimeError, match="shape"), Capture(model, path):
        model(torch.ones(2, 2))
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_disk_that_is_full_keeps_what_was_written(tmp_path):
    """The limit of a file's size stands for the disk's; the model runs to its end all the same."""
    path, model, x = tmp_path / "x.safetensors", nn.Sequential(*[nn.Linear(256, 256)] * 9), []
    capture, before = Capture(model, path), resource.getrlimit(resource.RLIMIT_FSIZE)

    def run():
        with capture, torch.no_grad():
            x.append(model(torch.ones(1, 256)))

    try:
        limit = (1 << 20) + 4 * 257 * 256 * 3 + 999
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        with pytest.raises(InputError, match=r"cannot be written: .*; the 3 GEMMs .* are kept"):
            run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.equal(x[0], model(torch.ones(1, 256)))
    assert list(loaded(path)) == ["0", "0#2", "0#3"]
    assert torch.equal(loaded(path)["0#2"].load()[1], model[0].weight.detach())
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]
    assert capture.skipped["the bundle cannot be written any further"] == 5


def test_a_header_that_is_too_large_keeps_what_fits(tmp_path, monkeypatch):
    monkeypatch.setattr("workloads.bundle_stream.MAX_HEADER_BYTES", 3000)
    path, model = tmp_path / "x.safetensors", nn.Sequential(*[nn.Linear(2, 2)] * 40)
    with (
        pytest.raises(InputError, match=r"has the first (\d+) of 40 GEMMs") as caught,
        Capture(model, path),
        torch.no_grad(),
    ):
        model(torch.ones(1, 2))
    gemms = open_bundle(path).gemms
    assert f"first {len(gemms)} of" in str(caught.value)
    assert 5 < len(gemms) < 40
    assert torch.equal(gemms[-1].load()[1], model[0].weight.detach())
    # One more would not have fitted.
    header = int.from_bytes(path.read_bytes()[:8], "little")
    assert 3000 - 300 < header <= 3000


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        capture(tmp_path / "no" / "x.safetensors")


def test_more_gemms_than_the_header_has_room_for(tmp_path):
    """The header takes more than the megabyte that is kept free: the data have to move."""
    model = nn.Sequential(*[nn.Linear(1, 1, bias=False)] * 3000)
    path = tmp_path / "x.safetensors"
    with Capture(model, path), torch.no_grad():
        expected = model(torch.full((1, 1), 0.5))
    gemms = open_bundle(path).gemms
    assert len(gemms) == 3000
    a, b = gemms[-1].load()
    assert torch.equal(a @ b.T, expected)


def test_large_bundles_keep_their_padding(tmp_path):
    """Where the room for the header is a small share, nothing is moved."""
    path = tmp_path / "x.safetensors"
    model = nn.Linear(5120, 5120, bias=False)
    with Capture(model, path), torch.no_grad():
        model(torch.ones(1, 5120))
    assert path.stat().st_size == 8 + (1 << 20) + 4 * 5120 * 5121
    (gemm,) = open_bundle(path).gemms
    assert torch.equal(gemm.load()[1], model.weight.detach())


@pytest.mark.slow
def test_a_bundle_larger_than_the_memory_that_may_be_used(tmp_path):
    """480 MB of operands, with at most 250 MB above what the model itself takes."""
    code = """
        import resource, sys, torch
        from torch import nn
        from workloads.capture import Capture
        model = nn.Sequential(*[nn.Linear(2048, 2048, bias=False)] * 30)
        x = torch.ones(8, 2048)
        with torch.no_grad():
            model(x)
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with Capture(model, sys.argv[1]):
                model(x)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used)
    """
    path = tmp_path / "x.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert path.stat().st_size > 480e6
    assert int(done.stdout) < 250e3


def test_a_model_without_values(tmp_path):
    with torch.device("meta"):
        model, x = torch.nn.Linear(4, 3), torch.empty(2, 4)
    with Capture(model) as shapes:
        model(x)
    assert [(gemm.a, gemm.b) for gemm in shapes.gemms] == [((2, 4), (3, 4))]
    writing = Capture(model, tmp_path / "it.safetensors")
    with pytest.raises(InputError, match="operands on the device 'meta' have no values"), writing:
        model(x)
    with pytest.raises(DataError, match="device 'meta'"), accelsim.integer_gemms(model, beta=15):
        model(x)
