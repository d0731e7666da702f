"""The records of ``accelsim ladder``."""

from __future__ import annotations

from pydantic import NonNegativeInt

from accelsim.records.keyed import Keyed, RecordKey, canonical_json


class LadderRecord(Keyed):
    """One GEMM, computed in one way.

    Parameters
    ----------
    workload, gemm : str
        Which GEMM.
    batch, n, d, h : int
        Its shape.
    way : str
        ``integers``, or the name of a float format.
    beta : float or None
        Of integers.
    relative_error : float
        The Frobenius norm of the error, relative to the product in float64.
    ratio : float or None
        The unpack ratio of integers.
    seconds : float or None
        The median time of the product; None for what is emulated.
    """

    workload: str
    gemm: str
    batch: NonNegativeInt
    n: NonNegativeInt
    d: NonNegativeInt
    h: NonNegativeInt
    way: str
    beta: float | None
    relative_error: float
    ratio: float | None
    seconds: float | None

    @property
    def key(self) -> RecordKey:
        """The GEMM, the way and β."""
        return self.workload, self.gemm, self.way, canonical_json(self.beta)
