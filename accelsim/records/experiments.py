"""The records of ``accelsim eval`` and ``accelsim train``."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field, JsonValue

from accelsim.records.keyed import Keyed, RecordKey


class EvalRecord(Keyed):
    """The quality of a model under one treatment.

    Parameters
    ----------
    model, text_sha256 : str
        What was evaluated on what.
    treatment : dict
        What was done with its GEMMs.
    label : str
        The same for people.
    metric : str
        ``perplexity`` or ``cosine to float``.
    value : float or None
        The metric; None if it is not finite, or if the treatment failed.
    reason : str
        Why there is no value.
    seconds : float
        What the evaluation took, on the wall clock.
    tally : dict
        Counts of the integer GEMMs and of what stayed in floats; empty for other methods.
    storage : dict
        Bits per parameter of the quantized weights of linear layers under Huffman codes, and
        their entropy; empty for other methods.
    """

    model: str
    text_sha256: str
    treatment: dict[str, JsonValue]
    label: str
    metric: str
    value: float | None
    reason: str = ""
    seconds: float
    tally: dict[str, JsonValue]
    storage: dict[str, JsonValue]

    @property
    def key(self) -> RecordKey:
        """The treatment."""
        return (json.dumps(self.treatment, sort_keys=True),)

    @property
    def failed(self) -> bool:
        """Whether a product was inexact or the evaluation failed."""
        return bool(self.reason) or any(self.tally.get(key) for key in ("inexact", "overflows"))


class TrainRecord(Keyed):
    """One training run.

    Parameters
    ----------
    task : str
        ``gpt``, ``llama``, ``roberta``, ``t5`` or ``vit``.
    treatment : dict
        What was done with the model's GEMMs, forward and backward.
    label : str
        The same for people.
    seed : int
        Of the weights and of the order of the data.
    parameters : int
        Of the model.
    metric : str
        What `final` and `evaluations` are, on data that no step sees.
    final : float or None
        The metric after the last step; None if the run failed.
    losses : list
        ``[step, mean loss of the steps since the last entry]``.
    evaluations : list
        ``[step, metric]``.
    probes : list
        For steps that ran on a backend, one for each way to unpack: the step, the bits of the
        digits, the unpack ratio, the share of entries that do not fit one digit, and that share
        and the largest integer by kind of operand, of the forward and of the backward GEMMs.
    seconds : float
        On the wall clock, checkpoints and evaluations included.
    seconds_per_step : float or None
        The mean of the steps that were neither checked nor probed, without evaluations.
    reason : str
        Why a run failed.
    tally : dict
        Of all steps: multiplications in integers, not chosen, and those that stayed in floats, with
        the reasons; GEMMs checked and inexact, steps that overflowed; empty for other methods.
    checked_steps : list of int
        Steps whose integer products were compared with the oracle.
    weights_sha256 : str
        Of the weights after the last step.
    """

    task: str
    treatment: dict[str, JsonValue]
    label: str
    seed: int
    parameters: int
    metric: str
    final: float | None
    losses: list[list[float]]
    evaluations: list[list[float]]
    probes: list[dict[str, JsonValue]]
    seconds: float
    seconds_per_step: float | None = None
    reason: str = ""
    tally: dict[str, JsonValue] = Field(default_factory=dict)
    checked_steps: list[int] = Field(default_factory=list)
    weights_sha256: str = ""

    @property
    def key(self) -> RecordKey:
        """The treatment and the seed."""
        return training_key(self.treatment, self.seed)

    @property
    def failed(self) -> bool:
        """Whether the run did not come to its end, or an integer was wrong."""
        return bool(self.reason) or any(self.tally.get(key) for key in ("inexact", "overflows"))


def training_key(treatment: dict[str, Any], seed: int) -> RecordKey:
    """Return what tells a training run from others: the treatment and the seed."""
    return json.dumps(treatment, sort_keys=True), str(seed)
