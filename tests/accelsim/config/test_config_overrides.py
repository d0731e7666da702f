"""``--set`` and ``--backend``: what they change, and what they say when they cannot."""

import pytest
import torch
from safetensors.torch import save_file

from accelsim.config import load_config
from accelsim.errors import InputError
from accelsim.types import PerOperand

CONFIG = """\
workloads:
  - synthetic: {n: 4, d: 8, h: 3}
  - synthetic: {n: 5, d: 8, h: 3}
quantize: {beta: [15, 31]}
backends: [int64, {name: emulator, accumulator_bits: 24}, {name: emulator, accumulator_bits: 20}]
"""

ARRAY = """
from gemm_backends import Accumulator, GemmBackend

class Array(GemmBackend):
    name = "array"
    bits = 8
    accumulator = Accumulator(32, "wrap")

    def matmul(self, a, b):
        return a.int() @ b.int().mT
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    (tmp_path / "c.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return lambda *overrides, **options: load_config("c.yaml", overrides, **options)


@pytest.fixture
def message(load):
    def message(*overrides, **options):
        with pytest.raises(InputError) as caught:
            load(*overrides, **options)
        return str(caught.value)

    return message


def test_a_value_is_replaced(load):
    assert load("quantize.beta=[5, 7]").quantize.beta == (PerOperand.both(5), PerOperand.both(7))
    assert load("quantize.beta=5").quantize.beta == (PerOperand.both(5),)
    assert load("quantize={percentile: 100}").quantize.beta == (PerOperand.both(15),)


def test_a_section_that_the_file_has_not_is_made(load):
    assert load("timing.repeats=7").timing.repeats == 7
    assert load("quantize=", "quantize.beta=9").quantize.beta == (PerOperand.both(9),)


def test_items_of_lists(load):
    config = load("workloads.1.synthetic.n=9", "quantize.beta.0={a: 255, b: 15}")
    assert [gemm.n for gemm in config.gemms()] == [4, 9]
    assert config.quantize.beta == (PerOperand(255, 15), PerOperand.both(31))


def test_the_last_override_wins(load):
    assert load("k_split=never", "k_split=auto").k_split == "auto"


def test_a_value_may_hold_an_equals_sign(load, message):
    assert load("workloads.0.synthetic.name=a=b").gemms()[0].name == "a=b"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("quantize.beta", "expected KEY=VALUE, such as quantize.beta=[15, 31]"),
        ("=3", "expected KEY=VALUE, such as quantize.beta=[15, 31]"),
        ("quantize..beta=3", "expected KEY=VALUE, such as quantize.beta=[15, 31]"),
        ("quantize.bta=3", "quantize.bta: unknown key 'bta'; did you mean 'beta'? "
         "(known: beta, granularity, percentile, tolerance, zero_alpha)"),
        ("quantise.beta=3", "quantise: unknown key 'quantise'; did you mean 'quantize'? (known: "
         "accelerator, backends, baselines, k_split, name, output, plan, product, quantize, "
         "timing, unpack, workloads)"),
        ("quantize.beta.1=0", "quantize.beta.1: found 0; expected a number above 0 and below 2^32, "
         "{a: ..., b: ...}, or a list of these"),
        ("quantize.beta=4294967296", "quantize.beta: found 4294967296; expected a number above 0 "
         "and below 2^32, {a: ..., b: ...}, or a list of these"),
        ("timing.repeats=0", "timing.repeats: found 0; expected a whole number, at least 1"),
        ("timing.repeats=", "timing.repeats: found nothing; expected a whole number, at least 1"),
        ("quantize.beta=[1", "not valid YAML: while parsing a flow sequence, "
         "expected ',' or ']', but got '<stream end>'"),
        ("quantize={beta: 1, beta: 2}", "quantize.beta: duplicate key 'beta'; it first stands at "
         "--set quantize={beta: 1, beta: 2}"),
        ("quantize.beta.2=3", "quantize.beta has 2 items, counted from 0; found '2'"),
        ("quantize.beta.-1=3", "quantize.beta has 2 items, counted from 0; found '-1'"),
        ("workloads.one.synthetic=3", "workloads has 2 items, counted from 0; found 'one'"),
        ("backends.0.bits=3", "backends.0 is 'int64', which has no key 'bits'"),
        ("backends.0=int46", "backends.0: unknown backend 'int46'; did you mean 'int64'? (known: "),
        ("backends.1.overflow=wrp", "backends.1.overflow: option 'overflow' of backend 'emulator'"),
        ("backends=[]", "backends: found []; expected a list of at least one backend"),
        ("workloads=[]", "workloads: found []; expected a list of at least one workload"),
        ("workloads.1.synthetic.n=4", None),
    ],
)  # fmt: skip
def test_overrides_that_are_wrong(message, override, expected):
    if expected is None:
        where = "c.yaml:3:5: workloads.1: "
        expected = "GEMM 'synthetic/4x8x3' appears twice; names must be unique"
        assert message(override) == where + expected
    else:
        assert message(override).startswith(f"--set {override}: {expected}")


def test_problems_come_in_the_order_of_the_file_and_then_of_the_overrides(message, tmp_path):
    (tmp_path / "c.yaml").write_text(CONFIG + "timing: {warmup: -1}\nk_split: x\n")
    found = message("unpack.bits=1", "quantize.beta=0").splitlines()
    assert [line.split(": ")[0] for line in found] == [
        "4 problems in the config:",
        "c.yaml:6:18",
        "c.yaml:7:10",
        "--set unpack.bits=1",
        "--set quantize.beta=0",
    ]


def test_backends_are_chosen_with_the_options_that_the_config_gives(load):
    config = load(backends=["emulator"])
    assert [choice.options for choice in config.backends] == [
        {"accumulator_bits": 24},
        {"accumulator_bits": 20},
    ]


def test_backends_that_the_config_does_not_name(load):
    config = load(backends=["cpu-int8", "int64", "cpu-int8"])
    assert [(choice.name, choice.options) for choice in config.backends] == [
        ("cpu-int8", {}),
        ("int64", {}),
    ]


def test_a_config_without_backends_needs_the_option(load, message, tmp_path):
    (tmp_path / "c.yaml").write_text("workloads: {synthetic: {n: 1, d: 1, h: 1}}\n")
    assert [choice.name for choice in load(backends=["int64"]).backends] == ["int64"]
    assert message() == (
        "c.yaml:1:1: missing key 'backends'; expected a list of at least one backend"
    )


def test_an_unknown_backend(message):
    found = message(backends=["int64", "int46"])
    assert found.startswith("--backend int46: unknown backend 'int46'; did you mean 'int64'? (")


def test_a_class_in_a_file_starts_from_the_current_folder_or_from_the_configs(load, tmp_path):
    (tmp_path / "array.py").write_text(ARRAY)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.yaml").write_text(CONFIG + "output: out\n")
    by_option = load_config("sub/c.yaml", backends=["array.py:Array"])
    assert by_option.backends[0].load().name == "array"
    by_file = load_config("sub/c.yaml", ["backends=['../array.py:Array']"])
    assert (by_file.backends[0].name, by_file.backends[0].target) == (
        "../array.py:Array",
        "array.py:Array",
    )
    assert by_file.backends[0].load().name == "array"


def test_two_classes_of_one_name_are_an_error(load, message, tmp_path):
    (tmp_path / "array.py").write_text(ARRAY)
    (tmp_path / "copy.py").write_text(ARRAY)
    expected = "array.py:Array and copy.py:Array are both called 'array'; rename one"
    found = message("backends=[array.py:Array, copy.py:Array]")
    assert found.endswith(f"backends.1: {expected}")
    found = message(backends=["array.py:Array", "copy.py:Array"])
    assert found == f"--backend copy.py:Array: {expected}"


@pytest.mark.parametrize("again", ["{name: emulator, accumulator_bits: 32}", "{name: emulator}"])
def test_one_backend_twice_with_equal_options_is_an_error(message, again):
    assert "twice; expected different backends" in message(f"backends=[emulator, {again}]")


def test_one_backend_twice_with_different_options_is_right(load):
    assert len(load("backends=[emulator, {name: emulator, bits: 8}]").backends) == 2


PATHS = """\
workloads: [{bundle: one.safetensors}]
backends: [int64]
"""


@pytest.fixture
def apart(tmp_path, monkeypatch):
    """A config in one folder, and a working directory with other files of the same names."""
    inside, here = tmp_path / "configs", tmp_path / "here"
    for folder, n in ((inside, 2), (here, 3)):
        folder.mkdir()
        for name in ("one", "two"):
            operands = {"A": torch.ones(n, 4), "B": torch.ones(n, 4)}
            save_file(operands, folder / f"{name}.safetensors")
    (inside / "beside.safetensors").write_bytes((inside / "one.safetensors").read_bytes())
    (inside / "c.yaml").write_text(PATHS)
    (here / "array.py").write_text(ARRAY)
    monkeypatch.chdir(here)
    return lambda *overrides: load_config(inside / "c.yaml", overrides)


def test_paths_that_are_set_start_from_the_working_directory(apart):
    def rows(*overrides):
        return [gemm.n for gemm in apart(*overrides).gemms()]

    assert rows() == [2]
    assert rows("workloads.0.bundle=two.safetensors") == [3]
    assert rows("workloads=[{bundle: ./two.safetensors}]") == [3]
    assert rows("workloads.0.bundle=../configs/two.safetensors") == [2]
    assert rows("workloads.0.bundle=beside.safetensors") == [2]  # as the config means it
    (choice,) = apart("backends=[array.py:Array]").backends
    assert choice.load().name == "array"


def test_what_is_no_path_is_set_as_it_is(apart, tmp_path):
    (tmp_path / "here" / "int64").mkdir()
    (tmp_path / "here" / "out.1").mkdir()
    config = apart("backends=[int64]", "name=out.1", "output=out.1")
    assert [choice.name for choice in config.backends] == ["int64"]
    assert (config.name, str(config.output)) == ("out.1", "out.1")
