"""The key ``accelerator`` of a config of a run."""

import pytest

from accelsim.config import load_config
from accelsim.errors import InputError
from gemm_backends.cost.accelerators import accelerator_options

HEAD = "workloads: [{synthetic: {n: 8, d: 8, h: 8}}]\n"


@pytest.fixture
def load(tmp_path):
    def of(text, *options, **more):
        path = tmp_path / "run.yaml"
        path.write_text(HEAD + text)
        return load_config(path, *options, **more)

    return of


def test_a_name_stands_for_the_emulator_with_all_that_the_file_says(load, tmp_path):
    (choice,) = load("accelerator: tpu-v1\n").backends
    assert choice.name == "emulator"
    assert choice.options == accelerator_options("tpu-v1", tmp_path)
    assert "24576" in str(load("accelerator: tpu-v1\n").to_dict()["backends"])


def test_accelerators_come_after_the_backends(load, tmp_path):
    (tmp_path / "mine.yaml").write_text("array: [4, 4]\n")
    config = load("backends: int64\naccelerator: [edge, mine.yaml]\n")
    assert [choice.name for choice in config.backends] == ["int64", "emulator", "emulator"]
    assert config.backends[2].options == {"array": [4, 4]}
    assert len(load("accelerator: edge\n", backends=("emulator",)).backends) == 1


def test_resolved_configs_load_again(load, tmp_path):
    first = load("accelerator: edge\n").to_dict()
    again = load(f"backends: {first['backends']}\n".replace("'", "").replace("True", "true"))
    assert again.to_dict()["backends"] == first["backends"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "accelerator: edgy\n",
            r"run.yaml:2:14: .*accelerator 'edgy'; did you mean 'edge'",
        ),
        ("accelerator: [edge, 3]\n", "run.yaml:2:21: "),
        ("accelerator: [edge, edge]\n", "run.yaml:2:"),
        ("accelerator: [edge, none.yaml]\n", r"run.yaml:2:21: .*none.yaml.* cannot be read"),
        ("accelerator: small.yaml\n", r"small.yaml:1:19: .*an SRAM has from 2 to 32768 KB, got 1"),
        ("accelerator: odd.yaml\n", r"odd.yaml:1:1: .*unknown option 'arrays'"),
        ("accelerator: twice.yaml\n", r"twice.yaml:2:1: .*duplicate key 'array'"),
        (
            "accelerator: deep.yaml\n",
            r"deep.yaml:2:35: .*dram must be a positive number of bytes per cycle, got -1",
        ),
        ("accelerator: broken.yaml\n", r"run.yaml:2:14: .*is no YAML: .*broken.yaml:2:1: "),
        ("accelerator: []\n", "backends"),
    ],
)
def test_what_is_wrong_is_shown_where_it_stands(load, tmp_path, text, message):
    (tmp_path / "small.yaml").write_text("memory: {sram_kb: 1}\n")
    (tmp_path / "odd.yaml").write_text("arrays: [4, 4]\n")
    (tmp_path / "twice.yaml").write_text("array: [4, 4]\narray: [8, 8]\n")
    (tmp_path / "deep.yaml").write_text("memory:\n  {sram_kb: 64, bandwidth: {dram: -1}}\n")
    (tmp_path / "broken.yaml").write_text("array: [4\n")
    with pytest.raises(InputError, match=message):
        load(text)


@pytest.mark.parametrize("names", ["edgy", "[edgy]", "[edge, edgy]", "none.yaml", "3"])
def test_a_name_that_is_wrong_is_the_only_problem(load, names):
    """Backends are not missing where the accelerator that is to be one is misspelt."""
    with pytest.raises(InputError) as caught:
        load(f"accelerator: {names}\n")
    assert "backends" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_no_option_is_suggested_that_is_not_near(load):
    with pytest.raises(InputError, match=r"unknown option 'clock_mhz' \(known: accumulator_bits, "):
        load("backends: [{name: emulator, clock_mhz: 500}]\n")


MEMORY = """
workloads: [{{synthetic: {{n: 8, d: 8, h: 8}}}}]
unpack: {{bits: {bits}}}
backends:
  - name: emulator
    array: [8, 8]
    memory:
      sram_kb: {{a: {size}, b: 4, c: 4}}
      {key}: {value}
"""


@pytest.mark.parametrize(
    ("bits", "size", "key", "value", "message"),
    [
        (8, 4, "bandwith", "{dram: 4}", r":8:7: backends.0.memory.bandwith: unknown key of memory"),
        (8, 1, "word_bits", 8, r":7:20: backends.0.memory.sram_kb.a: .* an SRAM has from 2"),
        (8, 4, "word_bits", 0, r":8:18: backends.0.memory.word_bits: .* from 1 to 64"),
        (8, 4, "word_bits", 7, r":8:18: backends.0.memory.word_bits: a word of 7 bits does not"),
        (8, 4, "bandwidth", "{dram: -1}", r":8:25: backends.0.memory.bandwidth.dram: "),
        (
            "[4, 8]",
            4,
            "mapping",
            "{tile: {n: 64, d: 64, h: 8}, order: [h, n, d]}",
            r":8:23: backends.0.memory.mapping.tile: .*4096 bytes of A do not fit .*room for 2048",
        ),
        (8, 4, "mapping", "{search: time}", r":8:25: backends.0.memory.mapping.search: "),
    ],
)
def test_what_is_wrong_with_a_memory_has_its_own_place(tmp_path, bits, size, key, value, message):
    path = tmp_path / "run.yaml"
    path.write_text(MEMORY.format(bits=bits, size=size, key=key, value=value).lstrip())
    with pytest.raises(InputError, match=message):
        load_config(path)


@pytest.mark.parametrize(
    ("dataflow", "array", "fits", "small", "what"),
    [
        ("output-stationary", "[1024, 4]", "8", "16", "2,048 bytes of A"),
        ("weight-stationary", "[4, 256]", "8", "9", None),
        ("weight-stationary", "[4, 256]", "8", "accumulator_bits: 33", "1,056 bytes of C"),
        ("input-stationary", "[1024, 4]", "8", "16", "2,048 bytes of B"),
    ],
)
def test_an_sram_holds_what_the_array_takes_in_a_clock(
    tmp_path, dataflow, array, fits, small, what
):
    """Half of 2 KB holds 1024 bytes, and not one more."""
    path = tmp_path / "run.yaml"

    def write(bits, accumulator="32"):
        path.write_text(
            "workloads: [{synthetic: {n: 8, d: 8, h: 8}}]\n"
            f"unpack: {{bits: {bits}}}\n"
            "backends:\n"
            f"  - {{name: emulator, array: {array}, dataflow: {dataflow},\n"
            f"     accumulator_bits: {accumulator}, memory: {{sram_kb: 2}}}}\n"
        )
        return load_config(path)

    write(fits)
    bits, _, accumulator = small.partition("accumulator_bits: ")
    if what is None:
        write(bits)
        return
    message = rf":5:4\d: backends.0.memory.sram_kb.*2 KB is too small .* half of it .* {what} that"
    with pytest.raises(InputError, match=message):
        write(bits or fits, accumulator or "32")


def test_a_tile_that_fits_at_the_widths_asked_for(tmp_path):
    path = tmp_path / "run.yaml"
    tile = "{tile: {n: 64, d: 64, h: 8}, order: [h, n, d]}"
    text = MEMORY.format(bits="[2, 4]", size=4, key="mapping", value=tile)
    path.write_text(text.lstrip())
    assert load_config(path).backends[0].options["memory"]["mapping"]["order"] == ["h", "n", "d"]
