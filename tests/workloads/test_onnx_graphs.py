"""Odd ONNX graphs: right shapes and operands, or one clear message; nothing left out in silence."""

import re

import numpy as np
import pytest

from accelsim.cli import main
from accelsim.errors import InputError
from workloads import open_bundle
from workloads.models.onnx_graph import onnx_layers
from workloads.models.onnx_operands import onnx_gemms
from workloads.models.onnx_operators import WITHOUT_PRODUCTS

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

BATCH, TOKENS = 2, 5
FLOAT, INT32 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
DRAW = np.random.default_rng(0)

node = onnx.helper.make_node


def floats(*shape, kind=np.float32):
    return DRAW.normal(size=shape).astype(kind)


def value(name, shape, kind=FLOAT):
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, weights=None, outputs=("y",), opset=17, domains=(), **more):
    """Return a model; `inputs` are shapes by name, or infos, and outputs have no shape."""
    infos = [value(*each) if isinstance(each, tuple) else each for each in inputs]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        infos,
        [each if not isinstance(each, str) else value(each, None) for each in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
        **more,
    )
    opsets = [("", opset), *((domain, 1) for domain in domains)]
    return onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid(*each) for each in opsets],
        ir_version=8 if opset < 21 else 10,
    )


@pytest.fixture
def save(tmp_path):
    """Write a model and its inputs, and return both paths."""

    def files(made, **arrays):
        path = tmp_path / "m.onnx"
        onnx.save(made, str(path))
        np.savez(tmp_path / "m.npz", **arrays)
        return path, tmp_path / "m.npz"

    return files


def shapes(path):
    return [tuple(layer) for layer in onnx_layers(path, BATCH, TOKENS)[0]]


def gemm_shapes(gemms):
    return [(each.name, each.op, each.batch, each.n, each.d, each.h) for each in gemms]


def computed(path, names, arrays):
    """What onnxruntime computes, without this package, and without fusing operators."""
    made = onnx.load(str(path))
    known = {each.name for each in made.graph.output}
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(list(names), arrays)


X, Q, K, V = ("x", ["b", "t", 4]), ("q", [2, 5, 8]), ("k", [2, 8, 5]), ("v", [2, 5, 8])
MASKED = [
    node("MatMul", ["q", "k"], ["s"], name="qk"),
    node("Softmax", ["s"], ["p"]),
    node("IsNaN", ["p"], ["nan"]),
    node("Where", ["nan", "zero", "p"], ["pw"]),
    node("MatMul", ["pw", "v"], ["y"], name="pv"),
]
FOLDED = [
    node("Transpose", ["w"], ["wt"], perm=[1, 0]),
    node("Mul", ["wt", "scale"], ["ws"]),
    node("Concat", ["ws", "wt"], ["wc"], axis=1),
    node("MatMul", ["x", "wc"], ["y"], name="g"),
]
QUANTIZED = [
    node("DequantizeLinear", ["w8", "scale", "zero"], ["w"]),
    node("MatMul", ["x", "w"], ["y"], name="g"),
]


def gemm(turned_a, turned_b, **more):
    flags = {"transA": turned_a, "transB": turned_b, **more}
    made = node("Gemm", ["x", "w", "c"], ["y"], name="g", **flags)
    x, w = (4, 3) if turned_a else (3, 4), (6, 4) if turned_b else (4, 6)
    weights = {"w": floats(*w), "c": np.zeros(6, np.float32)}
    return [made], [("x", list(x))], weights, {"x": floats(*x)}


def matmul(x, w, /, **weights):
    """A product of an input of each of these shapes, but for those that are weights."""
    inputs = [(name, list(shape)) for name, shape in (("x", x), ("w", w)) if name not in weights]
    arrays = {name: floats(*shape) for name, shape in inputs}
    return [node("MatMul", ["x", "w"], ["y"], name="g")], inputs, weights, arrays


CASES = {
    "gemm": (gemm(0, 0), [("g", "linear", 1, 3, 4, 6)]),
    "gemm, A turned": (gemm(1, 0), [("g", "linear", 1, 3, 4, 6)]),
    "gemm, B turned": (gemm(0, 1), [("g", "linear", 1, 3, 4, 6)]),
    "gemm, both turned": (gemm(1, 1), [("g", "linear", 1, 3, 4, 6)]),
    "batches": (matmul((2, 1, 3, 4), (6, 4, 5)), [("g", "qk", 12, 3, 4, 5)]),
    "vector on the left": (matmul((4,), (6, 4, 5)), [("g", "qk", 6, 1, 4, 5)]),
    "vector on the right": (matmul((6, 5, 4), (4,)), [("g", "qk", 6, 5, 4, 1)]),
    "vectors": (matmul((4,), (4,)), [("g", "qk", 1, 1, 4, 1)]),
    "weight with a leading one": (
        matmul((2, 5, 4), (1, 4, 6), w=floats(1, 4, 6)),
        [("g", "linear", 1, 10, 4, 6)],
    ),
    "experts that share the input": (
        matmul((2, 1, 5, 4), (3, 4, 6), w=floats(3, 4, 6)),
        [("g", "linear", 6, 5, 4, 6)],
    ),
    "half": (
        (
            [
                node("MatMul", ["x", "w"], ["h"], name="g"),
                node("Cast", ["h"], ["y"], to=FLOAT),
            ],
            [("x", ["b", "t", 4], onnx.TensorProto.FLOAT16)],
            {"w": floats(4, 6, kind=np.float16)},
            {"x": floats(2, 5, 4, kind=np.float16)},
        ),
        [("g", "linear", 1, 10, 4, 6)],
    ),
    "weights that are computed": (
        (FOLDED, [X], {"w": floats(6, 4), "scale": np.float32(2)}, {"x": floats(2, 5, 4)}),
        [("g", "linear", 1, 10, 4, 12)],
    ),
    "quantized weights": (
        (
            QUANTIZED,
            [X],
            {
                "w8": DRAW.integers(-128, 128, (4, 6)).astype(np.int8),
                "scale": np.float32(0.1),
                "zero": np.int8(0),
            },
            {"x": floats(2, 5, 4)},
        ),
        [("g", "linear", 1, 10, 4, 6)],
    ),
    "masked probabilities": (
        (
            MASKED,
            [Q, K, V],
            {"zero": np.float32(0)},
            {"q": floats(2, 5, 8), "k": floats(2, 8, 5), "v": floats(2, 5, 8)},
        ),
        [("qk", "qk", 2, 5, 8, 5), ("pv", "pv", 2, 5, 5, 8)],
    ),
    "a name in two places is the tokens": (
        (
            [node("MatMul", ["mask", "x"], ["y"], name="g")],
            [("mask", ["t", "t"]), X],
            {},
            {"mask": floats(5, 5), "x": floats(2, 5, 4)},
        ),
        [("g", "qk", 2, 5, 5, 4)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_shapes_and_operands(name, save):
    (nodes, inputs, weights, arrays), expected = CASES[name]
    path, given = save(model(nodes, inputs, weights), **arrays)
    assert shapes(path) == expected
    gemms, skipped = onnx_gemms(path, given)
    assert not skipped
    assert gemm_shapes(gemms) == expected
    outputs = [each.output[0] for each in nodes if each.op_type in ("MatMul", "Gemm")]
    for each, result in zip(gemms, computed(path, outputs, arrays), strict=True):
        a, b = (side.double().numpy() for side in each.load())
        product = a @ np.swapaxes(b, -1, -2)
        tolerance = 2e-3 if result.dtype == np.float16 else 1e-5
        np.testing.assert_allclose(product.ravel(), result.ravel(), tolerance, tolerance)


def test_shapes_that_the_model_computes(save):
    """By operators that ONNX's own inference does not follow, twice in a row."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "zero", "two"], ["lead"]),
        node("ReduceProd", ["lead"], ["rows"], keepdims=1),
        node("Concat", ["rows", "four"], ["flat"], axis=0),
        node("Reshape", ["x", "flat"], ["x2"]),
        node("MatMul", ["x2", "w"], ["h"], name="first"),
        node("Shape", ["h"], ["sh"]),
        node("ReduceProd", ["sh"], ["all"], keepdims=1),
        node("Div", ["all", "four"], ["many"]),
        node("Concat", ["many", "four"], ["flat2"], axis=0),
        node("Reshape", ["h", "flat2"], ["h2"]),
        node("MatMul", ["h2", "w"], ["y"], name="second"),
    ]
    numbers = {name: np.array([n]) for name, n in (("zero", 0), ("two", 2), ("four", 4))}
    weights = {"w": floats(4, 20), **numbers}
    made = model(nodes, [("x", [2, 5, 4])], weights)
    inferred = onnx.shape_inference.infer_shapes(made, data_prop=True).graph.value_info
    (own,) = (each.type.tensor_type for each in inferred if each.name == "x2")
    assert not own.shape.dim[0].HasField("dim_value"), "ONNX alone does not know it"
    path, given = save(model(nodes, [X], weights), x=floats(2, 5, 4))
    assert shapes(path) == [("first", "linear", 1, 10, 4, 20), ("second", "linear", 1, 50, 4, 20)]
    assert gemm_shapes(onnx_gemms(path, given)[0]) == shapes(path)


def test_what_depends_on_a_value_is_not_folded(save):
    """The number of entries that are not zero, and one that is drawn."""
    nodes = [
        node("NonZero", ["x"], ["places"]),
        node("Cast", ["places"], ["p"], to=FLOAT),
        node("MatMul", ["w", "p"], ["y"], name="g"),
    ]
    path, _ = save(model(nodes, [("x", [3])], {"w": floats(6, 1)}))
    with pytest.raises(InputError, match="the shape of 'p', an operand of 'g', cannot be told"):
        onnx_layers(path, BATCH, TOKENS)
    nodes = [
        node("RandomUniformLike", ["one"], ["r"], low=1.0, high=9.0, dtype=FLOAT),
        node("Cast", ["r"], ["many"], to=onnx.TensorProto.INT64),
        node("Concat", ["many", "one"], ["to"], axis=0),
        node("Expand", ["x", "to"], ["p"]),
        node("MatMul", ["p", "w"], ["y"], name="g"),
    ]
    weights = {"w": floats(4, 1), "one": np.array([1])}
    path, _ = save(model(nodes, [("x", [1, 4])], weights))
    with pytest.raises(InputError, match="the shape of 'p', an operand of 'g', cannot be told"):
        onnx_layers(path, BATCH, TOKENS)


def test_a_negative_dimension_is_an_unknown_one(save):
    nodes = [node("MatMul", ["x", "w"], ["y"], name="g")]
    path, given = save(model(nodes, [("x", [-1, -1, 4])], {"w": floats(4, 6)}), x=floats(2, 5, 4))
    assert shapes(path) == [("g", "linear", 1, 10, 4, 6)]
    assert gemm_shapes(onnx_gemms(path, given)[0]) == shapes(path)


def test_alpha_beta_and_the_bias_are_outside_of_the_product(save):
    nodes, inputs, weights, arrays = gemm(0, 1, alpha=0.5, beta=2.0)
    weights["c"] = floats(6)
    path, given = save(model(nodes, inputs, weights), **arrays)
    ((each,), _), (y,) = onnx_gemms(path, given), computed(path, ["y"], arrays)
    a, b = (side.numpy() for side in each.load())
    np.testing.assert_allclose(0.5 * a @ b.T + 2 * weights["c"], y, 1e-5, 1e-5)


def test_a_weight_on_the_left_is_b_of_the_transposed_product(save):
    nodes, inputs, weights, arrays = matmul((6, 4), (2, 4, 5), x=floats(6, 4))
    path, given = save(model(nodes, inputs, weights), **arrays)
    assert shapes(path) == [("g", "linear", 1, 10, 4, 6)]
    ((each,), _), (y,) = onnx_gemms(path, given), computed(path, ["y"], arrays)
    a, b = (side.numpy() for side in each.load())
    np.testing.assert_array_equal(b, weights["x"])
    np.testing.assert_allclose((a @ b.T).reshape(2, 5, 6), y.transpose(0, 2, 1), 1e-5, 1e-5)


def test_a_vector_of_weights_on_the_left(save):
    nodes, inputs, weights, arrays = matmul((4,), (2, 4, 5), x=floats(4))
    path, given = save(model(nodes, inputs, weights), **arrays)
    assert shapes(path) == [("g", "linear", 1, 10, 4, 1)]
    ((each,), _), (y,) = onnx_gemms(path, given), computed(path, ["y"], arrays)
    a, b = (side.numpy() for side in each.load())
    np.testing.assert_allclose((a @ b.T).ravel(), y.ravel(), 1e-5, 1e-5)


def test_inputs_with_a_value_may_be_given(save):
    """Initializers that are inputs too, as before version 4 of the format, are defaults."""
    w = floats(4, 6)
    nodes, _, weights, arrays = matmul((2, 5, 4), (4, 6), w=w)
    path, given = save(model(nodes, [X, ("w", [4, 6])], weights), **arrays)
    assert shapes(path) == [("g", "linear", 1, 10, 4, 6)]
    np.testing.assert_array_equal(onnx_gemms(path, given)[0][0].load()[1].numpy(), w.T)
    other = floats(4, 6)
    np.savez(given, **arrays, w=other)
    np.testing.assert_array_equal(onnx_gemms(path, given)[0][0].load()[1].numpy(), other.T)


def test_names_are_unique_and_never_empty(save):
    names = ["/", "dup", "dup", "a/b", "a.b", "*[x] y", "dup_"]
    tensors = ["x", "a/b", *"cdefg", "y"]
    nodes = [
        node("MatMul", [tensors[i], "w"], [tensors[i + 1]], name=name)
        for i, name in enumerate(names)
    ]
    path, given = save(model(nodes, [("x", [4, 4])], {"w": floats(4, 4)}), x=floats(4, 4))
    found = [layer[0] for layer in shapes(path)]
    assert found == ["a.b", "dup", "dup_", "a.b_", "a.b__", "*[x] y", "dup__"]
    assert [each.name for each in onnx_gemms(path, given)[0]] == found


@pytest.mark.parametrize("opset", range(9, 24))
def test_every_opset(opset, save):
    nodes = [
        node("MatMul", ["x", "w"], ["h"], name="first"),
        node("Gemm", ["h", "u", "c"], ["y"], name="second", transB=1),
    ]
    weights = {"w": floats(4, 6), "u": floats(3, 6), "c": floats(3)}
    path, given = save(model(nodes, [("x", ["b", 4])], weights, opset=opset), x=floats(2, 4))
    expected = [("first", "linear", 1, 2, 4, 6), ("second", "linear", 1, 2, 6, 3)]
    assert shapes(path) == expected
    assert gemm_shapes(onnx_gemms(path, given)[0]) == expected


def test_external_data(save, tmp_path, monkeypatch):
    """Its folder is the model's, not the working directory."""
    w = floats(4, 300)
    made = model([node("MatMul", ["x", "w"], ["y"], name="g")], [X], {"w": w})
    path, given = save(made, x=floats(2, 5, 4))
    onnx.save(made, str(path), save_as_external_data=True, location="data.bin", size_threshold=0)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert shapes(path) == [("g", "linear", 1, 10, 4, 300)]
    np.testing.assert_array_equal(onnx_gemms(path, given)[0][0].load()[1].numpy(), w.T)
    (tmp_path / "data.bin").unlink()
    assert shapes(path) == [("g", "linear", 1, 10, 4, 300)], "shapes need no weights"
    with pytest.raises(InputError, match=r"m.onnx: cannot be run: .*data.bin"):
        onnx_gemms(path, given)


def test_weights_beyond_what_a_message_of_protobuf_holds(save, tmp_path):
    """2.4 GB of external data, of which the file system stores nothing."""
    rows = 75_000_000
    table = onnx.TensorProto(
        name="table", data_type=FLOAT, dims=[rows, 8], data_location=onnx.TensorProto.EXTERNAL
    )
    for key, text in {"location": "table.bin", "length": str(rows * 32)}.items():
        table.external_data.add(key=key, value=text)
    with (tmp_path / "table.bin").open("wb") as file:
        file.truncate(rows * 32)
    nodes = [
        node("Gather", ["table", "ids"], ["x0"]),
        node("Add", ["x0", "one"], ["x"]),
        node("MatMul", ["x", "w"], ["y"], name="g"),
    ]
    ids = value("ids", ["b", "t"], onnx.TensorProto.INT64)
    made = model(nodes, [ids], {"w": floats(8, 6), "one": np.float32(1)})
    made.graph.initializer.append(table)
    path, given = save(made, ids=np.array([[0, rows - 1]]))
    (each,), _ = onnx_gemms(path, given)
    np.testing.assert_array_equal(each.load()[0].numpy(), np.ones((2, 8), np.float32))


def test_shapes_that_the_model_itself_states(save):
    """Behind an operator that ONNX does not know; its names are those of the inputs."""
    nodes = [
        node("Gelu", ["x"], ["g"], domain="com.microsoft"),
        node("MatMul", ["g", "w"], ["y"], name="g"),
    ]
    info = [value("g", ["b", "t", 4])]
    made = model(nodes, [X], {"w": floats(4, 6)}, domains=["com.microsoft"], value_info=info)
    path, given = save(made, x=floats(2, 5, 4))
    layers, others = onnx_layers(path, BATCH, TOKENS)
    assert [tuple(layer) for layer in layers] == [("g", "linear", 1, 10, 4, 6)]
    assert not others
    assert not onnx_gemms(path, given)[1]


PLAIN = node("MatMul", ["x", "w"], ["plain"], name="plain")


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (
            node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft"),
            "com.microsoft.FusedMatMul",
        ),
        (
            node("TransposeMatMul", ["x", "w"], ["y"], domain="com.microsoft"),
            "com.microsoft.TransposeMatMul",
        ),
        (node("MatMul", ["x", "w"], ["y"], domain="mine"), "mine.MatMul"),
        (node("Layer", ["x", "w"], ["y"], domain="mine"), "mine.Layer"),
        (node("OfTomorrow", ["x", "w"], ["y"]), "OfTomorrow"),
        (
            node("LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml", coefficients=[1.0] * 4),
            "LinearRegressor",
        ),
        (
            node("FlexAttention", ["x", "x", "x"], ["y"], domain="ai.onnx.preview"),
            "ai.onnx.preview.FlexAttention",
        ),
        (node("Einsum", ["x", "w"], ["y"], equation="ij,jk->ik"), "Einsum"),
        (node("RNN", ["x", "w", "w"], ["y"], hidden_size=6), "RNN"),
    ],
)
def test_what_may_multiply_and_is_not_read_is_named(made, named, save):
    domains = [made.domain] if made.domain else []
    path, _ = save(
        model([PLAIN, made], [("x", [3, 4])], {"w": floats(4, 6)}, ("plain",), domains=domains)
    )
    layers, others = onnx_layers(path, BATCH, TOKENS)
    assert [layer.name for layer in layers] == ["plain"]
    assert others == {named: 1}


def test_operators_of_onnxruntime_that_are_passed_over_multiply_no_matrices():
    """A name in the list that tells of a product is an error there."""
    known = runtime.capi.onnxruntime_pybind11_state.get_all_operator_schema()
    names = {each.name for each in known if each.domain == "com.microsoft"}
    telling = re.compile("MatMul|Gemm(?!a)|Attention|Conv|MoE|LSTM|Search|LinearAtt|Delta|Mlp|Qkv")
    products = {name for name in names if telling.search(name)}
    assert len(products) > 20
    assert not products & WITHOUT_PRODUCTS
    assert not {"QLinearConv", "QGemm", "QMoE", "AttnLSTM", "CDist"} & WITHOUT_PRODUCTS


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (model([node("Identity", ["x"], ["y"])], [("x", [4])]), "has no MatMul and no Gemm$"),
        (
            model(
                [node("MatMul", ["x", "w"], ["y"], name="g")], [("x", [3, 8])], {"w": floats(7, 5)}
            ),
            r"the operands of 'g' do not match: \[3, 8\] and \[7, 5\]",
        ),
        (
            model(
                [node("MatMul", ["x", "w"], ["y"], name="g")], [("x", [2, 3, 4]), ("w", [3, 4, 5])]
            ),
            r"the operands of 'g' do not match: \[2, 3, 4\] and \[3, 4, 5\]",
        ),
        (
            model(
                [node("MatMul", ["x", "w"], ["y"], name="g")], [("x", None)], {"w": floats(4, 6)}
            ),
            "the shape of 'x', an operand of 'g', cannot be told",
        ),
        (
            model(
                [node("MatMul", ["x", "w"], ["y"], name="g")], [("x", [0, 4])], {"w": floats(4, 6)}
            ),
            "no MatMul and no Gemm; left out: 1 product without elements",
        ),
        (
            model(
                [node("MatMul", ["x", "w"], ["y"], name="g")],
                [("x", [3, 4], INT32)],
                {"w": np.ones((4, 6), np.int32)},
                [value("y", None, INT32)],
            ),
            "no MatMul and no Gemm; left out: 1 product of int32",
        ),
        (
            model(
                [
                    node("Attention", ["q", "v", "v"], ["a"], domain="com.microsoft", num_heads=2),
                    node("MatMul", ["a", "w"], ["y"], name="g"),
                ],
                [Q, V],
                {"w": floats(8, 6)},
                domains=["com.microsoft"],
            ),
            "the shape of 'a', .* cannot be told; .*; left out: 1 com.microsoft.Attention",
        ),
    ],
)
def test_wrong_shapes(made, message, save):
    path, _ = save(made)
    with pytest.raises(InputError, match=message):
        onnx_layers(path, BATCH, TOKENS)


@pytest.mark.parametrize(
    ("made", "arrays", "message"),
    [
        (
            model([node("MatMul", ["x", "w"], ["y"])], [("x", [0, 4])], {"w": floats(4, 6)}),
            {"x": floats(0, 4)},
            "left out 1: operands without elements",
        ),
        (
            model([node("MatMul", ["x", "w"], ["y"])], [("x", [3, 0])], {"w": floats(0, 6)}),
            {"x": floats(3, 0)},
            "left out 1: operands without elements",
        ),
        (
            model([node("MatMul", ["x", "w"], ["y"])], [("x", [3, 4]), ("w", [4, 6])]),
            {"x": floats(3, 4), "w": floats(4, 6, kind=np.float64)},
            "m.onnx: cannot be run: ",
        ),
    ],
)
def test_wrong_operands(made, arrays, message, save):
    with pytest.raises(InputError, match=message):
        onnx_gemms(*save(made, **arrays))


def test_sparse_weights_have_a_shape_and_no_operands(save):
    made = model([node("MatMul", ["x", "w"], ["y"], name="g")], [X])
    entries = onnx.helper.make_tensor("w", FLOAT, [2], [1.0, 2.0])
    places = onnx.helper.make_tensor("places", onnx.TensorProto.INT64, [2], [0, 7])
    made.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(entries, places, [4, 6]))
    path, given = save(made, x=floats(2, 5, 4))
    assert shapes(path) == [("g", "linear", 1, 10, 4, 6)]
    with pytest.raises(InputError, match=r"m.onnx: 'w' is no dense tensor"):
        onnx_gemms(path, given)


def test_a_file_that_ends_anywhere_is_no_model(save, tmp_path):
    path, _ = save(model([node("MatMul", ["x", "w"], ["y"], name="g")], [X], {"w": floats(4, 6)}))
    whole, cut = path.read_bytes(), tmp_path / "cut.onnx"
    for end in range(len(whole)):
        cut.write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"cut.onnx: is no ONNX model"):
            onnx_layers(cut, BATCH, TOKENS)


@pytest.mark.parametrize("damage", ["empty", "half", "changed"])
def test_damaged_inputs(damage, save, tmp_path, monkeypatch, capsys):
    made = model([node("MatMul", ["x", "w"], ["y"], name="g")], [X], {"w": floats(4, 6)})
    _, given = save(made, x=floats(2, 5, 4))
    whole = given.read_bytes()
    changed = whole[:200] + bytes([whole[200] ^ 255]) + whole[201:]
    given.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "changed": changed}[damage])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["extract", "--onnx", "m.onnx", "--input", "m.npz", "-o", "out.safetensors"])
    assert ended.value.code == 2
    assert "m.npz: is no .npz file of arrays: " in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_names_that_appear_twice_go_into_a_bundle(save, tmp_path, monkeypatch):
    nodes = [
        node("MatMul", ["x", "w"], ["h"], name="g"),
        node("MatMul", ["h", "w"], ["y"], name="g"),
    ]
    save(model(nodes, [("x", [4, 4])], {"w": floats(4, 4)}), x=floats(4, 4))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["extract", "--onnx", "m.onnx", "--input", "m.npz", "-o", "out.safetensors"])
    assert ended.value.code == 0
    first, second = open_bundle(tmp_path / "out.safetensors").gemms
    assert (first.name, second.name) == ("g", "g_")
    a, b = first.load()
    np.testing.assert_allclose(second.load()[0].numpy(), (a @ b.T).numpy(), 1e-5, 1e-5)
