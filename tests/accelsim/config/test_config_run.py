"""What a valid config gives: defaults, the sweep, the resolved form and its hash."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from accelsim import unpack
from accelsim.config import BackendChoice, load_config
from accelsim.errors import InputError
from accelsim.runner.cases import list_cases
from accelsim.settings import Unpacking
from accelsim.types import FUSED, PerOperand, Rounding, StrategyChoice
from workloads import Synthetic, write_bundle

both = PerOperand.both
MIX = StrategyChoice("mix")
MINIMAL = "workloads: {synthetic: {n: 4, d: 8, h: 3}}\nbackends: int64\n"
FULL = """\
name: everything
workloads:
  - bundle: data/tiny.safetensors
    gemms: "*.q"
  - synthetic:
      {n: 1, d: 2, h: 3, batch: 2, seed: 5, name: s,
       heavy_hitters: {fraction: 1e-3, scale: 50, where: columns}}
quantize: {percentile: [95, {a: 99.5, b: 100}], beta: {a: 255, b: 15}, granularity: [tensor, row],
           zero_alpha: nonzero}
unpack: {bits: [4, {a: 8, b: 4}], strategy: [mix, row/column], digits: [paper, balanced], block: 16}
backends: [int64, {name: emulator, bits: 4, overflow: saturate}]
baselines: fp32
k_split: never
timing: {repeats: 5, warmup: 0, prepared: b}
output: ../out
"""


@pytest.fixture
def load(tmp_path):
    (tmp_path / "data").mkdir()
    gemms = [Synthetic(n=2, d=3, h=4, name=name).gemm() for name in ("x.q", "x.k", "y.q")]
    write_bundle(tmp_path / "data" / "tiny.safetensors", gemms, {})

    def load(text, name="c.yaml"):
        (tmp_path / name).write_text(text)
        return load_config(tmp_path / name)

    return load


def test_defaults(load, tmp_path):
    config = load(MINIMAL, "minimal.yaml")
    assert config.name == "minimal"
    assert config.path == tmp_path / "minimal.yaml"
    assert config.output == Path("runs/minimal")
    assert config.quantize_points() == [both(Rounding(95, 15, "tensor", "error"))]
    assert config.unpack_points() == [Unpacking(both(8), "balanced", MIX, None)]
    assert config.backends == (BackendChoice("int64", {}, "int64"),)
    assert (config.baselines, config.k_split) == ((), "auto")
    assert (config.timing.repeats, config.timing.warmup, config.timing.prepared) == (20, 3, ())


def test_every_key(load, tmp_path):
    config = load(FULL)
    assert config.name == "everything"
    assert config.output == Path("../out")
    assert [gemm.id for gemm in config.gemms()] == ["tiny/x.q", "tiny/y.q", "synthetic/s"]
    percentiles = (both(95), PerOperand(99.5, 100))
    assert config.quantize_points() == [
        PerOperand(
            Rounding(percentile.a, 255, granularity, "nonzero"),
            Rounding(percentile.b, 15, granularity, "nonzero"),
        )
        for percentile in percentiles
        for granularity in ("tensor", "row")
    ]
    assert config.unpack_points() == [
        Unpacking(bits, digits, StrategyChoice(strategy), None)
        for bits in (both(4), PerOperand(8, 4))
        for strategy in ("mix", "row/column")
        for digits in ("paper", "balanced")
    ]
    assert [choice.options for choice in config.backends] == [
        {},
        {"bits": 4, "overflow": "saturate"},
    ]
    assert config.backends[1].load().options["overflow"] == "saturate"
    assert (config.baselines, config.k_split) == (("fp32",), "never")
    assert (config.timing.repeats, config.timing.warmup, config.timing.prepared) == (5, 0, ("b",))


def test_numbers_keep_their_plain_form(load):
    config = load(MINIMAL + "quantize: {beta: [15.0, 7.5, 1e2]}\n")
    assert [repr(point.a.beta) for point in config.quantize_points()] == ["15", "7.5", "100"]


@pytest.mark.parametrize("name", ["mine", "a/mine"])
def test_block_is_swept_only_for_strategies_that_use_it(load, monkeypatch, name):
    class Blocks(unpack.Strategy):
        name = "mine"
        uses_block = True

        def __init__(self, block=1):
            pass

        def unpack_head(self, a, b, head):
            raise NotImplementedError

    monkeypatch.setitem(unpack.registry.registry._registered, name, Blocks)
    config = load(MINIMAL + f"unpack: {{strategy: [{name}, mix], block: [16, 32], bits: [4, 8]}}\n")
    assert config.unpack_points() == [
        Unpacking(both(bits), "balanced", StrategyChoice(strategy), block)
        for bits in (4, 8)
        for strategy, block in ((name, 16), (name, 32), ("mix", None))
    ]


def test_points_are_listed_without_making_a_strategy(load, monkeypatch):
    config = load(MINIMAL + "unpack: {strategy: [block, {name: best}], block: [1, 2]}\n")

    def refuse(*arguments):
        raise AssertionError("a strategy was made")

    for strategy in (unpack.loading.Block, unpack.loading.Best):
        monkeypatch.setattr(strategy, "__init__", refuse)
    assert [point.block for point in config.unpack_points()] == [1, 2, 1, 2]


def test_a_strategy_with_options_is_a_value_in_either_spelling(load):
    text = "unpack: {{strategy: [mix, {}]}}\n"
    choice = StrategyChoice("optimal", {"time_limit_s": 0.5})
    for spelling in ("optimal(time_limit_s=0.5)", "{name: optimal, time_limit_s: 0.5}"):
        config = load(MINIMAL + text.format(spelling))
        assert config.unpack.strategy == (MIX, choice)
        assert config.to_dict()["unpack"]["strategy"] == ["mix", choice.to_record()]
        assert [case.fields["strategy"] for case in list_cases(config, config.gemms())] == [
            "mix",
            "optimal(time_limit_s=0.5)",
        ]
        assert config.strategy(choice).time_limit_s == 0.5
    with pytest.raises(InputError, match=r'found \{"name": "optimal", .* twice'):
        load(MINIMAL + text.format("optimal(time_limit_s=1), {name: optimal, time_limit_s: 1}"))


def test_fused_is_not_looked_up_among_strategies(load):
    config = load(MINIMAL + "unpack: {strategy: [mix, fused], block: [16, 32]}\n")
    assert [(point.strategy.name, point.block) for point in config.unpack_points()] == [
        ("mix", None),
        (FUSED, None),
    ]
    with pytest.raises(InputError, match="'fused' is a backend's own way"):
        config.strategy(StrategyChoice(FUSED))


def test_a_backend_is_made_once(load, tmp_path):
    (tmp_path / "array.py").write_text(
        "import gemm_backends\n"
        "class Counting(gemm_backends.GemmBackend):\n"
        "    name, bits = 'counting', 8\n"
        "    accumulator = gemm_backends.Accumulator(32, 'wrap')\n"
        "    made = []\n"
        "    def __init__(self, rows: int = 1):\n"
        "        self.made.append(rows)\n"
        "    def matmul(self, a, b):\n"
        "        return a.int() @ b.int().T\n"
    )
    entries = ", ".join(f"{{name: array.py:Counting, rows: {rows}}}" for rows in (1, 2, 3))
    config = load(MINIMAL.replace("int64", f"[{entries}]"))
    cases = list_cases(config, config.gemms())
    assert [case.backend.options["rows"] for case in cases] == [1, 2, 3]
    assert type(cases[0].backend).made == [1, 2, 3]


def test_gemms_with_the_same_name(load, tmp_path):
    with pytest.raises(InputError) as caught:
        load("backends: int64\nworkloads:\n" + "- bundle: data/tiny.safetensors\n" * 2)
    path = tmp_path / "c.yaml"
    assert str(caught.value).splitlines() == [
        "3 problems in the config:",
        *(
            f"{path}:4:3: workloads.1: GEMM 'tiny/{name}' appears twice; names must be unique"
            for name in ("x.q", "x.k", "y.q")
        ),
    ]


def test_a_bundle_may_be_split_over_entries(load):
    config = load(
        "backends: int64\nworkloads:\n"
        "- {bundle: data/tiny.safetensors, gemms: '*.q'}\n"
        "- {bundle: data/tiny.safetensors, gemms: ['*.k']}\n"
    )
    assert [gemm.name for gemm in config.gemms()] == ["x.q", "y.q", "x.k"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("backends: int64\nworkloads: []\n",
         "2:12: workloads: found []; expected a list of at least one workload"),
        ("backends: int64\nworkloads:\n",
         "2:11: workloads: found nothing; expected a list of at least one workload"),
        ("backends: int64\n",
         "1:1: missing key 'workloads'; expected a list of at least one workload"),
        ("workloads: {synthetic: {n: 1, d: 1, h: 1}}\nbackends: []\n",
         "2:11: backends: found []; expected a list of at least one backend"),
        ("workloads: {synthetic: {n: 1, d: 1, h: 1}}\n",
         "1:1: missing key 'backends'; expected a list of at least one backend"),
        ("workloads: {synthetic: {n: 1, d: 1, h: 1}}\nbackends: [int64, int64]\n",
         "2:19: backends.1: found 'int64' twice; expected different backends"),
        ("workloads: {bundle: data/tiny.safetensors, gemms: ['*.q', '*.qk']}\nbackends: int64\n",
         "1:59: workloads.gemms.1: {folder}/data/tiny.safetensors: no GEMM matches '*.qk'; "
         "it has: x.q, x.k, y.q"),
    ],
)  # fmt: skip
def test_what_is_missing_or_empty(load, tmp_path, text, expected):
    with pytest.raises(InputError) as caught:
        load(text)
    assert str(caught.value) == f"{tmp_path}/c.yaml:{expected.format(folder=tmp_path)}"


def test_every_problem_is_reported_once_in_order(load, tmp_path):
    with pytest.raises(InputError) as caught:
        load(
            "backends: [int46, int64]\n"
            "quantize: {beta: [0, 15], percentile: 0}\n"
            "workloads:\n"
            "  - synthetic: {n: -1, d: 8, h: 3}\n"
            "  - bundle: absent.safetensors\n"
            "unpack: {strategy: mixx, digits: papr, bits: 1}\n"
            "baselines: [fp31]\n"
            "backends: int64\n"
        )
    head, *found = str(caught.value).splitlines()
    assert head == "10 problems in the config:"
    assert [line.removeprefix(f"{tmp_path}/c.yaml:").split(": ")[0:2] for line in found] == [
        ["1:12", "backends.0"],
        ["2:19", "quantize.beta.0"],
        ["2:39", "quantize.percentile"],
        ["4:20", "workloads.0.synthetic.n"],
        ["5:13", "workloads.1.bundle"],
        ["6:20", "unpack.strategy"],
        ["6:34", "unpack.digits"],
        ["6:46", "unpack.bits"],
        ["7:13", "baselines.0"],
        ["8:1", "backends"],
    ]


def test_the_resolved_config_is_a_config_again(load):
    config = load(FULL)
    resolved = config.to_dict()
    assert json.loads(json.dumps(resolved)) == resolved
    again = load(yaml.safe_dump(resolved), "again.yaml")
    assert again.to_dict() == resolved
    assert again.config_hash == config.config_hash
    assert again.quantize_points() == config.quantize_points()
    assert again.unpack_points() == config.unpack_points()


def test_the_hash_ignores_output_and_spelling(load):
    one = load(MINIMAL + "name: x\noutput: here\nquantize: {beta: 15}\n")
    two = load(
        "output: there\nbackends:\n  - int64\nname: 'x'\ntiming: {warmup: 3}\n"
        "quantize: {beta: [{a: 15.0, b: 15}]}\n"
        "workloads: [{synthetic: {h: 3, d: 8, n: 4, seed: 0}}]\n"
    )
    assert one.output != two.output
    assert one.config_hash == two.config_hash


@pytest.mark.parametrize(
    "change",
    [
        "quantize: {beta: 16}",
        "k_split: never",
        "timing: {repeats: 5}",
        "baselines: fp32",
        "name: z",
    ],
)
def test_the_hash_notices_changes(load, change):
    assert load(f"{MINIMAL}{change}\n").config_hash != load(MINIMAL).config_hash


def test_the_hash_of_the_quickstart_is_the_same_in_every_process():
    path = Path(__file__).parents[3] / "configs" / "quickstart.yaml"
    config = load_config(path)
    assert len(config.gemms()) == 7
    assert config.config_hash == load_config(str(path)).config_hash


def test_options_that_are_paths_start_from_the_folder_of_the_config(tmp_path, monkeypatch):
    folder, elsewhere = tmp_path / "configs", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    np.save(folder / "products.npy", np.outer(np.arange(-8, 8), np.arange(-8, 8)))
    (folder / "own.py").write_text(
        "from collections.abc import Sequence\n"
        "from pathlib import Path\n"
        "from accelsim.unpack import load_strategy\n"
        "Row = type(load_strategy('row'))\n"
        "class Own(Row):\n"
        "    name = 'own'\n"
        "    def __init__(self, table: Path, others: Sequence[Path] = (), word: str = ''):\n"
        "        super().__init__('row', 'row')\n"
        "        self.found = table, *others, word\n"
    )
    (folder / "config.yaml").write_text(
        "workloads: {synthetic: {n: 4, d: 8, h: 3}}\n"
        "backends: [{name: emulator, bits: 4, multiplier: products.npy},\n"
        "           {name: emulator, bits: 4, multiplier: exact}]\n"
        "unpack:\n"
        "  bits: 4\n"
        "  strategy: {name: 'own.py:Own', table: t.txt, others: [u.txt, /v.txt], word: w.txt}\n"
    )
    monkeypatch.chdir(elsewhere)
    config = load_config(folder / "config.yaml")
    table, exact = (choice.load().options["multiplier"] for choice in config.backends)
    assert Path(table).resolve() == folder / "products.npy"
    assert exact == "exact"
    (strategy,) = (config.strategy(x.strategy, x.block) for x in config.unpack_points())
    found = [folder / "t.txt", folder / "u.txt", Path("/v.txt"), "w.txt"]
    assert list(strategy.found) == found


def test_profiles_that_operands_are_drawn_from_are_named(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "workloads: [{model: llama-2-7b}, {model: vit-l-16}, {bundle: smollm2}]\n"
        "backends: [emulator]\n"
    )
    assert load_config(path).profiles == ("that of SmolLM2-135M, which ships",)
    path.write_text("workloads: [{bundle: smollm2}]\nbackends: [emulator]\n")
    assert load_config(path).profiles == ()
