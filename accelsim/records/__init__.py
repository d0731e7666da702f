"""Records, and the run folders that keep them."""

from accelsim.records.folder import RunFolder
from accelsim.records.keyed import RecordKey
from accelsim.records.loading import Run, load_run
from accelsim.records.record import (
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
