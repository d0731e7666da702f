"""The structures that the kernels of the fused route take, as ``csrc/arguments.hpp`` has them."""

from __future__ import annotations

import ctypes

from accelsim.kernels.launches import Arguments

_ADDRESS, _INTEGER, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double


class Split(Arguments):
    """From floats, or planes of digits, to low digits and what is above them."""

    _fields_ = (
        ("x", _ADDRESS),
        *((name, _INTEGER) for name in ("type", "planes", "x_stride", "n", "d", "padded")),
        ("scale", _ADDRESS),
        ("scale_step", _INTEGER),
        ("low", _ADDRESS),
        *((name, _INTEGER) for name in ("low_stride", "slots_at")),
        ("slots", _ADDRESS),
        *((name, _INTEGER) for name in ("groups", "slot_count")),
        ("entries", _ADDRESS),
        ("list_length", _INTEGER),
        *((name, _ADDRESS) for name in ("list_counts", "column_counts", "marks", "chains", "next")),
        *((name, _ADDRESS) for name in ("found", "flags")),
    )


class SampleColumns(Arguments):
    """Counts the high parts of each column in some rows of floats."""

    _fields_ = (
        ("x", _ADDRESS),
        *((name, _INTEGER) for name in ("type", "n", "d", "step")),
        ("scale", _ADDRESS),
        ("scale_step", _INTEGER),
        ("counts", _ADDRESS),
    )


class WritePlanes(Arguments):
    """Writes digits of every entry."""

    _fields_ = (
        ("x", _ADDRESS),
        *((name, _INTEGER) for name in ("type", "n", "d")),
        ("scale", _ADDRESS),
        ("scale_step", _INTEGER),
        ("digits", _ADDRESS),
        *((name, _INTEGER) for name in ("stride", "padded", "rows", "stored", "first", "count")),
        *((name, _ADDRESS) for name in ("found", "gate")),
    )


class AssignSlots(Arguments):
    """Gives slots to heavy columns."""

    _fields_ = (
        *((name, _ADDRESS) for name in ("counts_a", "counts_b")),
        *((name, _INTEGER) for name in ("d", "threshold_a", "threshold_b", "threshold_product")),
        *((name, _INTEGER) for name in ("room", "first")),
        *((name, _ADDRESS) for name in ("slots", "taken", "sources_a", "sources_b", "flags")),
    )


class AssignPlaces(Arguments):
    """Gives places to the other columns with high parts, for each block of rows."""

    _fields_ = (
        ("marks", _ADDRESS),
        *((name, _INTEGER) for name in ("rows", "d")),
        ("slots", _ADDRESS),
        ("room", _INTEGER),
        *((name, _ADDRESS) for name in ("places", "sources", "flags")),
    )


class Fill(Arguments):
    """Writes the high digits that are listed, and lists A's products with those of B."""

    _fields_ = (
        ("digits", _ADDRESS),
        *((name, _INTEGER) for name in ("stride", "rows", "d")),
        *((name, _INTEGER) for name in ("groups", "slots", "places", "written")),
        *((name, _ADDRESS) for name in ("slot_of", "place_of", "entries")),
        ("list_length", _INTEGER),
        *((name, _ADDRESS) for name in ("list_counts", "flags", "entries_b")),
        ("list_length_b", _INTEGER),
        *((name, _ADDRESS) for name in ("chains", "next", "counts", "corrections")),
        *((name, _INTEGER) for name in ("room", "tiles_across")),
    )


class Gather(Arguments):
    """Copies low digits for the other operand's high ones to be multiplied with."""

    _fields_ = (
        ("digits", _ADDRESS),
        *((name, _INTEGER) for name in ("stride", "rows", "columns", "copies")),
        ("sources", _ADDRESS),
        ("width", _INTEGER),
    )


class RowScales(Arguments):
    """Finds the scale of every row."""

    _fields_ = (
        ("x", _ADDRESS),
        *((name, _INTEGER) for name in ("type", "n", "d", "numerator", "denominator", "nonzero")),
        ("beta", _FLOAT),
        *((name, _ADDRESS) for name in ("scales", "nonfinite", "found")),
    )


class Conclude(Arguments):
    """Concludes whether a run is exact."""

    _fields_ = (
        *((name, _ADDRESS) for name in ("found_a", "nonfinite_a", "scale_a")),
        *((name, _INTEGER) for name in ("planned_a", "dense_a")),
        *((name, _ADDRESS) for name in ("found_b", "nonfinite_b", "scale_b")),
        *((name, _INTEGER) for name in ("planned_b", "dense_b")),
        ("flags", _ADDRESS),
        ("limit", _FLOAT),
        *((name, _INTEGER) for name in ("provable", "sticks", "exponent")),
        *((name, _ADDRESS) for name in ("status", "host")),
    )


class Correct(Arguments):
    """Adds the listed products of two high parts to sums."""

    _fields_ = (
        ("sums", _ADDRESS),
        *((name, _INTEGER) for name in ("stride", "tiles", "tiles_across")),
        ("corrections", _ADDRESS),
        ("room", _INTEGER),
    )


class Accumulate(Arguments):
    """Adds shifted 32-bit sums to 64-bit ones."""

    _fields_ = (
        ("sums", _ADDRESS),
        *((name, _INTEGER) for name in ("count", "shift")),
        ("totals", _ADDRESS),
    )


class Pack(Arguments):
    """Turns sums into results of a type."""

    _fields_ = (
        ("sums", _ADDRESS),
        *((name, _INTEGER) for name in ("wide", "stride", "rows", "n", "h")),
        *((name, _ADDRESS) for name in ("common", "row_scales", "column_scales", "out")),
        ("type", _INTEGER),
    )
