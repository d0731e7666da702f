"""Optional libraries: extras of this package bring them, and they are imported where used."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import logging
import shlex
from types import ModuleType
from urllib.parse import unquote, urlparse

from accelsim.errors import InputError

PURPOSES = {
    "models": "models of the catalog, Hugging Face and GGUF files, eval",
    "report": "pages and figures",
    "onnx": "ONNX models as workloads",
    "rtl": "simulated SystemVerilog, areas from synthesis",
    "cuda": "CUTLASS's headers for the GPU kernels",
    "distributed": "sweeps on several machines",
    "lm-eval": "lm-evaluation-harness",
    "torchao": "torchao as a baseline",
    "test": "the tests, and Hypothesis for `accelsim verify`",
}
"""What each extra is for; those that are not here are for developers of accelsim."""


def need(module: str, extra: str) -> ModuleType:
    """Import an optional library.

    transformers imports torchao wherever it is installed, whether it is used or not, and torch then
    logs warnings to the authors of torchao. These alone are left out of the log.

    Parameters
    ----------
    module : str
        The library to import.
    extra : str
        The extra of this package that brings it.

    Returns
    -------
    ModuleType
        The imported library.

    Raises
    ------
    InputError
        If it is not installed; the message says how to install it.
    """
    logging.getLogger("torch.utils._pytree").addFilter(_concerns_users)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{_missing(module, extra)} ({error})") from error


def _concerns_users(entry: logging.LogRecord) -> bool:
    return "register_constant() on Enum subclasses" not in str(entry.msg)


def lacks(module: str, extra: str) -> str:
    """Return how to install a library that is missing, or an empty text if it is installed.

    Parameters
    ----------
    module : str
        The library, which is not imported.
    extra : str
        The extra of this package that brings it.
    """
    return "" if importlib.util.find_spec(module) else _missing(module, extra)


def how_to_install(extra: str) -> str:
    """Return the command that adds an extra to the accelsim that is installed.

    The command names the place that accelsim was installed from (a checkout, a wheel or another
    address), so that it also works where no package index has accelsim.

    Parameters
    ----------
    extra : str
        The extra, such as ``report``.

    Returns
    -------
    str
        A command line.
    """
    record = importlib.metadata.distribution("accelsim").read_text("direct_url.json")
    if record is None:  # from an index
        return f"pip install 'accelsim[{extra}]'"
    origin = json.loads(record)
    url = urlparse(origin["url"])
    if "dir_info" in origin and url.scheme == "file":
        editable = "-e " if origin["dir_info"].get("editable") else ""
        return f"pip install {editable}{shlex.quote(f'{unquote(url.path)}[{extra}]')}"
    vcs = origin.get("vcs_info", {}).get("vcs")
    address = f"{vcs}+{origin['url']}" if vcs else origin["url"]
    return f"pip install {shlex.quote(f'accelsim[{extra}] @ {address}')}"


def _missing(module: str, extra: str) -> str:
    return f"{module.partition('.')[0]} is missing: {how_to_install(extra)}"
