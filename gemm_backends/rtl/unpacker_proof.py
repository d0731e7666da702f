"""The unpacker in SystemVerilog, compared with what software rounds and splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from accelsim.arithmetic.digits import DigitSystem
from gemm_backends.rtl import mutants
from gemm_backends.rtl.bench import Bench, Instance
from gemm_backends.rtl.compare import Disagreement, Integers, Ports
from gemm_backends.rtl.part import Part
from gemm_backends.rtl.simulate import Bits, to_bits
from gemm_backends.rtl.tools import UNPACKER

WIDTHS = (2, 3, 4, 5, 8, 16)
"""Of the digits that are compared."""

INTEGER = 32
"""Bits of the integers that an unpacker takes."""

SCALES = (1.0, 0.5, 7.5, 15.5 / 0.37, 63.5 / 1.9, 1 / 3, 3.0e4, 1.5e-30, 2.0**100)
"""Scales that every bfloat16 is multiplied by."""

SAMPLES = 200_000

Floats = npt.NDArray[np.float32]


def _instance(bits: int, module: str = "unpacker") -> Instance:
    digits = (INTEGER + bits) // bits
    return Instance(
        module,
        {"B": bits, "I": INTEGER},
        {"x": (0, 32), "scale": (32, 32)},
        {
            "low": bits,
            "high": (digits - 1) * bits,
            "levels": (digits - 1).bit_length(),
            "beyond": 1,
        },
    )


def _unpacker() -> str:
    instances = [_instance(bits) for bits in WIDTHS]
    simulated = Bench(UNPACKER, instances, "Verilator")
    x, scale = _values()
    for instance, ports in zip(instances, simulated(_bits(x, scale)), strict=True):
        _compare(instance, ports, x, scale)
    return (
        f"b = {', '.join(map(str, WIDTHS))}: every bfloat16 by {len(SCALES)} scales, exhausted; "
        f"{SAMPLES:,} float32, half of them at ties and bounds, sampled"
    )


def _mutants() -> str:
    faults, x, scale = mutants.UNPACKERS, *_values()
    names = [f"unpacker_m{number}" for number in range(len(faults))]
    files = [
        file
        for number, mutant in enumerate(faults)
        for file in mutants.variant(mutant, f"_m{number}", UNPACKER)[0]
    ]
    instances = [_instance(4, name) for name in names]
    found = Bench(files, instances, "Verilator")(_bits(x, scale))
    escaped = list(_escaped(faults, instances, found, x, scale))
    if escaped:
        raise Disagreement(f"not caught: {', '.join(escaped)}")
    return f"{len(faults)} of {len(faults)} faulty unpackers caught"


PARTS = (Part("unpacker", _unpacker), Part("mutants of the unpacker", _mutants))


def _escaped(
    faults: Sequence[mutants.Mutant],
    instances: Sequence[Instance],
    found: Sequence[Ports],
    x: Floats,
    scale: Floats,
) -> Iterator[str]:
    for mutant, instance, ports in zip(faults, instances, found, strict=True):
        try:
            _compare(instance, ports, x, scale)
        except Disagreement:
            continue
        yield f"{mutant.fault} ({mutant.module})"


def _values() -> tuple[Floats, Floats]:
    """Return pairs of a value and a scale."""
    every = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)
    generator = np.random.default_rng(0)
    near = generator.integers(-(1 << 26), 1 << 26, SAMPLES) / 2.0  # halves: ties and next to them
    near[::4] *= generator.choice([1.0, 32.0, 64.0], len(near[::4]))
    near[2::4] = generator.choice([-(2.0**31), 2.0**31], len(near[2::4]))  # the first beyond
    factor = generator.uniform(0.01, 100, SAMPLES).astype(np.float32)
    factor[::3] = 1
    x = (near / factor).astype(np.float32)
    x[1::2] = np.nextafter(x[1::2], generator.choice([-np.inf, np.inf], len(x[1::2])))
    x = np.concatenate([np.tile(every, len(SCALES)), x.astype(np.float32)])
    return x, np.concatenate([np.repeat(np.array(SCALES, np.float32), len(every)), factor])


def _bits(x: Floats, scale: Floats) -> Bits:
    return np.concatenate([to_bits(v.view(np.int32), 32) for v in (x, scale)], 1)


def _compare(instance: Instance, ports: Ports, x: Floats, scale: Floats) -> None:
    """Compare with the digits of ``rint(x * scale)``, as operands are rounded and split.

    Raises
    ------
    Disagreement
        If a digit or a number of levels differs, or a value is passed or refused wrongly.
    """
    bits = instance.parameters["B"]
    product = (torch.from_numpy(x) * torch.from_numpy(scale)).round_()
    subnormal = (x != 0) & (np.abs(x) < np.finfo(np.float32).tiny)
    fits = (product.abs() < 1 << (INTEGER - 1)).numpy() & ~subnormal
    _equal(instance, "beyond", ports["beyond"], (~fits).astype(np.int64), x)
    values = torch.where(torch.from_numpy(fits), product, 0.0).to(torch.int64)
    low, high, levels = _split(values, bits)
    count = (1 << instance.outputs["levels"]) - 1
    for name, found, wanted in (
        ("levels", ports["levels"] & count, levels),
        ("low", ports["low"], low),
        ("high", ports["high"], high),
    ):
        _equal(instance, name, found[fits], wanted[fits], x[fits])


def _split(values: torch.Tensor, bits: int) -> tuple[Integers, Integers, Integers]:
    """Split as unpacking does, until what is left fits; high digits side by side as bits."""
    system = DigitSystem("balanced", bits)
    rest, high, levels = values.clone(), torch.zeros_like(values), torch.zeros_like(values)
    over = system.out_of_bound(rest)
    digit, above = system.split(rest)
    low, rest = torch.where(over, digit, rest), torch.where(over, above, 0)
    mask, level = (1 << bits) - 1, 0
    while over.any():
        levels += over
        over = system.out_of_bound(rest)
        digit, above = system.split(rest)
        high |= (torch.where(over, digit, rest) & mask) << (level * bits)
        rest, level = torch.where(over, above, 0), level + 1
    width = ((INTEGER + bits) // bits - 1) * bits
    signed = (high << (64 - width)) >> (64 - width)
    return low.numpy(), signed.numpy(), levels.numpy()


def _equal(instance: Instance, name: str, found: Integers, wanted: Integers, x: Floats) -> None:
    wrong = np.flatnonzero(found != wanted)
    if len(wrong):
        first = wrong[0]
        raise Disagreement(
            f"unpacker of {instance.parameters['B']} bits: {name} differs {len(wrong)} times, "
            f"first for {x[first]}: {found[first]}, not {wanted[first]}"
        )
