"""The downloaded models: every GEMM, the model's own products, no bit changed.

They need the package index the first time; `pytest -m weights` runs them.
"""

import pytest
import torch
from torch import nn

from workloads import open_bundle
from workloads.capture import Capture, Sampling
from workloads.models.extraction import extract
from workloads.models.opening import open_model

pytestmark = pytest.mark.weights

TOKENS = 32


@pytest.fixture(scope="module")
def smollm2():
    return open_model("smollm2-135m", tokens=TOKENS)


@pytest.fixture(scope="module")
def bundle(smollm2, tmp_path_factory):
    path = tmp_path_factory.mktemp("smollm2") / "x.safetensors"
    extract(smollm2, path, Sampling())
    return path


def kinds(gemms):
    counts = {}
    for gemm in gemms:
        counts[gemm.op, gemm.phase] = counts.get((gemm.op, gemm.phase), 0) + 1
    return counts


def test_every_gemm_of_smollm2(bundle):
    expected = {"linear": 211, "qk": 30, "pv": 30}
    phases = ("forward", "grad_input", "grad_weight")
    assert kinds(open_bundle(bundle).gemms) == {
        (op, phase): count for op, count in expected.items() for phase in phases
    }


def test_products_are_the_models_own(smollm2, bundle):
    gemms = {gemm.name: gemm for gemm in open_bundle(bundle).gemms}
    outputs = {}
    handles = [
        module.register_forward_hook(
            lambda module, args, out, name=name: outputs.update({name: out.detach()})
        )
        for name, module in smollm2.model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    smollm2.loss(smollm2.forward()).backward()
    for handle in handles:
        handle.remove()
    gradients = {
        name: module.weight.grad
        for name, module in smollm2.model.named_modules()
        if isinstance(module, nn.Linear) and name != "lm_head"
    }
    smollm2.model.zero_grad(set_to_none=True)
    assert len(outputs) == 211
    for name, out in outputs.items():
        a, b = (x.double() for x in gemms[name].load())
        _close(a @ b.T, out.flatten(0, -2))
    for name, gradient in gradients.items():
        a, b = (x.double() for x in gemms[f"{name}.dw"].load())
        _close(a @ b.T, gradient)


def test_attention_products_are_the_models_own(smollm2, bundle, monkeypatch):
    """Against the products of the unfused attention, which the bundle's model does not run."""
    multiplied, plain = [], torch.matmul

    def spy(left, right):
        out = plain(left, right)
        if out.ndim == 4:
            left.retain_grad()
            right.retain_grad()
            multiplied.append((left, right, out))
        return out

    smollm2.model.set_attn_implementation("eager")
    monkeypatch.setattr(torch, "matmul", spy)
    try:
        smollm2.loss(smollm2.forward()).backward()
    finally:
        smollm2.model.set_attn_implementation("sdpa")
        smollm2.model.zero_grad(set_to_none=True)
    gemms = {gemm.name: gemm for gemm in open_bundle(bundle).gemms}
    assert len(multiplied) == 2 * 30
    for layer, ((q, kt, s), (p, v, o)) in enumerate(
        zip(multiplied[::2], multiplied[1::2], strict=True)
    ):
        own = {
            "qk": s,
            "qk.dq": q.grad,
            "qk.dk": kt.grad.mT,
            "pv": o,
            "pv.dp": p.grad,
            "pv.dv": v.grad.mT,
        }
        for name, expected in own.items():
            a, b = (x.double() for x in gemms[f"model.layers.{layer}.self_attn.{name}"].load())
            _close(a @ b.mT, expected.detach().flatten(0, 1))


def _close(product, expected):
    error = torch.linalg.vector_norm(product - expected.double())
    assert float(error / torch.linalg.vector_norm(expected.double())) < 1e-5


def test_no_bit_changes_and_two_captures_are_identical(smollm2, bundle, tmp_path):
    plain = smollm2.forward()
    plain.loss.backward()
    expected = {name: w.grad.clone() for name, w in smollm2.model.named_parameters()}
    smollm2.model.zero_grad(set_to_none=True)
    with Capture(smollm2.model) as seen:
        found = smollm2.forward()
        found.loss.backward()
    assert not seen.skipped
    assert torch.equal(found.logits, plain.logits)
    assert all(torch.equal(w.grad, expected[n]) for n, w in smollm2.model.named_parameters())
    extract(smollm2, tmp_path / "again.safetensors", Sampling())
    assert (tmp_path / "again.safetensors").read_bytes() == bundle.read_bytes()


def test_minilm(tmp_path):
    runnable = open_model("minilm-l6", batch=2, tokens=16)
    path = tmp_path / "x.safetensors"
    done = extract(runnable, path, Sampling())
    assert not done.skipped
    counts = kinds(open_bundle(path).gemms)
    # 6 layers of 6 linear layers, the pooler, and the products of the sentences' embeddings.
    assert counts["linear", "forward"] == 38
    assert counts["qk", "forward"] == counts["pv", "forward"] == 6
    assert counts["qk", "grad_input"] == counts["pv", "grad_weight"] == 6
