"""What long runs of `accelsim train` need: the same weights again, resuming, checks, choosing."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from click.testing import CliRunner

from accelsim.cli.train import command
from accelsim.errors import InputError
from accelsim.parity import steps
from accelsim.parity.configs import load_train_config
from accelsim.parity.repeatable import repeatable, weights_hash
from accelsim.parity.training import checkpoint_of, make_task

CONFIG = """
task: gpt
batch: 2
context: 8
width: 16
layers: 1
heads: 2
steps: 4
evaluate_every: 2
seeds: [0, 1]
treatments:
  - {method: float}
  - {beta: {default: 31, gradients: 1023}}
  - {beta: 15, seeds: 1}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(CONFIG)
    return path


def run(config, output, *options):
    arguments = [str(config), "--output", str(output), *options]
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def records(folder):
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def test_two_identical_commands_give_identical_weights(config, tmp_path):
    both = []
    for name in ("one", "two"):
        run(config, tmp_path / name, "--seed", "1")
        both.append(
            {(r["label"], r["seed"]): r["weights_sha256"] for r in records(tmp_path / name)}
        )
    assert both[0] == both[1]
    assert len(set(both[0].values())) == len(both[0]) == 3, "every run ends with weights of its own"


def test_the_hash_tells_any_weight():
    model = torch.nn.Linear(3, 2)
    before = weights_hash(model)
    with torch.no_grad():
        model.weight[1, 2] += 1e-7
    assert weights_hash(model) != before


def test_a_run_that_is_killed_and_resumed_ends_with_the_same_weights(config, tmp_path):
    options = ["--set", "steps=24", "--set", "seeds=0", "--set", "treatments=[{beta: 31}]"]
    run(config, tmp_path / "whole", *options)
    arguments = [sys.executable, "-m", "accelsim", "train", str(config)]
    arguments += ["--output", str(tmp_path / "cut"), *options]
    # The order of sums depends on the number of threads.
    threads = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=threads)
    last = random.randrange(2, 18, 2)
    for line in process.stderr:
        if f"step {last}/24" in line:
            break
    time.sleep(random.random() / 20)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was killed before its end"
    result = run(config, tmp_path / "cut", "--resume", *options)
    assert "going on after step" in result.stderr
    (whole,), (cut,) = records(tmp_path / "whole"), records(tmp_path / "cut")
    times = ("seconds", "seconds_per_step")
    assert {k: v for k, v in cut.items() if k not in times} == {
        k: v for k, v in whole.items() if k not in times
    }


def test_runs_are_chosen_and_added_to_one_folder(config, tmp_path):
    out = tmp_path / "out"
    run(config, out, "--treatment", "2", "--seed", "0")
    run(config, out, "--treatment", "3", "--resume")
    run(config, out, "--resume")
    found = [(r["seed"], r["treatment"].get("beta")) for r in records(out)]
    both = {"default": 31.0, "gradients": 1023.0}
    assert [seed for seed, _ in found] == [0, 1, 0, 1, 1]
    assert found[1] == (1, 15.0), "seeds of its own"
    assert [beta for _, beta in found].count(both) == 2
    for options, message in (
        (["--treatment", "4"], "--treatment 4: the config has 3 treatments"),
        (["--seed", "7"], "--seed 7: the config has 0, 1"),
    ):
        with pytest.raises(InputError, match=message):
            run(config, tmp_path / "new", *options)


def test_products_of_random_steps_are_compared_with_the_oracle(config, tmp_path):
    options = ["--seed", "0", "--set", "check_steps=2", "--set", "steps=6"]
    run(config, tmp_path / "checked", *options)
    run(config, tmp_path / "plain", "--seed", "0", "--set", "steps=6")
    floats, integers = records(tmp_path / "checked")
    assert floats["checked_steps"] == []
    assert len(integers["checked_steps"]) == 2
    tally = integers["tally"]
    assert tally["inexact"] == 0
    assert tally["checked"] == 2 * 21, "all products of two steps"
    assert integers["weights_sha256"] == records(tmp_path / "plain")[1]["weights_sha256"]
    assert integers["seconds_per_step"] < integers["seconds"]


def test_a_wrong_integer_in_a_checked_step_fails_the_run(config, tmp_path):
    (tmp_path / "wrong.py").write_text(
        "from gemm_backends import Accumulator, GemmBackend\n"
        "class Wrong(GemmBackend):\n"
        "    name, bits, accumulator = 'off-by-one', 8, Accumulator(32, 'wrap')\n"
        "    def matmul(self, a, b): return a.int() @ b.int().mT + 1\n"
    )
    options = ["--set", "treatments=[{beta: 31, backend: 'wrong.py:Wrong'}]", "--set", "seeds=0"]
    assert run(config, tmp_path / "unseen", *options).return_value == 0
    seen = run(config, tmp_path / "seen", *options, "--set", "check_steps=1")
    assert seen.return_value == 1
    (record,) = records(tmp_path / "seen")
    assert record["tally"]["inexact"] == record["tally"]["checked"] == 21


def test_a_probe_at_several_widths(config, tmp_path):
    probe = "probe={every: 2, backend: int64, bits: [4, 8]}"
    run(config, tmp_path / "probed", "--treatment", "2", "--seed", "0", "--set", probe)
    run(config, tmp_path / "plain", "--treatment", "2", "--seed", "0")
    (probed,), (plain,) = records(tmp_path / "probed"), records(tmp_path / "plain")
    assert probed["weights_sha256"] == plain["weights_sha256"]
    assert [(p["step"], p["bits"]) for p in probed["probes"]] == [(0, 4), (0, 8), (2, 4), (2, 8)]
    narrow, wide = probed["probes"][:2]
    assert narrow["backward_ratio"] > wide["backward_ratio"] >= 1
    assert set(narrow["forward_largest"]) == {"weights", "activations", "attention"}
    assert set(narrow["backward_largest"]) == {"weights", "activations", "attention", "gradients"}
    assert narrow["backward_largest"] == wide["backward_largest"]
    assert narrow["backward_largest"]["gradients"] > 1023 / 2, "beyond the percentile"
    by_kind = narrow["backward_out_of_bound_by_kind"]
    assert by_kind["gradients"] > wide["backward_out_of_bound_by_kind"]["gradients"] > 0.5
    assert min(by_kind.values()) < narrow["backward_out_of_bound"] < max(by_kind.values())


def test_a_probe_whose_widths_disagree_fails_the_run(config, tmp_path, monkeypatch):
    losses = iter([1.0, 2.0])
    backward = steps.Run.backward

    def different(self, mode=None):
        found = backward(self, mode)
        return next(losses) if getattr(mode, "watch", None) else found

    monkeypatch.setattr(steps.Run, "backward", different)
    probe = "probe={every: 2, backend: int64, bits: [4, 8]}"
    run(config, tmp_path / "out", "--treatment", "2", "--seed", "0", "--set", probe)
    (record,) = records(tmp_path / "out")
    assert record["reason"] == "step 0: the loss depends on how integers are unpacked: [1.0, 2.0]"


def test_floats_and_integers_differ_in_nothing_but_the_gemms(config, tmp_path):
    """With β so large that nothing is lost by rounding the curve is that of floats."""
    large = "treatments=[{method: float}, {beta: 4294967295}, {beta: 31}]"
    run(config, tmp_path / "out", "--set", large, "--set", "seeds=0", "--set", "steps=6")
    floats, fine, coarse = (
        torch.tensor([r["losses"], r["evaluations"]], dtype=torch.float64)
        for r in records(tmp_path / "out")
    )
    torch.testing.assert_close(fine, floats, rtol=2e-6, atol=0)
    assert (coarse - floats).abs().max() > 1e-3


def test_bf16_beside_floats(config, tmp_path):
    options = ["--set", "treatments=[{method: float}, {method: bf16}]", "--set", "seeds=0"]
    result = run(config, tmp_path / "out", *options, "--format", "json")
    rows = json.loads(result.stdout)
    assert [row["treatment"] for row in rows] == ["float", "bf16"]
    assert 0 < abs(rows[1]["minus float"]) < 0.05


def test_checkpoints_are_kept_if_that_is_wanted(config, tmp_path):
    run(config, tmp_path / "out", "--seed", "0", "--treatment", "1", "--set", "keep=true")
    (record,) = records(tmp_path / "out")
    state = torch.load(checkpoint_of(tmp_path / "out", record["treatment"], 0), weights_only=True)
    assert state["curves"]["step"] == 4
    # It is taken up, not trained again.
    result = run(config, tmp_path / "out", "--resume", "--treatment", "1", "--set", "keep=true")
    assert "going on" not in result.stderr


def test_on_a_gpu_everything_has_an_order(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with repeatable("cpu"):
        assert not torch.are_deterministic_algorithms_enabled()
    with repeatable("cuda:1"):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_learning_rate_rises_over_the_first_steps(config):
    sections = load_train_config(config, ["warmup=4", "learning_rate=0.008"]).sections
    made = steps.Run(make_task(sections), sections, load_train_config(config).treatments[0], 0)
    rates = []
    for step in range(6):
        made.curves["step"] = step
        made.backward()
        made._update()
        rates.append(made._optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.008, 0.008])


def test_text_is_learnt_by_all_models(config, tmp_path):
    pytest.importorskip("transformers", reason="needs accelsim[models]")
    for task in ("roberta", "t5"):
        options = ["--set", f"task={task}", "--set", "seeds=0", "--set", "steps=2"]
        run(config, tmp_path / task, *options, "--treatment", "2")
        (record,) = records(tmp_path / task)
        assert record["tally"]["coverage"] == 1
        assert record["task"] == task


def test_the_seeds_of_a_treatment_are_part_of_the_config(config):
    plain, other = (load_train_config(config, [f"treatments.2.seeds={n}"]) for n in (1, 0))
    assert plain.seeds == (None, None, (1,))
    assert plain.config_hash != other.config_hash
