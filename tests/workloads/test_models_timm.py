"""A vision Transformer of timm; it needs timm, which no extra brings."""

import pytest
import torch

from workloads import open_bundle
from workloads.capture import Capture

timm = pytest.importorskip("timm", reason="timm is not in any extra: it needs torchvision")


def test_a_vision_transformer(tmp_path):
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=10).eval()
    seen = {}
    for block in (0, 1):
        for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
            name = f"blocks.{block}.{layer}"
            model.get_submodule(name).register_forward_hook(
                lambda module, args, out, name=name: seen.update({name: (module, args[0], out)})
            )
    images = torch.randn(2, 3, 32, 32)
    plain = model(images)
    path = tmp_path / "x.safetensors"
    with Capture(model, path) as done:
        out = model(images)
        torch.nn.functional.cross_entropy(out, torch.tensor([1, 2])).backward()
    assert torch.equal(out, plain)
    assert not done.skipped
    gemms = {gemm.name: gemm for gemm in open_bundle(path).gemms}
    attention = {f"blocks.{block}.attn.{op}" for block in (0, 1) for op in ("qk", "pv")}
    forward = {name for name, gemm in gemms.items() if gemm.phase == "forward"}
    assert forward == {"patch_embed.proj", "head", *seen, *attention}
    # No gradient for the images.
    assert len(gemms) == 3 * len(forward) - 1
    for name, (module, _, output) in seen.items():
        a, b = (x.double() for x in gemms[name].load())
        close(a @ b.T + module.bias.double(), output.flatten(0, 1))
        a, b = (x.double() for x in gemms[f"{name}.dw"].load())
        close(a @ b.T, module.weight.grad)
    for block in (0, 1):
        heads = seen[f"blocks.{block}.attn.proj"][1].unflatten(-1, (3, 64)).transpose(1, 2)
        a, b = (x.double() for x in gemms[f"blocks.{block}.attn.pv"].load())
        close(a @ b.mT, heads.flatten(0, 1))
        rows = seen[f"blocks.{block}.attn.qkv"][2].unflatten(-1, (3, 3, 64)).permute(2, 0, 3, 1, 4)
        q, k, _ = rows.flatten(1, 2)
        a, b = (x.double() for x in gemms[f"blocks.{block}.attn.qk"].load())
        close(a @ b.mT, q.double() @ k.double().mT)


def close(found, expected):
    torch.testing.assert_close(found, expected.detach().double(), rtol=1e-4, atol=1e-5)
