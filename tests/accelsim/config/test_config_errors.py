"""What is wrong with a config: one line each, with the place, what was found and what is right.

In the texts below » stands before the character that a message must point at.
"""

import inspect

import pytest

from accelsim.config import load_config
from accelsim.errors import InputError
from gemm_backends import backend_class

GOOD = """\
workloads:
  - synthetic: {n: 4, d: 8, h: 3}
backends: [int64]
"""

SYNTHETIC = "synthetic: {n: 1, d: 1, h: 1"
NATURAL = "a whole number, at least 0"
EACH = ", {a: ..., b: ...}, or a list of these"
BETA = f"a number above 0 and below 2^32{EACH}"
BITS = f"a whole number from 2 to 16{EACH}"
PERCENTILE = f"a number above 0 and at most 100{EACH}"
NAME = "text of letters, digits, spaces and . _ + -, beginning with a letter or digit"
GLOBS = "a list of at least one glob, such as '*.qk'"
TOP = (
    "accelerator, backends, baselines, k_split, name, output, plan, product, quantize, timing, "
    "unpack, workloads"
)


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Return a function that loads a config and compares its one problem."""

    def check(text, expected):
        before = text.partition("»")[0]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        (tmp_path / "c.yaml").write_text(text.replace("»", ""))
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError) as caught:
            load_config("c.yaml")
        found = str(caught.value)
        if expected.endswith("..."):
            found = found[: len(found.splitlines()[0])]
            assert found.startswith(f"c.yaml:{line}:{column}: {expected[:-3]}")
        else:
            assert found == f"c.yaml:{line}:{column}: {expected}"

    return check


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("»backend: x", f"backend: unknown key 'backend'; did you mean 'backends'? (known: {TOP})"),
        ("»nam: x", f"nam: unknown key 'nam'; did you mean 'name'? (known: {TOP})"),
        ("»5: x", f"5: unknown key '5' (known: {TOP})"),
        ("quantize: {»bta: 3}", "quantize.bta: unknown key 'bta'; did you mean 'beta'? "
         "(known: beta, granularity, percentile, tolerance, zero_alpha)"),
        ("quantize: »3", "quantize: found 3; expected a mapping"),
        ("quantize: »[]", "quantize: found []; expected a mapping"),
        ("quantize:»", "quantize: found nothing; expected a mapping"),
        ("quantize: {beta: »0}", f"quantize.beta: found 0; expected {BETA}"),
        ("quantize: {beta: »-1.5}", f"quantize.beta: found -1.5; expected {BETA}"),
        ("quantize: {beta: ».inf}", f"quantize.beta: found .inf; expected {BETA}"),
        ("quantize: {beta: »-.inf}", f"quantize.beta: found -.inf; expected {BETA}"),
        ("quantize: {beta: ».nan}", f"quantize.beta: found .nan; expected {BETA}"),
        ("quantize: {beta: »1e999}", f"quantize.beta: found .inf; expected {BETA}"),
        ("quantize: {beta: »fifteen}", f"quantize.beta: found 'fifteen'; expected {BETA}"),
        ("quantize: {beta: »'15'}", f"quantize.beta: found '15'; expected {BETA}"),
        ("quantize: {beta: »true}", f"quantize.beta: found true; expected {BETA}"),
        ("quantize: {beta:» }", f"quantize.beta: found nothing; expected {BETA}"),
        ("quantize: {beta: »[]}", f"quantize.beta: found []; expected {BETA}"),
        ("quantize: {beta: [»[15]]}", f"quantize.beta.0: found [15]; expected {BETA}"),
        ("quantize: {beta: [15, »0]}", f"quantize.beta.1: found 0; expected {BETA}"),
        ("quantize: {beta: {a: 15, b: »0}}", f"quantize.beta.b: found 0; expected {BETA}"),
        ("quantize: {beta: »{a: 15}}", f"quantize.beta: missing key 'b'; expected {BETA}"),
        ("quantize: {beta: [15, {a: 1, b: »x}]}", f"quantize.beta.1.b: found 'x'; expected {BETA}"),
        ("quantize: {beta: {a: 1, b: 1, »c: 1}}", "quantize.beta.c: unknown key 'c' (known: a, b)"),
        ("quantize: {beta: »[15, 31, 15.0]}",
         "quantize.beta: found 15 twice; expected different values"),
        ("quantize: {beta: »[{a: 1, b: 2}, {b: 2, a: 1}]}",
         'quantize.beta: found {"a": 1, "b": 2} twice; expected different values'),
        (f"quantize: {{beta: »{'9' * 400}}}",
         f"quantize.beta: found {'9' * 57}...; expected {BETA}"),
        ("quantize: {percentile: »0}", f"quantize.percentile: found 0; expected {PERCENTILE}"),
        ("quantize: {percentile: »100.1}",
         f"quantize.percentile: found 100.1; expected {PERCENTILE}"),
        ("quantize: {granularity: »rows}",
         "quantize.granularity: unknown value 'rows'; did you mean 'row'? (known: row, tensor)"),
        ("quantize: {zero_alpha: »3}", "quantize.zero_alpha: found 3; expected error or nonzero"),
        ("quantize: {zero_alpha: »[error]}",
         'quantize.zero_alpha: found ["error"]; expected error or nonzero'),
        ("unpack: {bits: »1}", f"unpack.bits: found 1; expected {BITS}"),
        ("unpack: {bits: »17}", f"unpack.bits: found 17; expected {BITS}"),
        ("unpack: {bits: »8.0}", f"unpack.bits: found 8.0; expected {BITS}"),
        ("unpack: {bits: {a: 8, b: »1}}", f"unpack.bits.b: found 1; expected {BITS}"),
        ("unpack: {strategy: »mixx}",
         "unpack.strategy: unknown strategy 'mixx'; did you mean 'mix'? (known: ..."),
        ("unpack: {strategy: [row, »row/colum]}", "unpack.strategy.1: unknown strategy "
         "'row/colum'; did you mean 'row/column'? (known: ..."),
        ("unpack: {strategy: »3}",
         "unpack.strategy: found 3; expected the name of a strategy, {name: ..., options}, or a "
         "list of these"),
        ("unpack: {digits: »balance}", "unpack.digits: unknown digit system 'balance'; "
         "did you mean 'balanced'? (known: balanced, paper)"),
        ("unpack: {block: [32, »0]}", "unpack.block.1: found 0; "
         "expected a whole number of columns, at least 1, or a list of these"),
        ("baselines: »fp33", "baselines: unknown baseline 'fp33'; did you mean 'fp32'?..."),
        ("baselines: »[fp32, fp32]", "baselines: found 'fp32' twice; expected different values"),
        ("baselines: [fp32, »16]",
         "baselines.1: found 16; expected a list of the names of baselines"),
        ("k_split: »always", "k_split: unknown value 'always' (known: auto, never)"),
        ("k_split: »1", "k_split: found 1; expected auto or never"),
        ("timing: {repeats: »0}", "timing.repeats: found 0; expected a whole number, at least 1"),
        ("timing: {warmup: »-1}", f"timing.warmup: found -1; expected {NATURAL}"),
        ("timing: {prepared: [a, »c]}", "timing.prepared.1: unknown value 'c' (known: a, b)"),
        ("output: »3", "output: found 3; expected the path of a folder, from the current folder"),
        ("output: »''", "output: found ''; expected the path of a folder, from the current folder"),
        ("name: »a/b", f"name: found 'a/b'; expected {NAME}"),
        ("name: »..", f"name: found '..'; expected {NAME}"),
        ("name: »3", f"name: found 3; expected {NAME}"),
        ("name: »\"a\\n\"", f"name: found 'a\\n'; expected {NAME}"),
    ],
)  # fmt: skip
def test_values(check, text, expected):
    check(GOOD + text, expected)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("»5", ": found 5; expected a mapping with one of the keys bundle, model, synthetic"),
        ("»[]", ": found []; expected a mapping with one of the keys bundle, model, synthetic"),
        ("»{}", ": found an empty mapping; expected one of the keys bundle, model, synthetic"),
        ("»bundel: x", ".bundel: unknown workload source 'bundel'; did you mean 'bundle'? "
         "(known: bundle, model, synthetic)"),
        ("»{bundle: x, synthetic: {}}", ": found bundle and synthetic; expected only one of them"),
        ("bundle: »x.safetensors", ".bundle: x.safetensors: there is no such file"),
        ("bundle: »3", ".bundle: found 3; expected the path of a .safetensors file, or the name "
            "of a shipped bundle"),
        ("bundle: »''", ".bundle: found ''; expected the path of a .safetensors file, or the name "
            "of a shipped bundle"),
        ("bundle: ».", ".bundle: .: is a folder; expected a .safetensors file"),
        ("bundle: »c.yaml", ".bundle: c.yaml: not a safetensors file: it claims a header of ..."),
        ("{bundle: x, »gems: '*'}",
         ".gems: unknown key 'gems'; did you mean 'gemms'? (known: bundle, dtype, gemms, tile)"),
        ("{bundle: x, gemms: »[]}", f".gemms: found []; expected {GLOBS}"),
        ("{bundle: x, gemms: [»3]}", f".gemms.0: found 3; expected {GLOBS}"),
        ("synthetic: »3",
         ".synthetic: found 3; expected a mapping such as {n: 256, d: 512, h: 256}"),
        ("synthetic: »{n: 1, d: 1}", f".synthetic: missing key 'h'; expected {NATURAL}"),
        ("synthetic: {n: 1, d: 1, h: »x}", f".synthetic.h: found 'x'; expected {NATURAL}"),
        ("synthetic: {n: 1, d: »-1, h: 1}", f".synthetic.d: found -1; expected {NATURAL}"),
        (f"{SYNTHETIC}, batch: »1.5}}", f".synthetic.batch: found 1.5; expected {NATURAL}"),
        (f"{SYNTHETIC}, seed: »-1}}",
         ".synthetic.seed: found -1; expected a whole number, at least 0 and below 2^64"),
        (f"{SYNTHETIC}, name: »''}}", ".synthetic.name: found ''; expected text"),
        (f"{SYNTHETIC}, »sead: 1}}", ".synthetic.sead: unknown key 'sead'; did you mean 'seed'? "
         "(known: batch, d, dtype, h, heavy_hitters, n, name, seed)"),
        (f"{SYNTHETIC}, heavy_hitters: »5}}", ".synthetic.heavy_hitters: found 5; "
         "expected a mapping such as {fraction: 0.001, scale: 50}"),
        (f"{SYNTHETIC}, heavy_hitters: {{fraction: »1.5, scale: 2}}}}",
         ".synthetic.heavy_hitters.fraction: found 1.5; expected a number from 0 to 1"),
        (f"{SYNTHETIC}, heavy_hitters: {{fraction: 1, scale: »0}}}}",
         ".synthetic.heavy_hitters.scale: found 0; expected a number above 0 and at most 1e30, "
         "or a list of two, the smaller first"),
        (f"{SYNTHETIC}, heavy_hitters: {{fraction: 1, scale: 2, where: »row}}}}",
         ".synthetic.heavy_hitters.where: unknown value 'row'; did you mean 'rows'? "
         "(known: columns, rows, scattered)"),
        ("synthetic: »{n: 1000000000, d: 1000000000, h: 2}",
         ".synthetic: synthetic GEMM 1000000000x1000000000x2: drawing its operands takes "
         "11,175,870,..."),
    ],
)  # fmt: skip
def test_workloads(check, entry, expected):
    check(f"backends: int64\nworkloads:\n  - {entry}\n", f"workloads.0{expected}")


PARAMETERS = sorted(
    set(inspect.signature(backend_class("emulator").__init__).parameters) - {"self"}
)
OPTIONS = f"(known: {', '.join(PARAMETERS)})"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("»emulater", ": unknown backend 'emulater'; did you mean 'emulator'? (known: ..."),
        ("»7", ": found 7; expected the name of a backend, or {name: ..., options}"),
        ("»[int64]", ': found ["int64"]; expected the name of a backend, or {name: ..., options}'),
        ("»{bits: 4}", ': found {"bits": 4}; expected the name...'),
        ("{name: »4}", ".name: found 4; expected the name of a backend, or {name: ..., options}"),
        ("{name: »emulater, bits: 4}", ".name: unknown backend 'emulater'; did you mean..."),
        ("{name: emulator, bits: 4, »bitz: 5}",
         f".bitz: backend 'emulator': unknown option 'bitz'; did you mean 'bits'? {OPTIONS}"),
        ("{name: emulator, accumulator_bits: 24, bits: »40}", ".bits: backend 'emulator': bits..."),
        ("{name: emulator, bits: 8, overflow: »saturat}", ".overflow: option 'overflow' of "
         "backend 'emulator' should be 'wrap', 'saturate' or 'error', got 'saturat'"),
        ("»absent.py:Array", ": backend file ..."),
        ("»broken.py:Array", ": ..."),
        ("»array.py", ": ..."),
        ("»array.py:Aray", ": ..."),
        ("{name: emulator, bits: [8, »x]}", ".bits.1: option 'bits' of backend..."),
        ("{name: array.py:Array, speed: »0}", ".speed: backend 'array' cannot be made: "
         "ZeroDivisionError: 'speed' is 0"),
        ("{name: array.py:Array, gain: ».nan}", ".gain: option 'gain' of backend 'array' is nan, "
         "which JSON cannot hold; expected text, finite numbers, true, false, null..."),
        ("»{name: int64}", ": found 'int64' twice; expected different backends"),
        ("»array.py:Odd", ": option 'shape' of backend 'odd' is <object..."),
    ],
)  # fmt: skip
def test_backends(check, tmp_path, entry, expected):
    (tmp_path / "broken.py").write_text("raise RuntimeError('broken')")
    (tmp_path / "array.py").write_text(ARRAY)
    workload = "workloads: {synthetic: {n: 4, d: 8, h: 3}}"
    check(f"{workload}\nbackends:\n  - int64\n  - {entry}\n", f"backends.1{expected}")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{name: lanes.py:Lanes, width: »x}",
         ".width: option 'width' of strategy 'lanes.py:Lanes' should be a valid integer, got 'x'"),
        ("{name: lanes.py:Lanes, width: »0}",
         ".width: strategy 'lanes.py:Lanes': width must be positive"),
        ("{name: lanes.py:Lanes, width: 1, »widht: 1}",
         ".widht: strategy 'lanes.py:Lanes': unknown option..."),
        ("{name: »lanes.py:Lane, width: 1}", ".name: ..."),
        ("»lanes.py:Lanes", ": strategy 'lanes.py:Lanes' needs the option 'width'"),
        ("»lanes.py:Lanes(width=x)", ": expected NAME or NAME(KEY=VALUE, ...), got..."),
        ("»lanes.py:Free(x={1})", ": option 'x' of strategy 'lanes.py:Free' is {1}, which JSON..."),
        ("»broken.py:Lanes", ": ..."),
        ("{name: »row, width: 1}", ".name: strategy 'row' takes no options"),
        ("{name: »fused, width: 1}", ".name: strategy 'fused' takes no options"),
        ("»{width: 1}", ': found {"width": 1}; expected the name of a strategy, {name: ..., ...'),
    ],
)  # fmt: skip
def test_strategies(check, tmp_path, entry, expected):
    (tmp_path / "broken.py").write_text("raise RuntimeError('broken')")
    (tmp_path / "lanes.py").write_text(LANES)
    check(GOOD + f"unpack:\n  strategy:\n  - mix\n  - {entry}\n", f"unpack.strategy.1{expected}")


LANES = """
from accelsim.unpack import Strategy

class Lanes(Strategy):
    name = "lanes"

    def __init__(self, width: int):
        if width < 1:
            raise ValueError("width must be positive")

    def unpack_head(self, a, b, head): ...

class Free(Lanes):
    def __init__(self, x=None): ...
"""


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{source: random.py:Random, random: »0}",
         ".random: found 0; expected a number of rows, at least 1"),
        ("{source: random.py:Random, »rows: 1, random: 1}", ".rows: unknown key 'rows'..."),
        ("{source: »random.py:Randon, random: 1}", ".source: ..."),
        ("{source: »broken.py:Random, random: 1}", ".source: ..."),
        ("{source: »random, random: 1}",
         ".source: found 'random'; expected path/to/file.py:ClassName"),
        ("{source: random.py:Random, random: »13}", ".random: cannot be opened: KeyError: 13"),
    ],
)  # fmt: skip
def test_workloads_of_a_file(check, tmp_path, entry, expected):
    (tmp_path / "broken.py").write_text("raise RuntimeError('broken')")
    (tmp_path / "random.py").write_text(RANDOM)
    check(f"backends: int64\nworkloads:\n  - {entry}\n", f"workloads.0{expected}")


RANDOM = """
from typing import ClassVar
from pydantic import Field
from workloads import Synthetic, WorkloadSource

class Random(WorkloadSource):
    key: ClassVar[str] = "random"
    random: int = Field(ge=1, description="a number of rows, at least 1")

    def open(self, folder):
        if self.random == 13:
            raise KeyError(13)
        return [Synthetic(n=self.random, d=3, h=2).gemm()]
"""


ARRAY = """
from gemm_backends import Accumulator, GemmBackend

class Array(GemmBackend):
    name = "array"
    bits = 8
    accumulator = Accumulator(32, "wrap")

    def __init__(self, speed: int = 1, gain: float = 1.0):
        if speed == 0:
            raise ZeroDivisionError("'speed' is 0")

    def matmul(self, a, b):
        return a.int() @ b.int().mT

class Odd(Array):
    name = "odd"

    def __init__(self, shape=object()): ...
"""
