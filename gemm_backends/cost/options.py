"""The memory of an accelerator as an option or a file describes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from accelsim.errors import unknown_name
from gemm_backends.cost.memory import Memory, dram, sram


@dataclass(frozen=True)
class Sizes:
    """The SRAM of A's digits, of B's, and of the sums of C."""

    a: Memory
    b: Memory
    c: Memory

    @property
    def each(self) -> tuple[Memory, Memory, Memory]:
        """The three memories."""
        return self.a, self.b, self.c


@dataclass(frozen=True)
class MemorySystem:
    """The memories around an array, and what connects them.

    Parameters
    ----------
    sram : Sizes
        One SRAM for each operand and one for the sums.
    dram : Memory or None
        What lies behind them; None if its energy is not asked for.
    dram_bandwidth : float or None
        Bytes per cycle from and to DRAM, all together; None for no limit.
    sram_bandwidth : float or None
        Bytes per cycle of each SRAM's port to the array; None for no limit.
    double_buffered : bool
        Whether half of each SRAM is loaded while the other half is in use.
    word_bits : int or None
        Bits that a digit or a sum takes in memory; None packs digits at their own width and sums
        at the accumulator's.
    frequency_mhz : float or None
        The clock; None if seconds are not asked for.
    """

    sram: Sizes
    dram: Memory | None = None
    dram_bandwidth: float | None = None
    sram_bandwidth: float | None = None
    double_buffered: bool = True
    word_bits: int | None = None
    frequency_mhz: float | None = None

    def bytes_of(self, bits: int) -> float:
        """Return the bytes that an entry of `bits` bits takes in memory."""
        return (bits if self.word_bits is None else self.word_bits) / 8

    def holds(self, memory: Memory, size: float) -> bool:
        """Say whether `size` bytes stay in an SRAM while others are loaded beside them."""
        assert memory.kilobytes is not None
        return size < 1024 * memory.kilobytes / (2 if self.double_buffered else 1)


KEYS = ("sram_kb", "bandwidth", "double_buffered", "word_bits", "frequency_mhz", "dram")


def memory_system(given: Mapping[str, Any] | str | None) -> MemorySystem | None:
    """Read the description of a memory; None or ``"none"`` is an array without any.

    Parameters
    ----------
    given : mapping, str or None
        ``sram_kb`` (a number for each of three, or ``{a, b, c}``), and if need be ``bandwidth``
        (``{dram, sram}`` in bytes per cycle), ``double_buffered``, ``word_bits``,
        ``frequency_mhz`` and ``dram`` (a name).

    Raises
    ------
    ValueError
        If a key is unknown or missing, or a value out of range.
    """
    if given is None or given == "none":
        return None
    if not isinstance(given, Mapping):
        raise ValueError(f"memory must be 'none' or a mapping, got {given!r}")
    _known("memory", given, KEYS)
    if "sram_kb" not in given:
        raise ValueError("memory needs sram_kb, such as {a: 64, b: 64, c: 64}")
    bandwidth = _mapping("memory.bandwidth", given.get("bandwidth", {}), ("dram", "sram"))
    word = given.get("word_bits")
    if word is not None and (not _is_number(word) or word != int(word) or not 1 <= word <= 64):
        raise ValueError(f"memory.word_bits must be an integer from 1 to 64, got {word!r}")
    double = given.get("double_buffered", True)
    if not isinstance(double, bool):
        raise ValueError(f"memory.double_buffered must be true or false, got {double!r}")
    name = given.get("dram")
    return MemorySystem(
        _sizes(given["sram_kb"]),
        None if name is None else dram(name),
        _positive("memory.bandwidth.dram", bandwidth.get("dram")),
        _positive("memory.bandwidth.sram", bandwidth.get("sram")),
        double,
        word,
        _positive("memory.frequency_mhz", given.get("frequency_mhz")),
    )


def _sizes(given: Any) -> Sizes:
    names = [field.name for field in fields(Sizes)]
    if _is_number(given):
        given = dict.fromkeys(names, given)
    sizes = _mapping("memory.sram_kb", given, names)
    missing = [name for name in names if name not in sizes]
    if missing:
        raise ValueError(f"memory.sram_kb needs a size for {', '.join(missing)}")
    return Sizes(**{name: _sram(name, size) for name, size in sizes.items()})


def _sram(name: str, size: Any) -> Memory:
    if not _is_number(size):
        raise ValueError(f"memory.sram_kb.{name} must be a number of KB, got {size!r}")
    try:
        return sram(size)
    except ValueError as error:
        raise ValueError(f"memory.sram_kb.{name}: {error}") from error


def _mapping(name: str, given: Any, keys: Collection[str]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} must be a mapping of {', '.join(keys)}, got {given!r}")
    _known(name, given, keys)
    return given


def _known(name: str, given: Mapping[str, Any], keys: Collection[str]) -> None:
    for key in given:
        if key not in keys:
            raise ValueError(unknown_name(f"key of {name}", key, keys))


def _positive(name: str, value: Any) -> float | None:
    if value is not None and (not _is_number(value) or not 0 < value < float("inf")):
        raise ValueError(f"{name} must be a positive number, got {value!r}")
    return None if value is None else float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
