"""Texts as numbers: characters, or pieces of words that are learnt on the spot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from accelsim.errors import InputError, unknown_name
from accelsim.files import make_once
from accelsim.kernels.cache import cache_folder
from accelsim.plugins.extras import need
from workloads.models.corpora.gcide import gcide
from workloads.models.text import Text, shipped_text

TEXTS: dict[str, Callable[[], Text]] = {"pydoc": shipped_text, "gcide": gcide}
"""The texts by name."""

RESERVED = 64
"""Tokens of a learnt vocabulary that no text has: for masks, padding and sentinels."""

FEWEST = 256 + RESERVED
"""The smallest vocabulary that can be learnt: all bytes, and what is reserved."""


@dataclass(frozen=True)
class Corpus:
    """A text as tokens, of which the last tenth is held out.

    Parameters
    ----------
    train, held_out : Tensor
        int64 ``[N]``.
    used : int
        Tokens of the text are below.
    source : dict
        What the text and its tokens are, for a bundle or a result.
    """

    train: Tensor
    held_out: Tensor
    used: int
    source: dict[str, Any]


@cache
def corpus(name: str, vocabulary: int | None = None) -> Corpus:
    """Return a text as tokens.

    Parameters
    ----------
    name : str
        Of `TEXTS`.
    vocabulary : int, optional
        How many tokens there are, `RESERVED` included; they are learnt from the text by byte-pair
        encoding and cached. By default every character is a token.

    Raises
    ------
    InputError
        If the text is unknown or not there.
    """
    if name not in TEXTS:
        raise InputError(unknown_name("text", name, TEXTS))
    text = TEXTS[name]()
    source: dict[str, Any] = dict(text.source)
    if vocabulary is None:
        letters = sorted(set(text.content))
        number = {letter: index for index, letter in enumerate(letters)}
        tokens = torch.tensor([number[letter] for letter in text.content], device="cpu")
        used = len(letters)
    else:
        used = vocabulary - RESERVED
        numbers = _learnt(name, text, used)
        source |= {
            "tokens": f"byte-pair encoding, {vocabulary} with {RESERVED} reserved",
            "tokens_sha256": hashlib.sha256(numbers.astype("<u2").tobytes()).hexdigest(),
        }
        tokens = torch.from_numpy(numbers.astype(np.int64))
    cut = len(tokens) * 9 // 10
    return Corpus(tokens[:cut], tokens[cut:], used, source)


def _learnt(name: str, text: Text, size: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Return the tokens of a text in a vocabulary that was learnt from it."""
    if not FEWEST - RESERVED <= size < 1 << 16:
        raise InputError(f"vocabulary: found {size + RESERVED}; expected {FEWEST} to {1 << 16}")
    digest = text.source["text_sha256"][:16]
    path = cache_folder("corpora") / f"{name}-{digest}-bpe{size}.npz"

    def fill(path: Path) -> None:
        np.savez_compressed(path, tokens=_encoded(text.content, size))

    try:
        with np.load(make_once(path, fill)) as file:
            return np.asarray(file["tokens"], dtype=np.uint16)
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(f"{path}: cannot be read: {error}; remove it") from error


def _encoded(text: str, size: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    tokenizers = need("tokenizers", "models")
    bytes_ = tokenizers.pre_tokenizers.ByteLevel
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = bytes_(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=sorted(bytes_.alphabet()), show_progress=False
    )
    pieces = [f"{piece}\n\n" for piece in text.split("\n\n")]
    tokenizer.train_from_iterator(pieces, trainer)
    encoded = [found.ids for found in tokenizer.encode_batch_fast(pieces)]
    return np.fromiter((token for ids in encoded for token in ids), dtype=np.uint16)
