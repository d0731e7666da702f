"""Models that files describe: SCALE-Sim's topologies, and ONNX with shapes and with operands."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from accelsim.cli import main
from accelsim.config import load_config
from accelsim.errors import InputError
from accelsim.runner.cases import list_cases
from workloads import open_bundle
from workloads.models import onnx_graph
from workloads.models.onnx_graph import onnx_layers
from workloads.models.onnx_operands import onnx_gemms
from workloads.models.topology import read_topology


def test_a_topology_of_gemms(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text("Layer, M, N, K,\nfirst, 128, 192, 576,\n\nlast, 1, 10, 64,\n")
    assert [tuple(layer[3:]) for layer in read_topology(path)] == [(128, 576, 192), (1, 64, 10)]


def test_a_topology_with_the_mark_and_the_head_of_a_spreadsheet(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text("Layer name, M, N, K,\nfirst, 128, 192, 576,\n", encoding="utf-8-sig")
    assert [tuple(layer[3:]) for layer in read_topology(path)] == [(128, 576, 192)]


def test_a_topology_of_convolutions(tmp_path):
    path = tmp_path / "net.csv"
    head = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels,"
    path.write_text(f"{head} Num Filter, Strides,\nConv1, 224, 224, 7, 7, 3, 64, 2,\n")
    (layer,) = read_topology(path)
    assert tuple(layer[3:]) == (110 * 110, 7 * 7 * 3, 64)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a head and a line for each layer"),
        ("Layer, M, N, K,\nx, 1, 2,\n", r"net.csv:2: found x, 1, 2; expected name, M, N, K"),
        ("Layer, M, N, K,\nx, 1, 2, 3, 1:4\n", r"net.csv:2: found x, .*; expected name, M, N, K"),
        ("Layer, M, N, K,\nx, 1, 2, zero,\n", r"net.csv:2: found 'zero'; expected M, N and K"),
        ("Layer, M, N, K,\nx, 1, 2, 3\nx, 1, 2, 3\n", r"net.csv:3: layer 'x' appears twice"),
        ("Layer, a\nx, 1, 2\n", "net.csv:2: found 3 columns; expected a head 'Layer, M, N, K'"),
        ("Layer, a\nx, 2, 2, 3, 3, 1, 1, 1\n", "a filter of 3x3 is larger than 2x2"),
    ],
)
def test_wrong_topologies(tmp_path, text, message):
    path = tmp_path / "net.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_topology(path)


def config(tmp_path, entry):
    path = tmp_path / "run.yaml"
    path.write_text(f"workloads: [{entry}]\nbackends: [emulator]\nproduct: none\n")
    return path


def test_a_topology_is_a_workload(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.csv").write_text("Layer, M, N, K,\nfirst, 16, 24, 48,\nlast, 2, 10, 24,\n")
    path = config(tmp_path, "{model: net.csv, gemms: first, phases: [forward, grad_input]}")
    loaded = load_config(path)
    (gemm,) = loaded.gemms()
    assert (gemm.id, gemm.n, gemm.d, gemm.h) == ("net/first", 16, 48, 24)
    assert len(list_cases(loaded, loaded.gemms())) == 1
    with pytest.raises(SystemExit) as ended:
        main(["run", str(path), "--format", "json"])
    assert ended.value.code == 0
    assert '"status": "counted"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{model: net.csv, tokens: 4}", r"run.yaml:1:38: workloads.0.tokens: net.csv has all its"),
        ("{model: no.csv}", r"run.yaml:1:21: workloads.0.model: .*no.csv: cannot be read"),
        ("{model: net.csv, gemms: zz}", "no GEMM matches 'zz'"),
        ("{model: net.onnx, text: a.txt}", "workloads.0.text: net.onnx has all its shapes"),
        ("{model: no.onnx}", "no.onnx: there is no such file"),
    ],
)
def test_what_is_wrong_has_a_place(tmp_path, entry, message):
    pytest.importorskip("onnx")
    (tmp_path / "net.csv").write_text("Layer, M, N, K,\nfirst, 16, 24, 48,\n")
    with pytest.raises(InputError, match=message):
        load_config(config(tmp_path, entry))


@pytest.fixture
def attention(tmp_path):
    """A model with a linear layer, attention products of two heads, and a Gemm."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    draw = np.random.default_rng(0)
    weights = {
        "wq": draw.normal(size=(8, 8)).astype(np.float32),
        "wo": draw.normal(size=(3, 8)).astype(np.float32),
        "shape": np.array([0, 0, 2, 4], np.int64),
        "flat": np.array([-1, 8], np.int64),
        "half": np.array(0.5, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "wq"], ["q"], name="/layer/q/MatMul"),
        helper.make_node("Reshape", ["q", "shape"], ["q4"]),
        helper.make_node("Transpose", ["q4"], ["qh"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["q4"], ["kt"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["qh", "kt"], ["s"], name="qk"),
        helper.make_node("Mul", ["s", "half"], ["t"]),
        helper.make_node("Softmax", ["t"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "qh"], ["o"], name="pv"),
        helper.make_node("Transpose", ["o"], ["o4"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["o4", "flat"], ["of"]),
        helper.make_node("Gemm", ["of", "wo"], ["y"], name="out", transB=1),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", onnx.TensorProto.FLOAT, ["batch", "tokens", 8])],
        [value("y", onnx.TensorProto.FLOAT, ["rows", 3])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path = tmp_path / "attention.onnx"
    onnx.save(model, str(path))
    x = draw.normal(size=(3, 5, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    return path, x, weights


NAMES = ["layer.q.MatMul", "qk", "pv", "out"]


def test_shapes_of_an_onnx_model(attention):
    path, *_ = attention
    found, others = onnx_layers(path, 3, 5)
    assert not others
    assert [layer.name for layer in found] == NAMES
    assert [layer.op for layer in found] == ["linear", "qk", "pv", "linear"]
    sizes = [(1, 15, 8, 8), (6, 5, 4, 5), (6, 5, 5, 4), (1, 15, 8, 3)]
    assert [tuple(layer[2:]) for layer in found] == sizes


def test_experts_of_an_onnx_model_are_a_batch(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, draw = onnx.helper, np.random.default_rng(0)
    value = helper.make_tensor_value_info
    w = draw.normal(size=(3, 8, 5)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="experts")],
        "g",
        [value("x", onnx.TensorProto.FLOAT, [3, 4, 8])],
        [value("y", onnx.TensorProto.FLOAT, [3, 4, 5])],
        [onnx.numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "experts.onnx"
    onnx.save(model, str(path))
    assert [tuple(layer[2:]) for layer in onnx_layers(path, 1, 1)[0]] == [(3, 4, 8, 5)]
    x = draw.normal(size=(3, 4, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    (gemm,), skipped = onnx_gemms(path, tmp_path / "x.npz")
    assert not skipped
    a, b = gemm.load()
    assert torch.equal(a, torch.from_numpy(x))
    assert torch.equal(b, torch.from_numpy(w).mT)


def onnx_file(path, nodes, functions=(), opsets=(17,)):
    """Write a model of float32 inputs x [3, 8] and w [8, 5] and of a condition c."""
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [
            value("x", onnx.TensorProto.FLOAT, [3, 8]),
            value("w", onnx.TensorProto.FLOAT, [8, 5]),
            value("c", onnx.TensorProto.BOOL, []),
        ],
        [value("y", onnx.TensorProto.FLOAT, [3, 5])],
    )
    domains = zip(("", "mine"), (*opsets, 1)[:2] if functions else opsets, strict=False)
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid(*domain) for domain in domains],
        ir_version=8,
        functions=functions,
    )
    onnx.save(model, str(path))
    draw = np.random.default_rng(0)
    x, w = (draw.normal(size=size).astype(np.float32) for size in ((3, 8), (8, 5)))
    np.savez(path.with_suffix(".npz"), x=x, w=w, c=np.array(True))
    return path, path.with_suffix(".npz")


def test_products_that_are_not_read_are_named(tmp_path, monkeypatch, capsys):
    """Those in bodies, other operators, and those of float64; none is passed over in silence."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [node("MatMul", ["x", "w"], ["inner"])],
        "body",
        [],
        [value("inner", onnx.TensorProto.FLOAT, [3, 5])],
    )
    path, inputs = onnx_file(
        tmp_path / "m.onnx",
        [
            node("MatMul", ["x", "w"], ["plain"], name="plain"),
            node("Cast", ["x"], ["x64"], to=onnx.TensorProto.DOUBLE),
            node("Cast", ["w"], ["w64"], to=onnx.TensorProto.DOUBLE),
            node("MatMul", ["x64", "w64"], ["wide"], name="wide"),
            node("Einsum", ["x", "w"], ["e"], equation="ij,jk->ik"),
            node("If", ["c"], ["branch"], then_branch=body, else_branch=body),
            node("Add", ["branch", "e"], ["y"]),
        ],
    )
    layers, others = onnx_layers(path, 1, 1)
    assert [layer.name for layer in layers] == ["plain", "wide"]
    assert others == {"Einsum": 1, "MatMul in the body of If": 2}
    gemms, skipped = onnx_gemms(path, inputs)
    assert [gemm.name for gemm in gemms] == ["plain"]
    assert skipped == {
        "Einsum is not read": 1,
        "MatMul in the body of If is not read": 2,
        "operands of float64": 1,
    }
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["extract", "--onnx", "m.onnx", "--input", "m.npz", "-o", "out.safetensors"])
    assert ended.value.code == 0
    assert "skipped 1: operands of float64" in capsys.readouterr().err
    path = config(tmp_path, "{model: m.onnx}")
    with pytest.raises(SystemExit) as ended:
        main(["run", str(path)])
    assert ended.value.code == 0
    named = "only MatMul and Gemm are read; left out: 1 Einsum, 2 MatMul in the body of If"
    assert capsys.readouterr().err.count(named) == 1


def test_a_model_of_nothing_but_float64_says_so(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    node = onnx.helper.make_node
    path, inputs = onnx_file(
        tmp_path / "m.onnx",
        [
            node("Cast", ["x"], ["x64"], to=onnx.TensorProto.DOUBLE),
            node("Cast", ["w"], ["w64"], to=onnx.TensorProto.DOUBLE),
            node("MatMul", ["x64", "w64"], ["wide"]),
            node("Cast", ["wide"], ["y"], to=onnx.TensorProto.FLOAT),
        ],
    )
    with pytest.raises(InputError, match="no MatMul and no Gemm of float32 or float16; left out 1"):
        onnx_gemms(path, inputs)


@pytest.mark.parametrize("opset", [9, 13, 21])
def test_functions_are_read_and_any_opset(tmp_path, opset):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    node = onnx.helper.make_node
    opsets = [onnx.helper.make_opsetid("", opset)]
    inner = [node("MatMul", ["p", "q"], ["r"], name="inner")]
    function = onnx.helper.make_function("mine", "Layer", ["p", "q"], ["r"], inner, opsets)
    nodes = [node("Layer", ["x", "w"], ["y"], domain="mine")]
    path, inputs = onnx_file(tmp_path / "m.onnx", nodes, [function], (opset,))
    assert [tuple(layer[2:]) for layer in onnx_layers(path, 1, 1)[0]] == [(1, 3, 8, 5)]
    (gemm,), skipped = onnx_gemms(path, inputs)
    assert (gemm.n, gemm.d, gemm.h) == (3, 8, 5)
    assert not skipped


def test_an_onnx_model_is_a_workload(attention, tmp_path):
    path = config(tmp_path, "{model: attention.onnx, batch: 3, tokens: 5}")
    found = load_config(path).gemms()
    assert [gemm.id for gemm in found] == [f"attention/{name}" for name in NAMES]
    assert found[1].batch == 6
    assert float(found[2].load()[0].min()) >= 0, "probabilities have no signs"


def test_operands_of_an_onnx_model(attention, tmp_path, monkeypatch, capsys):
    path, x, weights = attention
    monkeypatch.chdir(tmp_path)
    command = ["extract", "--onnx", str(path), "--input", "x.npz", "-o", "out.safetensors"]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    assert "4 GEMMs in out.safetensors" in capsys.readouterr().out
    linear, qk, pv, out = open_bundle(tmp_path / "out.safetensors").gemms
    assert [gemm.name for gemm in (linear, qk, pv, out)] == NAMES
    a, b = linear.load()
    assert torch.equal(a, torch.from_numpy(x.reshape(15, 8)))
    assert torch.equal(b, torch.from_numpy(weights["wq"].T.copy()))
    q, k = qk.load()
    heads = (a @ b.T).reshape(3, 5, 2, 4).transpose(1, 2).reshape(6, 5, 4)
    torch.testing.assert_close(q, heads)
    assert torch.equal(q, k)
    p, v = pv.load()
    torch.testing.assert_close(p, torch.softmax(0.5 * q @ k.mT, -1))
    assert torch.equal(v, q.mT)
    last, wo = out.load()
    torch.testing.assert_close(last, (p @ v.mT).reshape(3, 2, 5, 4).transpose(1, 2).reshape(15, 8))
    assert torch.equal(wo, torch.from_numpy(weights["wo"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input", "none.npz"], "none.npz: is no .npz file"),
        (["--input", "other.npz"], "other.npz: has no array 'x'; the model's inputs are x"),
        (["--input", "more.npz"], "more.npz: has an unknown array 'z'; the model's inputs are x"),
        (["--input", "wrong.npz"], "attention.onnx: cannot be run: "),
        (["--input", "x.npz", "--rows", "2"], "--rows goes with another model than --onnx"),
        (["--input", "x.npz", "--phase", "backward"], "an ONNX model has a forward pass alone"),
        (["--input", "x.npz", "--gemm", "zz"], "no GEMM matches 'zz'"),
        ([], "--onnx needs --input FILE.npz"),
    ],
)
def test_wrong_extractions(attention, tmp_path, monkeypatch, capsys, options, message):
    path, x, _ = attention
    monkeypatch.chdir(tmp_path)
    np.savez("other.npz", y=x)
    np.savez("more.npz", x=x, z=x)
    np.savez("wrong.npz", x=x[:, :, :7])
    with pytest.raises(SystemExit) as ended:
        main(["extract", "--onnx", str(path), "-o", "out.safetensors", *options])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_without_onnx_the_extra_is_named(attention, monkeypatch):
    path, *_ = attention
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"onnx is missing: .*\[onnx\]"):
        onnx_graph.load(path)


def test_what_is_no_model(tmp_path):
    pytest.importorskip("onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\xff\xff\xff")
    with pytest.raises(InputError, match=r"bad.onnx: is no ONNX model"):
        onnx_layers(tmp_path / "bad.onnx", 1, 1)


@pytest.mark.slow
def test_a_model_that_a_package_ships(tmp_path, monkeypatch):
    """Needs a package index: magika 1.0.3 has a network of file types in ONNX."""
    pytest.importorskip("onnxruntime")
    got = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "-t",
            tmp_path,
            "magika==1.0.3",
        ],
        capture_output=True,
        text=True,
    )
    if got.returncode:
        pytest.skip(f"magika cannot be had here: {got.stderr[-200:]}")
    (path,) = tmp_path.glob("magika/models/*/model.onnx")
    monkeypatch.chdir(tmp_path)
    content = np.frombuffer(path.read_bytes()[:4096], np.uint8).astype(np.int32).reshape(2, 2048)
    np.savez("bytes.npz", bytes=content)
    with pytest.raises(SystemExit) as ended:
        main(["extract", "--onnx", str(path), "--input", "bytes.npz", "-o", "out.safetensors"])
    assert ended.value.code == 0
    gemms = open_bundle(tmp_path / "out.safetensors").gemms
    shapes = [tuple(layer[2:]) for layer in onnx_layers(path, 2, 2048)[0]]
    assert [(g.batch, g.n, g.d, g.h) for g in gemms] == shapes
    assert len(gemms) == 2
    assert all(gemm.load()[0].std() > 0 for gemm in gemms)
