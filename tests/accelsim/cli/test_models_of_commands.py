"""What `tune`, `sensitivity` and `eval` say of a model that they do not take, before any extra."""

import pytest
from click.testing import CliRunner

from accelsim.cli import eval as evaluating
from accelsim.cli import sensitivity, tune
from accelsim.errors import InputError
from accelsim.tuning.opening import check_model

EVAL = """\
model: {model}
treatments: [{{method: float}}]
"""


@pytest.fixture
def without_extras(monkeypatch):
    """No library of an extra is installed."""

    def need(module, extra):
        raise InputError(f"{module} is missing")

    for module in (tune, sensitivity, evaluating):
        monkeypatch.setattr(module, "need", need)


def refusal(module, *arguments):
    done = CliRunner().invoke(module.command, arguments)
    assert isinstance(done.exception, InputError), done.output
    return str(done.exception)


def test_a_target_is_read_before_an_extra_is_asked_for(without_extras):
    message = refusal(tune, "minilm-l6", "--target", "loss 1%")
    assert message.startswith("target: found 'loss 1%'; expected 'perplexity +0.5%', ")
    assert refusal(tune, "minilm-l6", "--target", "cosine 0.9") == "transformers is missing"


def test_a_module_is_refused_with_what_takes_it(without_extras, tmp_path):
    config = tmp_path / "eval.yaml"
    config.write_text(EVAL.format(model="mine.py:model"))
    for message in (
        refusal(tune, "mine.py:model", "--target", "cosine 0.9"),
        refusal(sensitivity, "mine.py:model"),
        refusal(evaluating, str(config)),
    ):
        assert "mine.py:model: expected the name of a model (smollm2-135m, minilm-l6" in message
        assert "for a module of your own use accelsim.integer_gemms" in message


@pytest.mark.parametrize("option", ["--tokens", "--windows"])
def test_what_a_model_that_is_trained_here_does_not_read_is_refused_first(option, without_extras):
    for module, target in ((sensitivity, ()), (tune, ("--target", "loss +1% after 4 steps"))):
        message = refusal(module, "gpt-small", *target, option, "16")
        assert message == f"{option}: gpt-small reads no text"
        assert refusal(module, "gpt-small", *target) == "transformers is missing"


def test_names_that_can_be_examined(tmp_path):
    for name in ("minilm-l6", "gpt-small", str(tmp_path)):
        check_model(name)
    with pytest.raises(InputError, match=r"unknown model 'gtp-small'.*gpt-small.*a local folder"):
        check_model("gtp-small")
    with pytest.raises(InputError, match=r"llama-2-7b is .* alone; models with weights"):
        check_model("llama-2-7b")
    with pytest.raises(InputError, match=r"a\.py:m: expected .*, gpt-small, vit-digits\) or of a"):
        check_model("a.py:m")
