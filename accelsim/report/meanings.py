"""What fields of records mean, in the few words that stand beside a table."""

from __future__ import annotations

from accelsim.records.record import Stage

STAGE_MEANING: dict[Stage, str] = {
    "quantize": "round both operands to integers without clipping",
    "unpack": "write the integers as matrices of b-bit digits",
    "prepare": "bring the digits into the backend's layout",
    "gemm": "the low-bit products",
    "pack": "add the shifted products up to the exact integer product",
    "dequantize": "divide by the scales, rounded once to the type of the operands",
    "total": "all stages but for what was prepared ahead of time",
}

FIELD_MEANING = {
    "beta": "rounding maps the percentile of the magnitudes to half of β",
    "bits": "bits of an operand of the multiplier; A/B where they differ",
    "strategy": "how entries that do not fit b bits are unpacked",
    "granularity": "what shares one scale: a whole tensor, or a row",
    "percentile": "the percentile of the magnitudes that sets the scale",
    "zero_alpha": "what happens where the percentile of the magnitudes is 0",
    "product": "the exact integers, or floats: divided by the scales, rounded once",
    "block": "columns that are multiplied at once",
    "digits": "the system of digits",
}
