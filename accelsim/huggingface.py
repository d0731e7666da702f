"""Exact integer models of Hugging Face: importing this module registers the way to quantize.

    import accelsim.huggingface
    from accelsim import IntegerConfig
    from transformers import AutoModelForCausalLM

    config = IntegerConfig(beta={"weights": 127, "default": 63}, granularity="row")
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=config)
    model.save_pretrained("exact")  # and from_pretrained("exact") loads it

It needs transformers 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from accelsim.errors import DataError, InputError
from accelsim.integer_mode.converted import IntegerConfig, dequantize_, quantize_
from accelsim.integer_mode.converted.config import METHOD
from accelsim.integer_mode.converted.digits import NAMES
from accelsim.integer_mode.converted.format import FORMAT, verified
from accelsim.integer_mode.converted.modules import ExactLinear
from accelsim.plugins.extras import how_to_install, need

need("transformers", "models")

import transformers  # noqa: E402
from transformers.quantizers.auto import (  # noqa: E402
    AUTO_QUANTIZER_MAPPING,
    register_quantization_config,
    register_quantizer,
)
from transformers.quantizers.base import HfQuantizer  # noqa: E402
from transformers.utils.quantization_config import QuantizationConfigMixin  # noqa: E402

NEEDED = 5
"""The version of transformers."""

if int(transformers.__version__.partition(".")[0]) < NEEDED:
    raise InputError(
        f"transformers {transformers.__version__} is too old: version {NEEDED} is needed "
        f"({how_to_install('models')})"
    )


class _Config(IntegerConfig, QuantizationConfigMixin):  # type: ignore[misc]
    """The settings, as a model's ``config.json`` has them."""


# Those that are given and those of the file are compared by the names of their classes.
_Config.__name__ = IntegerConfig.__name__


class AccelsimQuantizer(HfQuantizer):
    """Converts models that are loaded, and loads those that were saved converted.

    Parameters
    ----------
    quantization_config : IntegerConfig
        How operands are rounded.
    **kwargs
        What transformers tells: ``pre_quantized`` where the settings are those of the folder.
    """

    def __init__(self, quantization_config: IntegerConfig, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)  # type: ignore[arg-type]
        self._config = quantization_config
        self._prepared = False

    def _process_model_before_weight_loading(
        self, model: nn.Module, checkpoint_files: list[str] | None = None, **kwargs: Any
    ) -> None:
        """Give layers that the files have converted the places for what they are to load."""
        if not self.pre_quantized:
            return
        found = _saved(checkpoint_files or [])
        marker = f".{FORMAT}"
        saved = {name.removesuffix(marker) for name in found if name.endswith(marker)}
        if not saved:  # float weights, of a model that was saved in training
            return
        prefix = f"{getattr(model, 'base_model_prefix', '')}."
        own = {
            name: next(
                (x for x in (name, prefix + name, name.removeprefix(prefix)) if x in saved), ""
            )
            for name, _ in model.named_modules()
        }
        quantize_(model, self._config, lambda module, name: bool(own[name]))
        for name, module in model.named_modules():
            if isinstance(module, ExactLinear):
                for tensor in (*NAMES, FORMAT):
                    full = f"{own[name]}.{tensor}"
                    if full not in found:
                        raise DataError(f"{full} is missing beside {own[name]}.weight")
                    shape, dtype = found[full]
                    module.register_buffer(tensor, torch.empty(shape, dtype=dtype, device="meta"))
        self._prepared = True

    def _process_model_after_weight_loading(self, model: nn.Module, **kwargs: Any) -> None:
        """Compare what was loaded with what was saved, or convert what was loaded."""
        if not self._prepared:
            quantize_(model, self._config)
            _untie(model)
            return
        for name, module in model.named_modules():
            if isinstance(module, ExactLinear):
                tensors = {tensor: module._buffers[tensor] for tensor in (*NAMES, FORMAT)}
                shape = module.out_features, module.in_features
                verified(tensors, module.settings, shape, f"{name}.")

    def is_serializable(self, **kwargs: Any) -> bool:
        """Whether the model can be saved."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Whether gradients go through the model."""
        return True

    @property
    def is_qat_trainable(self) -> bool:
        """Whether the weights themselves are trained."""
        return self._config.training

    @property
    def is_compileable(self) -> bool:
        """Whether the model can be compiled."""
        return True

    def _dequantize(self, model: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
        return dequantize_(model, dtype)


def attach(model: nn.Module, config: IntegerConfig) -> None:
    """Have a model that `quantize_` converted save its settings, as one that was loaded so does.

    Parameters
    ----------
    model : nn.Module
        A model of transformers.
    config : IntegerConfig
        How it was converted.
    """
    settings = _Config.from_dict(config.to_dict())
    assert isinstance(settings, _Config), "a pair was not asked for"
    model.hf_quantizer = AccelsimQuantizer(settings)  # type: ignore[assignment]
    model.config.quantization_config = settings  # type: ignore[union-attr]
    _untie(model)


def detach(model: nn.Module) -> None:
    """Have a model whose layers are floats again be saved as one.

    Parameters
    ----------
    model : nn.Module
        A model of transformers.
    """
    if isinstance(getattr(model, "hf_quantizer", None), AccelsimQuantizer):
        del model.hf_quantizer
        del model.config.quantization_config  # type: ignore[union-attr]


if METHOD not in AUTO_QUANTIZER_MAPPING:
    register_quantization_config(METHOD)(_Config)
    register_quantizer(METHOD)(AccelsimQuantizer)


_TYPES = {
    "I8": torch.int8,
    "U8": torch.uint8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F32": torch.float32,
}


def _saved(files: Iterable[str]) -> dict[str, tuple[list[int], torch.dtype]]:
    """Return the shapes and types of the tensors in files that converted layers may have saved.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    found = {}
    for file in files:
        if Path(file).suffix != ".safetensors":
            raise InputError(f"{file}: converted models are loaded from safetensors files")
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118
                    part = tensors.get_slice(name)
                    dtype = _TYPES.get(part.get_dtype())
                    if dtype is not None:
                        found[name] = part.get_shape(), dtype
        except (OSError, SafetensorError) as error:
            raise DataError(f"{file}: it is damaged or cut off ({error})") from error
    return found


def _untie(model: nn.Module) -> None:
    """Have an output layer with integers of its own saved, and not tied when it is loaded."""
    tied: Mapping[str, str] = getattr(model, "all_tied_weights_keys", {})
    kept = {
        name: source
        for name, source in tied.items()
        if not isinstance(model.get_submodule(name.rpartition(".")[0]), ExactLinear)
    }
    if len(kept) < len(tied):
        model.all_tied_weights_keys = kept  # type: ignore[assignment]
        model.config.tie_word_embeddings = False  # type: ignore[union-attr]
