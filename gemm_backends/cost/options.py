"""The memory of an accelerator as an option or a file describes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from accelsim.errors import unknown_name
from accelsim.plugins.options import OptionError
from gemm_backends.cost.mapping import DIMENSIONS, Mapped, Search
from gemm_backends.cost.memory import Memory, dram, sram

Prefetch = Literal["tiles", "scalesim"]
"""What is loaded ahead: the operands of the next tile, or words in SCALE-Sim's fixed order."""


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
        The DRAM behind them; None if its energy is not needed.
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
    mapping : Mapped, {"cycles", "energy"} or None
        The tiles that the memories hold and the order of the loops over them; or what is to be
        least, for a search to find them; None for the order of the array's own tiles.
    prefetch : {"tiles", "scalesim"}
        Whether what a tile needs is loaded ahead, or operands in SCALE-Sim's fixed order.
    """

    sram: Sizes
    dram: Memory | None = None
    dram_bandwidth: float | None = None
    sram_bandwidth: float | None = None
    double_buffered: bool = True
    word_bits: int | None = None
    frequency_mhz: float | None = None
    mapping: Mapped | Search | None = None
    prefetch: Prefetch = "tiles"

    @property
    def words_per_clock(self) -> int:
        """Words that each of A, B and C moves in a clock where operands are loaded as SCALE-Sim's.

        Raises
        ------
        OptionError
            If the bandwidth is not three times a whole number of words.
        """
        assert self.dram_bandwidth is not None
        assert self.word_bits is not None
        words = self.dram_bandwidth * 8 / (3 * self.word_bits)
        if words < 1 or words != int(words):
            raise OptionError(
                "memory.bandwidth.dram must be a multiple of three words of "
                f"{self.word_bits} bits for prefetch: scalesim, where A, B and C have a link each; "
                f"got {self.dram_bandwidth:g} bytes",
                "memory",
                "bandwidth",
                "dram",
            )
        return int(words)

    def words(self, memory: Memory) -> int:
        """Return how many words an SRAM holds."""
        assert memory.kilobytes is not None
        assert self.word_bits is not None
        return int(1024 * memory.kilobytes * 8 / self.word_bits)

    def bytes_of(self, bits: int) -> float:
        """Return the bytes that an entry of `bits` bits takes in memory."""
        return (bits if self.word_bits is None else self.word_bits) / 8

    def holds(self, memory: Memory, size: float) -> bool:
        """Say whether `size` bytes stay in an SRAM while others are loaded beside them."""
        assert memory.kilobytes is not None
        return size < self.room(memory)

    def room(self, memory: Memory) -> float:
        """Return the bytes of an SRAM that are in use at the same time."""
        assert memory.kilobytes is not None
        return 1024 * memory.kilobytes / (2 if self.double_buffered else 1)


KEYS = (
    "sram_kb",
    "bandwidth",
    "double_buffered",
    "word_bits",
    "frequency_mhz",
    "dram",
    "mapping",
    "prefetch",
)


def memory_system(given: Mapping[str, Any] | str | None) -> MemorySystem | None:
    """Read the description of a memory; None or ``"none"`` is an array without any.

    Parameters
    ----------
    given : mapping, str or None
        ``sram_kb`` (a number for each of three, or ``{a, b, c}``), and if need be ``bandwidth``
        (``{dram, sram}`` in bytes per cycle), ``double_buffered``, ``word_bits``,
        ``frequency_mhz``, ``dram`` (a name), ``mapping`` (``{search: cycles | energy}``, or
        ``{tile: {n, d, h}, order: [h, n, d]}``) and ``prefetch``.

    Raises
    ------
    OptionError
        If a key is unknown or missing, or a value out of range; it says which.
    """
    if given is None or given == "none":
        return None
    if not isinstance(given, Mapping):
        raise _wrong(f"memory must be 'none' or a mapping, got {given!r}")
    _known((), given, KEYS)
    if "sram_kb" not in given:
        raise _wrong("memory needs sram_kb, such as {a: 64, b: 64, c: 64}")
    bandwidth = _mapping(("bandwidth",), given.get("bandwidth", {}), ("dram", "sram"))
    word = given.get("word_bits")
    if word is not None and (not _is_number(word) or word != int(word) or not 1 <= word <= 64):
        raise _wrong(f"memory.word_bits must be an integer from 1 to 64, got {word!r}", "word_bits")
    double = given.get("double_buffered", True)
    if not isinstance(double, bool):
        where = "double_buffered"
        raise _wrong(f"memory.double_buffered must be true or false, got {double!r}", where)
    system = MemorySystem(
        _sizes(given["sram_kb"]),
        _dram(given.get("dram")),
        _positive(("bandwidth", "dram"), bandwidth.get("dram")),
        _positive(("bandwidth", "sram"), bandwidth.get("sram")),
        double,
        word,
        _positive(("frequency_mhz",), given.get("frequency_mhz")),
        _mapped(given.get("mapping")),
        given.get("prefetch", "tiles"),
    )
    if system.prefetch not in get_args(Prefetch):
        message = unknown_name("memory.prefetch", str(system.prefetch), get_args(Prefetch))
        raise _wrong(message, "prefetch")
    if system.mapping == "energy" and system.dram is None:
        raise _wrong(
            "memory.mapping.search: energy needs memory.dram, the name of a DRAM", "mapping"
        )
    if system.prefetch == "scalesim":
        _check_scalesim(system)
    return system


def _check_scalesim(system: MemorySystem) -> None:
    """Check that a memory is one that SCALE-Sim has."""
    needs = "memory.prefetch: scalesim needs"
    if system.word_bits is None:
        raise _wrong(f"{needs} word_bits: SCALE-Sim counts words, all equally wide", "prefetch")
    if system.dram_bandwidth is None:
        raise _wrong(f"{needs} bandwidth.dram: without a limit nothing is prefetched", "prefetch")
    if not system.double_buffered:
        raise _wrong(f"{needs} double_buffered: true", "double_buffered")
    if system.mapping is not None:
        raise _wrong(f"{needs} no mapping: SCALE-Sim has an order of its own", "mapping")
    _ = system.words_per_clock


def _mapped(given: Any) -> Mapped | Search | None:
    if given is None or given == "default":
        return None
    if not isinstance(given, Mapping):
        raise _wrong(
            "memory.mapping must be default, a search such as {search: cycles}, or tiles such as "
            f"{{tile: {{n: 64, d: 512, h: 64}}, order: [h, n, d]}}; got {given!r}",
            "mapping",
        )
    if "search" in given:
        _known(("mapping",), given, ("search",))
        least = given["search"]
        if least not in get_args(Search):
            message = unknown_name("memory.mapping.search", str(least), get_args(Search))
            raise _wrong(message, "mapping", "search")
        return "energy" if least == "energy" else "cycles"
    _known(("mapping",), given, ("tile", "order"))
    for key in ("tile", "order"):
        if key not in given:
            raise _wrong(f"memory.mapping needs {key}, or search: cycles or energy", "mapping")
    tile = _mapping(("mapping", "tile"), given["tile"], DIMENSIONS)
    for name in DIMENSIONS:
        size = tile.get(name)
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            message = f"memory.mapping.tile.{name} must be a whole number, at least 1, got {size!r}"
            raise _wrong(message, "mapping", "tile", name)
    order = given["order"]
    if not isinstance(order, list | tuple) or sorted(map(str, order)) != sorted(DIMENSIONS):
        message = f"memory.mapping.order must be n, d and h, outermost first, got {order!r}"
        raise _wrong(message, "mapping", "order")
    return Mapped(tile["n"], tile["d"], tile["h"], "".join(order))


def _sizes(given: Any) -> Sizes:
    names = [field.name for field in fields(Sizes)]
    if _is_number(given):
        given = dict.fromkeys(names, given)
    sizes = _mapping(("sram_kb",), given, names)
    missing = [name for name in names if name not in sizes]
    if missing:
        raise _wrong(f"memory.sram_kb needs a size for {', '.join(missing)}", "sram_kb")
    return Sizes(**{name: _sram(name, size) for name, size in sizes.items()})


def _sram(name: str, size: Any) -> Memory:
    if not _is_number(size):
        message = f"memory.sram_kb.{name} must be a number of KB, got {size!r}"
        raise _wrong(message, "sram_kb", name)
    try:
        return sram(size)
    except ValueError as error:
        raise _wrong(f"memory.sram_kb.{name}: {error}", "sram_kb", name) from error


def _dram(name: Any) -> Memory | None:
    if name is None:
        return None
    try:
        return dram(str(name))
    except ValueError as error:
        raise _wrong(f"memory.dram: {error}", "dram") from error


def _mapping(path: tuple[str, ...], given: Any, keys: Collection[str]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        example = _EXAMPLES.get(path[-1], "")
        message = f"{_dotted(path)} must be a mapping of {', '.join(keys)}{example}, got {given!r}"
        raise _wrong(message, *path)
    _known(path, given, keys)
    return given


def _known(path: tuple[str, ...], given: Mapping[str, Any], keys: Collection[str]) -> None:
    for key in given:
        if key not in keys:
            message = unknown_name(f"key of {_dotted(path)}", str(key), keys)
            raise OptionError(message, "memory", *path, str(key), unknown=True)


_EXAMPLES = {
    "sram_kb": ", or one number of KB for each",
    "bandwidth": (
        " in bytes per cycle, such as {dram: 20} for 20 GB/s at 1000 MHz (GB/s * 1000 / "
        "frequency_mhz)"
    ),
}
"""What mappings are to look like, by their key."""

_UNITS = {"bandwidth": "bytes per cycle", "sram_kb": "KB", "frequency_mhz": "MHz"}
"""Units of numbers, by a key on their path."""


def _positive(path: tuple[str, ...], value: Any) -> float | None:
    if value is not None and (not _is_number(value) or not 0 < value < float("inf")):
        unit = next((f" of {u}" for key, u in _UNITS.items() if key in path), "")
        raise _wrong(f"{_dotted(path)} must be a positive number{unit}, got {value!r}", *path)
    return None if value is None else float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(("memory", *path))


def _wrong(message: str, *inside: str) -> OptionError:
    return OptionError(message, "memory", *inside)
