"""The emulator against simulated hardware, bit for bit, and faulty hardware that must be caught.

Nothing here is skipped: where a tool is missing, the tests fail.
"""

import pytest

from accelsim.plugins.extras import how_to_install
from gemm_backends import load_backend
from gemm_backends.rtl import bench, mutants, proof, tools

FAST = [part for part in proof.PARTS if part.name != "costed netlists, CXXRTL"]
"""That one takes long to compile; test_area_table.py runs a little of it."""


@pytest.fixture(scope="module")
def outcomes():
    return {outcome.name: outcome for outcome in proof.prove(FAST)}


def test_what_is_built_once_lies_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELSIM_CACHE", str(tmp_path))
    file = tools.generated("module m; endmodule\n")
    assert file.is_relative_to(tmp_path / "rtl")
    assert file.read_text() == "module m; endmodule\n"
    assert tools.generated("module m; endmodule\n") == file


@pytest.mark.parametrize("part", [part.name for part in FAST])
def test_the_emulator_equals_the_hardware(outcomes, part):
    outcome = outcomes[f"rtl: {part}"]
    assert outcome.status == "passed", outcome.detail
    assert any(word in outcome.detail for word in ("exhausted", "sampled", "equal", "caught"))


def test_a_fault_that_no_comparison_shows_is_reported(monkeypatch):
    harmless = mutants.Mutant(
        "none", "multiplier", "product = Correction;", "product = Correction; "
    )
    faults = [mutants.MULTIPLIERS[0], harmless]
    escaped = list(proof._escaped(faults, lambda top: bench.multiplier(4, 4, 4, top)))
    assert escaped == ["none (multiplier)"]


def test_a_mutant_whose_source_has_changed_is_an_error():
    with pytest.raises(ValueError, match=r"multiplier.sv has 'no such text' 0 times"):
        mutants.Mutant("none", "multiplier", "no such text", "").text()


def test_an_emulator_that_is_wrong_is_caught(monkeypatch):
    """The comparison looks at the emulator, not only at the hardware."""
    from gemm_backends.emulator import stepwise

    right = stepwise.step

    def one_state_wrong(state, addend, accumulator):
        result, overflowed = right(state, addend, accumulator)
        return result + ((state == 5) & (addend == 3)), overflowed

    monkeypatch.setattr(stepwise, "step", one_state_wrong)
    part = next(part for part in proof.PARTS if part.name == "steps")
    outcome = proof.run_part(part)
    assert outcome.status == "failed"
    assert "differ, first for 5 and 3: hardware 8, emulator 9" in outcome.detail


def test_a_source_that_verilator_refuses(tmp_path):
    broken = tmp_path / "broken.sv"
    broken.write_text("module systolic_array(input logic clk; endmodule\n")
    backend = load_backend("rtl-systolic", bits=4, source=str(broken))
    with pytest.raises(tools.ToolError, match=r"Verilator on broken.sv failed:\n.*broken.sv:1:"):
        backend.multiply(*_ones())


def test_missing_tools_are_named(monkeypatch):
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(tools.shutil, "which", lambda name: None)
    words = tools.missing()
    assert f"verilator and pyosys is missing: {how_to_install('rtl')}" in words
    assert "perl and a C++ compiler (g++ or clang++) must be installed" in words
    assert not load_backend("rtl-systolic").availability().available
    assert "pyosys" not in load_backend("rtl-systolic").availability().reason


@pytest.mark.parametrize("flag", ["--rtl", "--area"])
def test_verify_says_what_is_missing_before_it_checks_anything(flag, monkeypatch, capsys):
    from accelsim.cli import main
    from gemm_backends import conformance

    monkeypatch.setattr(tools, "missing", lambda verilator=True: "the moon is missing")
    monkeypatch.setattr(conformance, "verify", lambda *given: pytest.fail("it checked"))
    with pytest.raises(SystemExit) as stopped:
        main(["verify", "emulator", flag])
    assert stopped.value.code == 2
    assert capsys.readouterr() == ("", f"accelsim: {flag} cannot run: the moon is missing\n")


def _ones():
    import torch

    return torch.ones(2, 3, dtype=torch.int8), torch.ones(2, 3, dtype=torch.int8)
