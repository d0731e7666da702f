"""A bit-serial accelerator: time grows with bits of A times bits of B."""

from accelsim_bitserial.backend import BitSerial

__all__ = ["BitSerial"]
