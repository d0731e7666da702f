"""Records, and the run folders that keep them."""

from accelsim.results.folder import RunFolder
from accelsim.results.keyed import RecordKey
from accelsim.results.loading import Run, load_run
from accelsim.results.record import (
    KEY_FIELDS,
    Quartiles,
    Record,
    Status,
    record_key,
)

__all__ = [
    "KEY_FIELDS",
    "Quartiles",
    "Record",
    "RecordKey",
    "Run",
    "RunFolder",
    "Status",
    "load_run",
    "record_key",
]
