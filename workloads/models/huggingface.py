"""Models in a local folder of Hugging Face's format, or in a GGUF file."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from accelsim.errors import InputError
from accelsim.plugins.extras import need
from workloads.models.runnable import Runnable
from workloads.models.text import Text

EXTRA = "models"

TEMPERATURE = 20.0
"""Factor of the cosines in the contrastive loss of encoders."""


@dataclass(frozen=True)
class Loaded:
    """A model and its tokenizer.

    Parameters
    ----------
    model : nn.Module
        float32, in evaluation mode.
    tokenizer : object
        Of `transformers`.
    generates : bool
        Whether it is a causal language model; an encoder otherwise.
    """

    model: nn.Module
    tokenizer: Any
    generates: bool

    def tokens(self, text: Text, count: int) -> Tensor:
        """Return the first tokens of a text, int64 ``[count]``, no special ones added.

        Raises
        ------
        InputError
            If the text has fewer.
        """
        # Eight characters a token are more than any text of a natural language has.
        start = text.content[: 8 * count + 1024]
        found = self.tokenizer(start, add_special_tokens=False, verbose=False)["input_ids"]
        if len(found) < count:
            raise InputError(f"{text.name}: has {len(found):,} tokens; {count:,} are requested")
        return torch.tensor(found[:count], device="cpu")


def load(folder: Path, gguf: str | None = None) -> Loaded:
    """Load a model from a local folder; nothing is downloaded and no code of the folder is run.

    Parameters
    ----------
    folder : Path
        Has ``config.json``, weights as safetensors and a tokenizer; or a GGUF file with all three.
    gguf : str, optional
        The name of the GGUF file in the folder.

    Raises
    ------
    InputError
        If `transformers` is not installed or cannot load the folder.
    """
    transformers = need("transformers", EXTRA)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if not folder.is_dir():
        raise InputError(
            f"{folder}: is not a folder; expected one with config.json and safetensors"
        )
    where: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if gguf is None:
        weights: dict[str, Any] = {**where, "use_safetensors": True}
    else:
        need("gguf", EXTRA)
        where = weights = {**where, "gguf_file": gguf}
    try:
        return _load(transformers, folder, where, weights, gguf is not None)
    except InputError:
        raise
    except Exception as error:  # a file that is cut short may raise anything
        known = isinstance(error, OSError | ValueError | ImportError)
        what = f"{error}" if known else f"{type(error).__name__}: {error}"
        file = folder if gguf is None else folder / gguf
        raise InputError(f"{file}: cannot be loaded: {what}") from error


def _load(
    transformers: Any, folder: Path, where: dict[str, Any], weights: dict[str, Any], gguf: bool
) -> Loaded:
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars that cannot be turned off
        config = transformers.AutoConfig.from_pretrained(folder, **where)
        names = config.architectures or []
        generates = gguf or any(name.endswith("CausalLM") for name in names)
        kind = transformers.AutoModelForCausalLM if generates else transformers.AutoModel
        model = kind.from_pretrained(folder, config=config, dtype=torch.float32, **weights)
        tokenizer = _tokenizer(transformers, folder, where)
    return Loaded(model.eval(), tokenizer, generates)


def _tokenizer(transformers: Any, folder: Path, where: dict[str, Any]) -> Any:
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, **where)
    except Exception as error:
        if any(folder.glob("*token*")) or any(folder.glob("vocab*")):
            raise
        raise InputError(
            f"{folder}: has no tokenizer; save the model's beside its weights, with "
            f"tokenizer.save_pretrained({str(folder)!r})"
        ) from error


def hf_runnable(
    loaded: Loaded, text: Text, batch: int, tokens: int, source: Mapping[str, Any]
) -> Runnable:
    """Make a model ready to run on the first tokens of a text.

    A causal language model predicts the next token of `batch` sequences. An encoder gets twice as
    many sequences and learns which of them follow each other (a contrastive loss of the means of
    its last hidden states).

    Parameters
    ----------
    loaded : Loaded
        The model.
    text : Text
        What it reads.
    batch, tokens : int
        How many sequences, of how many tokens.
    source : mapping
        What is known of the model, for the bundle.
    """
    transformers = need("transformers", EXTRA)
    about = {
        **source,
        **text.source,
        "tokens": tokens,
        "batch": batch,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if loaded.generates:
        ids = loaded.tokens(text, batch * tokens).reshape(batch, tokens)
        # Without a cache, which no later token would use.
        forward = partial(loaded.model, input_ids=ids, labels=ids, use_cache=False)
        return Runnable(loaded.model, forward, about)
    ids = loaded.tokens(text, 2 * batch * tokens).reshape(batch, 2, tokens)
    pairs = ids.transpose(0, 1).flatten(0, 1)
    forward = partial(loaded.model, input_ids=pairs, attention_mask=torch.ones_like(pairs))
    return Runnable(loaded.model, forward, about, _contrastive)


def _contrastive(output: Any) -> Tensor:
    """Return how badly the first half of the sequences finds its second half by cosine."""
    first, second = normalize(output.last_hidden_state.mean(1), dim=-1).chunk(2)
    return cross_entropy(TEMPERATURE * first @ second.mT, torch.arange(len(first), device="cpu"))
