"""Which layers of a model are converted, and why others are not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils.parametrize import is_parametrized

from accelsim.errors import InputError
from accelsim.integer_mode.converted.config import IntegerConfig
from accelsim.integer_mode.converted.modules import Exact
from workloads.gemm import listed

READERS = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
"""Modules that read the weights of their linear layers themselves."""

TYPES = (torch.float32, torch.float16, torch.bfloat16)

TIED = "its weight also belongs to a module that stays in floats (tied='float')"


@dataclass
class Choice:
    """The linear layers of a model.

    Parameters
    ----------
    layers : dict
        Those to convert, by name.
    left : dict
        Why each of the others is not converted, by name.
    tied : list of str
        The names of those of them whose weight is shared.
    """

    layers: dict[str, nn.Module] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    tied: list[str] = field(default_factory=list)

    @staticmethod
    def transposed(module: nn.Module) -> bool:
        """Whether a layer has its weight as ``[inputs, outputs]``."""
        return not isinstance(module, nn.Linear)


def choose(
    model: nn.Module, config: IntegerConfig, filter_fn: Callable[[nn.Module, str], bool] | None
) -> Choice:
    """Find the layers of a model to convert; see `accelsim.quantize_`.

    Raises
    ------
    InputError
        If there is none, or a glob of ``config.skip`` matches none.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model: found {type(model).__name__}; expected a torch.nn.Module")
    if not isinstance(config, IntegerConfig):
        raise InputError(f"config: found {type(config).__name__}; expected an IntegerConfig")
    kinds = linear_classes()
    read = {
        id(child)
        for module in model.modules()
        if isinstance(module, READERS)
        for child in module.children()
    }
    choice = Choice()
    names = [name for name, module in model.named_modules() if isinstance(module, (*kinds, Exact))]
    for glob in config.skip:
        if names and not any(fnmatchcase(name, glob) for name in names):
            raise InputError(f"skip: no linear layer matches {glob!r}; there are {listed(names)}")
    for name, module in model.named_modules():
        if not isinstance(module, kinds):
            continue
        why = _why_not(module, id(module) in read)
        if not why and any(fnmatchcase(name, glob) for glob in config.skip):
            why = "it is skipped"
        if not why and filter_fn is not None and not filter_fn(module, name):
            why = "filter_fn leaves it out"
        if why:
            choice.left[name] = why
        else:
            choice.layers[name] = module
    if not config.training and config.tied == "float":
        _leave_tied(model, choice)
    if not choice.layers:
        reasons = "; ".join(f"{name or 'the model'}: {why}" for name, why in choice.left.items())
        raise InputError(f"the model has no linear layer to convert{': ' * bool(reasons)}{reasons}")
    return choice


def linear_classes() -> tuple[type[nn.Module], ...]:
    """Return the classes of linear layers: PyTorch's and, where it is imported, Hugging Face's."""
    utils = sys.modules.get("transformers.pytorch_utils")
    conv1d = getattr(utils, "Conv1D", None)
    return (nn.Linear,) if conv1d is None else (nn.Linear, conv1d)


def _why_not(module: nn.Module, read: bool) -> str:
    """Return why a linear layer can't be converted, or an empty text."""
    if read:
        return "the module that it belongs to reads its weight itself"
    if is_parametrized(module):
        return "its weight is parametrized; see torch.nn.utils.parametrize.remove_parametrizations"
    weight = module._parameters.get("weight")
    if weight is None:
        return "its weight is no parameter: it is made of others"
    forwards = [kind.forward for kind in linear_classes()]
    if type(module).forward not in forwards or "forward" in module.__dict__:
        return f"its class {type(module).__name__} has a forward of its own"
    if isinstance(weight, UninitializedParameter):
        return "its weight has no shape yet; run the model once"
    if weight.dtype not in TYPES:
        return f"its weight is {weight.dtype}; expected float32, float16 or bfloat16"
    return "" if weight.numel() else "its weight has no entries"


def _leave_tied(model: nn.Module, choice: Choice) -> None:
    """Leave layers in floats whose weight other modules need in floats anyway."""
    converted = {id(module) for module in choice.layers.values()}
    in_floats = {
        id(parameter)
        for module in model.modules()
        if id(module) not in converted
        for parameter in module._parameters.values()
        if parameter is not None
    }
    for name, module in list(choice.layers.items()):
        if id(module._parameters["weight"]) in in_floats:
            del choice.layers[name]
            choice.left[name] = TIED
            choice.tied.append(name)
