"""Facts about the machine, to be kept with benchmark results."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accelsim.measure.memory import physical_memory

ISA_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
    "asimddp",
    "i8mm",
    "sve",
)
"""The instruction sets that decide how a CPU multiplies low-bit integers, as Linux names them."""

PACKAGE = Path(__file__).parents[1]
"""The folder of accelsim itself."""

_NVIDIA_SMI_FIELDS = {
    "uuid": "uuid",
    "driver_version": "driver",
    "power.limit": "power_limit_w",
    "clocks.sm": "sm_clock_mhz",
    "clocks.max.sm": "sm_clock_max_mhz",
    "clocks.mem": "memory_clock_mhz",
}


def environment() -> dict[str, Any]:
    """Describe this machine and its software, without its name.

    Sizes are in bytes, power in watts, clocks in MHz; the units are in the names. ``gpus`` is
    empty, and ``driver`` and ``cuda`` are None, where PyTorch has no CUDA device. Facts that cannot
    be determined are None.

    Returns
    -------
    dict
        Plain JSON types: versions, ``os``, ``kernel``, ``cpu``, ``memory_bytes``, ``gpus``,
        ``driver`` and ``cuda``.
    """
    import numpy as np
    import torch

    gpus, driver = _gpus()
    return {
        "accelsim": version("accelsim"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "os": _os_name(),
        "kernel": f"{platform.system()} {platform.release()}",
        "cpu": _cpu(),
        "memory_bytes": physical_memory(),
        "gpus": gpus,
        "driver": driver,
        "cuda": torch.version.cuda if gpus else None,
    }


def clock_mhz(device: str) -> float | None:
    """Return how fast a device's clock runs now, in MHz, or None if unknown.

    Parameters
    ----------
    device : str
        ``cuda``, ``cuda:N``, or the CPU, whose fastest usable core is meant.
    """
    kind, _, index = device.partition(":")
    if kind == "cuda":
        import torch

        uuid = str(torch.cuda.get_device_properties(int(index or 0)).uuid)
        rows = [row for row in _nvidia_smi() if row["uuid"].removeprefix("GPU-") == uuid]
        return rows[0]["sm_clock_mhz"] if rows else None
    cores = os.sched_getaffinity(0)
    files = [Path(f"/sys/devices/system/cpu/cpu{n}/cpufreq/scaling_cur_freq") for n in cores]
    try:
        return max(int(file.read_text()) for file in files) / 1e3
    except (OSError, ValueError):
        pass
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    rates = [line.partition(":")[2] for line in text.splitlines() if line.startswith("cpu MHz")]
    return max(map(float, rates), default=None)


def git_state() -> dict[str, Any] | None:
    """Return the commit that accelsim itself runs from and whether files differ from it.

    Returns
    -------
    dict or None
        ``{"commit": str, "dirty": bool}``, or None if accelsim does not run from a git checkout.
    """
    if not _output("git", "-C", str(PACKAGE), "ls-files", "__init__.py"):
        return None
    commit = _output("git", "-C", str(PACKAGE), "rev-parse", "HEAD")
    changes = _output("git", "-C", str(PACKAGE), "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changes)} if commit else None


def _os_name() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _cpu() -> dict[str, Any]:
    import torch

    facts = _cpuinfo()
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    return {
        "model": facts.get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "isa": [flag for flag in ISA_FLAGS if flag in flags],
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "torch_threads": torch.get_num_threads(),
    }


@cache
def _cpuinfo() -> dict[str, str]:
    """Return the first processor's lines of /proc/cpuinfo."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def _gpus() -> tuple[list[dict[str, Any]], str | None]:
    """Return the GPUs that PyTorch can use and the driver's version."""
    import torch

    if torch.version.cuda is None or not torch.cuda.is_available():
        return [], None
    rows = _nvidia_smi()
    by_uuid = {row["uuid"].removeprefix("GPU-"): row for row in rows}
    settings = [name for name in _NVIDIA_SMI_FIELDS.values() if name not in ("uuid", "driver")]
    gpus = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        row = by_uuid.get(str(properties.uuid), {})
        gpus.append(
            {
                "name": properties.name,
                "compute_capability": f"{properties.major}.{properties.minor}",
                "sm_count": properties.multi_processor_count,
                "memory_bytes": properties.total_memory,
                **{name: row.get(name) for name in settings},
            }
        )
    return gpus, rows[0]["driver"] if rows else None


def _nvidia_smi() -> list[dict[str, Any]]:
    """Return one row per GPU that nvidia-smi lists, numbers as floats, unknown values as None."""
    query = ",".join(_NVIDIA_SMI_FIELDS)
    text = _output("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits") or ""
    rows = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == len(_NVIDIA_SMI_FIELDS):
            named = dict(zip(_NVIDIA_SMI_FIELDS.values(), cells, strict=True))
            rows.append({key: _value(key, cell) for key, cell in named.items()})
    return rows


def _value(name: str, cell: str) -> str | float | None:
    if name in ("uuid", "driver"):
        return cell
    try:
        return float(cell)
    except ValueError:
        return None


def _output(*command: str) -> str | None:
    """Return what a program prints, or None if it is missing, fails or takes over 10 s."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
