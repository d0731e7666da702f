"""Convert the linear layers of a model in place, and back."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from accelsim.arithmetic.rounding import quantize
from accelsim.errors import DataError, InputError
from accelsim.integer_mode.converted import products
from accelsim.integer_mode.converted.choice import Choice, choose
from accelsim.integer_mode.converted.config import IntegerConfig
from accelsim.integer_mode.converted.digits import StoredWeight, placeholder, stored
from accelsim.integer_mode.converted.modules import Exact, ExactLinear, ExactTrainingLinear
from accelsim.integer_mode.converted.per_layer import (
    ATTENTION,
    layer_config,
    planned_attention,
)
from gemm_backends import load_backend

Filter = Callable[[nn.Module, str], bool]

_OF_CONVERTED = ("place", "settings", "original", "transposed", "kept_dtype")
"""The attributes that a layer has while it is converted."""


@dataclass(frozen=True)
class Conversion:
    """What `quantize_` did.

    Parameters
    ----------
    converted : tuple of str
        The names of the layers that are exact now.
    left : dict
        Those that stay in floats, and why; products of attention that a plan names, too.
    """

    converted: tuple[str, ...]
    left: dict[str, str]

    def __str__(self) -> str:
        """Say in a line how many layers were converted, and name each that was not."""
        lines = [f"{len(self.converted)} linear layers multiply exact integers"]
        lines += [f"{name} stays in floats: {why}" for name, why in self.left.items()]
        return "\n".join(lines)


def quantize_(
    model: nn.Module, config: IntegerConfig, filter_fn: Filter | None = None
) -> Conversion:
    """Convert the linear layers of a model, in place, into layers of exact integer products.

    Weights are rounded once, and their floats let go; with ``config.training`` they stay, and are
    rounded in every step. Products are operators of PyTorch: the model can be compiled, saved and
    loaded, and its integers are those of `accelsim.integer_gemms`. Modules stay the same objects,
    with other classes.

    Parameters
    ----------
    model : nn.Module
        Any model; on the meta device its weights are to be loaded later.
    config : IntegerConfig
        How operands are rounded.
    filter_fn : callable, optional
        Tells from a module and its name whether it is converted. It is asked for linear layers:
        `torch.nn.Linear`, and ``Conv1D`` of Hugging Face. By default all are.

    Returns
    -------
    Conversion
        Which layers were converted, and which stay in floats.

    Raises
    ------
    InputError
        If no layer is left to convert, a glob of ``config.skip`` or of the plan matches none, there
        is no such backend, or the plan asks for what a converted layer cannot do: a phase with a
        rounding of its own, or, for a backend, K-blocks.
    DataError
        If a weight holds NaN or infinity, or has no scale; the model is as it was then.

    Warns
    -----
    UserWarning
        If a layer stays in floats because its weight is shared, which ``config.tied`` decides.

    Examples
    --------
    >>> import accelsim
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> print(accelsim.quantize_(model, accelsim.IntegerConfig(beta=127)))
    2 linear layers multiply exact integers
    >>> model(torch.ones(3, 8)).shape
    torch.Size([3, 2])
    """
    choice = choose(model, config, filter_fn)
    attention: tuple[str, ...] = ()
    if config.plan is not None:
        attention = planned_attention(config.plan, [*choice.layers, *choice.left])
    if config.backend is not None:
        load_backend(config.backend)  # an unknown one is an error now, not in the first product
    settings = {name: layer_config(config, name) for name in choice.layers}
    weights: dict[str, StoredWeight] = {}
    if not config.training:
        shared: dict[Hashable, StoredWeight] = {}
        for name, module in choice.layers.items():
            own, parameter = settings[name], module.get_parameter("weight")
            key = id(parameter), own.rounding("weights"), own.widths.b
            if key not in shared:
                shared[key] = _rounded(parameter, name, module, choice, own)
            weights[name] = shared[key]
    for name, module in choice.layers.items():
        _convert(module, name, settings[name], choice, weights)
    if choice.tied:
        warnings.warn(
            f"{', '.join(choice.tied)}: the weight also belongs to a module that stays in floats, "
            "so that this layer does, too; IntegerConfig(tied='integer') gives it integers of its "
            "own",
            stacklevel=2,
        )
    _tell_transformers("attach", model, config)
    return Conversion(tuple(choice.layers), choice.left | dict.fromkeys(attention, ATTENTION))


def dequantize_(model: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """Make the layers that `quantize_` converted linear layers of floats again, in place.

    Parameters
    ----------
    model : nn.Module
        A converted model.
    dtype : torch.dtype, optional
        The type of the weights; by default the one that each had.

    Returns
    -------
    nn.Module
        The model. Weights are what their integers stand for: rounded, unless they were kept for
        training.

    Raises
    ------
    InputError
        If no layer of the model is converted.
    """
    again: dict[int, nn.Parameter] = {}
    for module in _converted(model):
        if isinstance(module, ExactLinear):
            digits = module.stored.digits
            if id(digits) not in again:
                weight = module.float_weight()
                weight = weight.T.contiguous() if module.transposed else weight
                again[id(digits)] = nn.Parameter(weight.to(dtype or module.kept_dtype))
            module.drop_weight()
            _become(module, module.original)
            module.register_parameter("weight", again[id(digits)])
        else:
            if dtype is not None:
                weight = module.get_parameter("weight")
                weight.data = weight.data.to(dtype)
            _become(module, module.original)
        for name in _OF_CONVERTED:
            del module.__dict__[name]
    _tell_transformers("detach", model)
    return model


def check(model: nn.Module) -> None:
    """Wait for the products of a converted model so far, and raise what was found in them.

    On the CPU errors are raised where they occur. On a GPU a product inside a CUDA graph can't: its
    result is NaN, and this says why.

    Parameters
    ----------
    model : nn.Module
        A converted model.

    Raises
    ------
    DataError
        If an operand held NaN or infinity, or a CUDA graph has too few digits for it; or if a
        weight on a GPU changed without a write to it that was seen.
    InputError
        If no layer of the model is converted.
    """
    for module in _converted(model):
        weights = [module.stored] if isinstance(module, ExactLinear) else []
        try:
            products.check(weights, [module.settings])
        except DataError as error:
            raise DataError(f"{module.place}: {error}") from error


def _converted(model: nn.Module) -> list[Exact]:
    found = [module for module in model.modules() if isinstance(module, Exact)]
    if not found:
        raise InputError("the model has no converted layers; see accelsim.quantize_")
    return found


def _rounded(
    parameter: Tensor, name: str, module: nn.Module, choice: Choice, config: IntegerConfig
) -> StoredWeight:
    weight = parameter.detach()
    if choice.transposed(module):
        weight = weight.T
    if weight.is_meta:
        return placeholder(weight.shape, config.granularity == "row", config.widths.b)
    how = config.rounding("weights")
    rounded = quantize(
        weight, how.percentile, how.beta, how.granularity, how.zero_alpha, f"the weight of {name}"
    )
    return stored(rounded, config.widths.b)


def _become(module: nn.Module, kind: type[nn.Module]) -> None:
    """Give a module another class, which all that refer to it see."""
    module.__class__ = kind


def _convert(
    module: nn.Module,
    name: str,
    config: IntegerConfig,
    choice: Choice,
    weights: dict[str, StoredWeight],
) -> None:
    parameter = module.get_parameter("weight")
    transposed = choice.transposed(module)
    shape = parameter.shape[::-1] if transposed else parameter.shape
    module.__dict__ |= {
        "out_features": shape[0],
        "in_features": shape[1],
        "place": name or type(module).__name__,
        "settings": config.to_json(),
        "original": type(module),
        "transposed": transposed,
        "kept_dtype": parameter.dtype,
    }
    if config.training:
        _become(module, ExactTrainingLinear)
        return
    _become(module, ExactLinear)
    assert isinstance(module, ExactLinear)
    module.take_weight(weights[name])


def _tell_transformers(what: str, model: nn.Module, *settings: IntegerConfig) -> None:
    """Have a model of transformers saved as what it is now: its own code knows floats alone."""
    kind = getattr(sys.modules.get("transformers"), "PreTrainedModel", None)
    if kind is None or not isinstance(model, kind):
        return
    try:
        module = importlib.import_module("accelsim.huggingface")
    except InputError as error:
        warnings.warn(f"save_pretrained cannot save this model: {error}", stacklevel=3)
        return
    getattr(module, what)(model, *settings)
