"""The records of ``accelsim sensitivity`` and ``accelsim tune``."""

from __future__ import annotations

from pydantic import JsonValue, NonNegativeInt

from accelsim.records.keyed import Keyed, RecordKey, canonical_json

PERPLEXITY, COSINE, ACCURACY, LOSS = "perplexity", "cosine to float", "accuracy", "loss"
"""What plans may have to keep."""


class SensitivityRecord(Keyed):
    """The effect of one kind of operand of one place of a model in integers, all else in floats.

    Parameters
    ----------
    model, text_sha256 : str
        What was examined, on what text.
    gemm, op, kind : str
        The place of the GEMMs, their op, and which of their operands were rounded.
    sides : list of str
        ``a``, ``b`` or both: the operands of this kind.
    batch, n, d, h : int
        The shape of the place's first GEMM.
    beta, percentile, granularity
        How they were rounded.
    loss : float
        Cross-entropy beyond that of floats, in nats a token; for an encoder, one minus the cosine.
    divergence : float
        The Kullback-Leibler divergence of the predictions from those of floats, in nats a token;
        for an encoder as `loss`; in training the square of the error of all gradients, relative to
        that of the gradients.
    local_error : float
        The Frobenius norm of the change of the place's products over that of the products.
    ratio : dict
        For each number of bits, as text: the unpack ratio where the other operand fits one digit,
        from a sample of rows; of two operands of one kind the product of both.
    out_of_bound : dict
        For each number of bits: the share of entries beyond one digit.
    seconds : float
        What the measurement took.
    """

    model: str
    text_sha256: str
    gemm: str
    op: str
    kind: str
    sides: list[str]
    batch: NonNegativeInt
    n: NonNegativeInt
    d: NonNegativeInt
    h: NonNegativeInt
    beta: float
    percentile: float
    granularity: str
    loss: float
    divergence: float
    local_error: float
    ratio: dict[str, float]
    out_of_bound: dict[str, float]
    seconds: float

    @property
    def key(self) -> RecordKey:
        """The place, the kind and β."""
        return sensitivity_key(self.gemm, self.kind, self.beta)

    @property
    def macs(self) -> int:
        """Multiplications of the place's first GEMM."""
        return self.batch * self.n * self.d * self.h


def sensitivity_key(gemm: str, kind: str, beta: float) -> RecordKey:
    """Return what tells the record of a place, a kind and a β from others."""
    return gemm, kind, canonical_json(beta)


class TuneRecord(Keyed):
    """A plan that was verified.

    Parameters
    ----------
    model, text_sha256 : str
        What was evaluated, on what text.
    label : str
        How the plan came about.
    plan : dict
        The plan, as its file has it.
    plan_sha256 : str
        See `accelsim.config.plans.Plan.hash`.
    target : str
        What was asked for.
    predicted : float or None
        The sum of the errors of its operands, each alone; None for a plan that was not predicted.
    metric : str
        ``perplexity``, ``cosine to float``, ``accuracy`` or, of training, ``loss``.
    floats, tuned, held_out : float
        The metric of floats and of the plan on what the search uses, and of the plan on what it
        does not see.
    harm : float
        The worse of both beside floats: the logarithm of the perplexity's growth, one minus the
        cosine, the accuracy that is lost, or the growth of the loss.
    meets : bool
        Whether both are within the target.
    cost : float
        What the search made small, as predicted.
    cost_unit : str
        What it counts.
    dense_macs, low_bit_macs : int
        Multiplications of one window or batch, as they are and in low-bit products, counted.
    cycles, energy : float or None
        Of one window on the described accelerator; energy in joules.
    seconds : float
        What the verification took.
    """

    model: str
    text_sha256: str
    label: str
    plan: dict[str, JsonValue]
    plan_sha256: str
    target: str
    predicted: float | None
    metric: str
    floats: float
    tuned: float
    held_out: float
    harm: float
    meets: bool
    cost: float
    cost_unit: str
    dense_macs: NonNegativeInt
    low_bit_macs: NonNegativeInt
    cycles: float | None
    energy: float | None
    seconds: float

    @property
    def key(self) -> RecordKey:
        """The plan."""
        return (self.plan_sha256,)

    @property
    def ratio(self) -> float:
        """The unpack ratio, weighted by multiplications."""
        return self.low_bit_macs / self.dense_macs if self.dense_macs else 1.0
