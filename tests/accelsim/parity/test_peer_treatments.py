"""Other ways to quantize beside ours: absmax with scales by tensor, row and group, and torchao."""

import json
import sys

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import accelsim.parity.groups as groups
from accelsim.cli.eval import command
from accelsim.errors import InputError, UnsupportedError
from accelsim.integer_mode import Selection
from accelsim.parity.groups import Grouped, GroupedGemms, exact_type, grouped_product
from accelsim.parity.sweep import TreatmentSweep
from accelsim.parity.torchao import TorchaoLayers

CONFIG = """
model: MODEL
text: text.txt
windows: 1
tokens: 16
treatments:
  - method: float
  - {method: absmax, bits: [8, 4], granularity: [tensor, row]}
  - {method: absmax, bits: [8, 4], group: [16, 32]}
"""


def operands():
    torch.manual_seed(0)
    a, b = torch.randn(6, 100), torch.randn(5, 100)
    a[:, 3] *= 50
    return a, b


def rows(config, *options):
    found = CliRunner().invoke(
        command,
        [str(config), "--output", str(config.parent / "out"), "--format", "json", *options],
        standalone_mode=False,
    )
    if found.exception is not None:
        raise found.exception
    return json.loads(found.stdout)


def config(tmp_path, llama, text=CONFIG):
    (tmp_path / "text.txt").write_text("Integers are enough, or so it is said. " * 2)
    path = tmp_path / "peers.yaml"
    path.write_text(text.replace("MODEL", str(llama)))
    return path


@pytest.mark.parametrize("size", [16, 32, 100, 128])
def test_products_of_groups_are_exact_and_added_in_order(size):
    a, b = operands()
    one, other = (Grouped.of(x, size, 8, torch.float32, "x") for x in (a, b))
    assert one.integers.abs().amax(-1).eq(127).all(), "the largest of each group is the largest"
    expected = torch.zeros(6, 5)
    for group in range(one.integers.shape[-2]):
        x, y = (each.integers[:, group].long() for each in (one, other))
        scales = one.scales[:, group, None] * other.scales[None, :, group]
        expected = expected + (x @ y.T).float() / scales
    assert torch.equal(grouped_product(one, other), expected)
    assert (expected - a @ b.T).norm() < 0.05 * (a @ b.T).norm()


def test_sums_of_a_group_are_exact_up_to_the_bound_of_their_type():
    assert 1040 * 127**2 <= 2**24 < 1041 * 127**2
    assert exact_type(1040, 8) is torch.float32
    assert exact_type(1041, 8) is torch.float64
    assert exact_type(1 << 23, 16) is torch.float64
    with pytest.raises(UnsupportedError, match="do not fit float64"):
        exact_type(1 << 24, 16)


def test_a_type_that_is_too_narrow_is_seen(monkeypatch):
    x = torch.full((1, 4095), 127.0)
    x[0, ::2] = 126
    oracle = int((x.long() @ x.long().T).item())

    def sum_of(dtype):
        monkeypatch.setattr(groups, "EXACT", {dtype: 53})
        whole = Grouped.of(x, 4095, 8, exact_type(4095, 8), "x")
        return int((whole.integers[0, 0] * whole.integers[0, 0]).sum().item())

    assert sum_of(torch.float64) == oracle
    assert sum_of(torch.bfloat16) != oracle


def test_finer_scales_make_smaller_errors():
    a, b = operands()
    model = nn.Linear(100, 5, bias=False)
    model.weight.data = b
    errors = []
    for size in (100, 32, 8):
        with torch.no_grad(), GroupedGemms(model, size, 4) as mode:
            errors.append(float((model(a) - a @ b.T).norm()))
        assert mode.tally.summary()["ratio"] == 1
    assert errors == sorted(errors, reverse=True)


def test_one_table_of_absmax_by_tensor_row_and_group(tmp_path, llama):
    found = rows(config(tmp_path, llama))
    assert [row["treatment"] for row in found] == [
        "float",
        *(f"absmax int{bits}, scales per {per}" for bits in (8, 4) for per in ("tensor", "row")),
        *(f"absmax int{bits}, groups of {size}" for bits in (8, 4) for size in (16, 32)),
    ]
    floats, peers = found[0], found[1:]
    assert len({row["low-bit multiplications"] for row in peers}) == 1, "each fits one digit"
    assert {row["bits"] for row in peers} == {"8", "4"}
    parameters = floats["weights, MB"] * 1e6 / 4
    for row in peers:
        stored = row["weights, MB"] * 1e6
        assert parameters * int(row["bits"]) / 8 < stored < floats["weights, MB"] * 1e6 / 2
    by_name = {row["treatment"]: row for row in found}
    plain = by_name["float"]["perplexity"]
    away = {name: abs(row["perplexity"] / plain - 1) for name, row in by_name.items()}
    assert away["absmax int8, groups of 32"] < away["absmax int4, scales per tensor"]


def test_absmax_is_the_rounding_at_percentile_100(tmp_path, llama):
    text = CONFIG.replace("[8, 4], granularity: [tensor, row]", "8, granularity: row")
    text += "  - {percentile: 100, beta: 254, granularity: row}\n"
    *_, absmax = (r for r in rows(config(tmp_path, llama, text)) if "per row" in r["treatment"])
    plain = next(
        r for r in rows(tmp_path / "peers.yaml", "--overwrite") if "absmax" in r["treatment"]
    )
    assert absmax["perplexity"] == plain["perplexity"]


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"method": "absmax", "beta": 31}, "beta"),
        ({"method": "absmax", "group": 32, "granularity": "row"}, "granularity"),
        ({"method": "absmax", "bits": {"a": 8, "b": 4}}, "bits"),
        ({"method": "integers", "group": 32}, "group"),
        ({"method": "integers", "scheme": "int8-dynamic"}, "scheme"),
        ({"method": "torchao", "ops": ["linear"]}, "method"),
        ({"method": "torchao", "scheme": "int8-dynamic"}, "ops"),
        ({"method": "torchao", "scheme": "int8-dynamic", "percentile": 95}, "percentile"),
    ],
)
def test_keys_that_do_not_go_together(entry, key):
    assert TreatmentSweep.model_validate(entry).unfit()[0] == key


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32)).eval()


LINEAR = Selection(ops=("linear",))


@pytest.mark.parametrize("scheme", ["int8-dynamic", "float8-weight-only"])
def test_torchao_converts_for_a_while(scheme):
    pytest.importorskip("torchao")
    model = linear()
    weights = [layer.weight for layer in (model[0], model[2])]
    x = torch.randn(7, 64)
    with torch.no_grad():
        floats = model(x)
        with TorchaoLayers(model, scheme, LINEAR) as mode:
            found = model(x)
        assert 0 < (found - floats).norm() < 0.1 * floats.norm()
        assert torch.equal(model(x), floats)
    assert model[0].weight is weights[0]
    assert model[2].weight is weights[1]
    parameters = sum(weight.numel() for weight in weights)
    assert parameters < mode.weight_bytes < 1.5 * parameters


def test_layers_that_torchao_leaves_in_floats_are_said():
    pytest.importorskip("torchao")
    model = linear()  # groups of 32 do not divide 48 columns
    floats = model[0].weight
    with pytest.raises(UnsupportedError, match="torchao's int4-weight-only"):
        TorchaoLayers(model, "int4-weight-only", LINEAR).__enter__()
    assert model[0].weight is floats


def test_torchao_takes_neither_attention_nor_training():
    with pytest.raises(InputError, match="linear layers only"):
        TorchaoLayers(linear(), "int8-dynamic")
    with pytest.raises(InputError, match="training mode"):
        TorchaoLayers(linear().train(), "int8-dynamic", LINEAR)


def test_without_torchao_the_extra_is_named(tmp_path, llama, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    text = CONFIG + "  - {method: torchao, scheme: int8-dynamic, ops: [linear]}\n"
    with pytest.raises(InputError, match=r"torchao is missing: .*\[torchao\]"):
        rows(config(tmp_path, llama, text))


def test_what_torchao_cannot_do_here_has_a_reason(tmp_path, llama):
    pytest.importorskip("torchao")
    if torch.cuda.is_available():
        pytest.skip("it can")
    text = CONFIG + "  - {method: torchao, scheme: float8-dynamic, ops: [linear]}\n"
    found = rows(config(tmp_path, llama, text))
    records = (tmp_path / "out/records.jsonl").read_text().splitlines()
    assert found[-1]["perplexity"] is None
    assert "torchao's float8-dynamic: " in json.loads(records[-1])["reason"]
