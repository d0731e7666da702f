"""The records of ``accelsim sensitivity``."""

from __future__ import annotations

from pydantic import NonNegativeInt

from accelsim.records.keyed import Keyed, RecordKey, canonical_json


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
        for an encoder as `loss`.
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
