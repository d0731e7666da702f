"""Tasks on English text: the next token, masked tokens, and spans that were cut out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from accelsim.errors import InputError
from accelsim.plugins.extras import need
from workloads.models.corpora.tokens import RESERVED, corpus
from workloads.models.small import SmallGPT
from workloads.models.task import Task, generator

EVALUATED = 64
"""Sequences of an evaluation, evenly spaced over what is held out."""

NOISE = 0.15
"""The share of the tokens that a model is to find."""

SPAN = 3
"""The mean number of tokens of a span that is cut out."""

IGNORED = -100
"""A label that the loss passes over."""


class TextTask(Task):
    """A task on a text, of which the last tenth is held out.

    Parameters
    ----------
    batch : int
        Sequences of a batch.
    context : int
        Tokens of a sequence.
    width, layers, heads : int
        Of the model.
    data : str
        The text; see `workloads.models.corpora.tokens.TEXTS`.
    vocabulary : int, optional
        How many tokens there are; by default the text is read by characters.
    """

    metric = "held-out loss"

    further = 0
    """Tokens that are read beyond the context."""

    def __init__(
        self,
        batch: int = 16,
        context: int = 64,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        data: str = "pydoc",
        vocabulary: int | None = None,
    ) -> None:
        self._batch, self._context = batch, context
        self._sizes = {"width": width, "layers": layers, "heads": heads}
        text = corpus(data, vocabulary)
        self.source = dict(text.source)
        self._used, self._train, self._held_out = text.used, text.train, text.held_out
        self._vocabulary = text.used if vocabulary is None else vocabulary

    def batch(self, step: int, seed: int) -> Any:
        """Return what is made of sequences from random places."""
        random = generator(step, seed)
        last = len(self._train) - self._context - self.further + 1
        starts = torch.randint(last, (self._batch,), generator=random, device="cpu")
        return self._made(self._at(self._train, starts), random)

    def evaluate(self, model: nn.Module) -> float:
        """Return the mean loss of sequences that are held out."""
        last = len(self._held_out) - self._context - self.further
        starts = torch.arange(EVALUATED, device="cpu") * last // EVALUATED
        made = self._made(self._at(self._held_out, starts), generator(0, 0))
        with torch.no_grad():
            return float(self.loss(model, made))

    @abstractmethod
    def _made(self, tokens: Tensor, random: torch.Generator) -> Any:
        """Make a batch of sequences ``[batch, context + further]``."""

    def _at(self, tokens: Tensor, starts: Tensor) -> Tensor:
        return tokens[starts[:, None] + torch.arange(self._context + self.further, device="cpu")]


class NextTokenTask(TextTask):
    """Predict the next token; see `TextTask`."""

    further = 1

    def model(self) -> nn.Module:
        """Make a GPT."""
        return SmallGPT(self._vocabulary, self._context, **self._sizes)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats a token."""
        device = next(model.parameters()).device
        scores = model(batch[:, :-1].to(device))
        return cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten().to(device))

    def _made(self, tokens: Tensor, random: torch.Generator) -> Tensor:
        return tokens


class LlamaTask(NextTokenTask):
    """Predict the next token with a model of Llama's shape; see `TextTask`.

    It has rotary places, gated feed-forward layers and an output layer of its own.
    """

    def model(self) -> nn.Module:
        """Make a Llama."""
        transformers = need("transformers", "models")
        width, heads = self._sizes["width"], self._sizes["heads"]
        config = transformers.LlamaConfig(
            vocab_size=self._vocabulary,
            hidden_size=width,
            intermediate_size=8 * width // 3,
            num_hidden_layers=self._sizes["layers"],
            num_attention_heads=heads,
            max_position_embeddings=self._context,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=None,
        )
        model: nn.Module = transformers.LlamaForCausalLM(config)
        return model

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats a token."""
        device = next(model.parameters()).device
        scores = model(input_ids=batch[:, :-1].to(device), use_cache=False).logits
        return cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten().to(device))


class _WithReserved(TextTask):
    """A task with tokens that no text has: padding, a mask, and sentinels."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._vocabulary = self._used + RESERVED
        self._padding, self._mask = self._used, self._used + 1
        self._sentinels = self._used + 2


class MaskedTokenTask(_WithReserved):
    """Find the tokens that were masked, with RoBERTa; see `TextTask`.

    15% of the tokens are to be found; of these 80% are masked, 10% are replaced by others, and 10%
    stay as they are.
    """

    def model(self) -> nn.Module:
        """Make a RoBERTa without dropout."""
        transformers = need("transformers", "models")
        width = self._sizes["width"]
        config = transformers.RobertaConfig(
            vocab_size=self._vocabulary,
            hidden_size=width,
            num_hidden_layers=self._sizes["layers"],
            num_attention_heads=self._sizes["heads"],
            intermediate_size=4 * width,
            max_position_embeddings=self._context,
            type_vocab_size=1,
            pad_token_id=None,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        model: nn.Module = transformers.RobertaForMaskedLM(config)
        return model

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean cross-entropy in nats of a token that is to be found."""
        device = next(model.parameters()).device
        tokens = batch[0].to(device)
        # RoBERTa derives places from padding, of which there is none.
        places = torch.arange(tokens.shape[1], device=device).expand_as(tokens)
        scores = model(input_ids=tokens, position_ids=places).logits
        return cross_entropy(
            scores.flatten(0, 1), batch[1].flatten().to(device), ignore_index=IGNORED
        )

    def _made(self, tokens: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the masked tokens, and the labels."""
        sought, fate = (torch.rand(tokens.shape, generator=random, device="cpu") for _ in range(2))
        others = torch.randint(self._used, tokens.shape, generator=random, device="cpu")
        found = sought < NOISE
        changed = torch.where(fate < 0.8, self._mask, torch.where(fate < 0.9, others, tokens))
        return torch.where(found, changed, tokens), torch.where(found, tokens, IGNORED)


class SpanTask(_WithReserved):
    """Find the spans that were cut out, with T5's encoder and decoder; see `TextTask`.

    15% of the tokens are cut out, in spans of 3 on average; a sentinel stands for each in the
    encoder's input, and before each in the decoder's output.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._noise = max(1, round(NOISE * self._context))
        self._spans = max(1, round(self._noise / SPAN))
        if self._spans > RESERVED - 2:
            raise InputError(
                f"context: found {self._context}, which is cut {self._spans} times; expected one "
                f"that is cut at most {RESERVED - 2} times, once for each sentinel"
            )

    def model(self) -> nn.Module:
        """Make a T5 without dropout, with as many layers in the encoder as in the decoder."""
        transformers = need("transformers", "models")
        width, heads = self._sizes["width"], self._sizes["heads"]
        config = transformers.T5Config(
            vocab_size=self._vocabulary,
            d_model=width,
            d_kv=width // heads,
            d_ff=4 * width,
            num_layers=self._sizes["layers"],
            num_decoder_layers=self._sizes["layers"],
            num_heads=heads,
            dropout_rate=0.0,
            pad_token_id=self._padding,
            decoder_start_token_id=self._padding,
        )
        model: nn.Module = transformers.T5ForConditionalGeneration(config)
        return model

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean cross-entropy in nats of a token of the decoder's output."""
        device = next(model.parameters()).device
        before = batch[1].roll(1, -1)
        before[:, 0] = self._padding
        scores = model(
            input_ids=batch[0].to(device), decoder_input_ids=before.to(device), use_cache=False
        ).logits
        return cross_entropy(scores.flatten(0, 1), batch[1].flatten().to(device))

    def _made(self, tokens: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the encoder's input and the decoder's output."""
        batch, context = tokens.shape
        parts = [
            _lengths(items, self._spans, batch, random)
            for items in (context - self._noise, self._noise)
        ]
        # What stays and what is cut out take turns; what stays comes first.
        ends = torch.stack(parts, -1).flatten(1).cumsum(-1)
        place = torch.arange(context, device="cpu").expand(batch, -1).contiguous()
        turn = torch.searchsorted(ends, place, right=True)
        first = torch.cat([torch.ones_like(turn[:, :1]), turn.diff(dim=-1)], -1).bool()
        cut = turn % 2 == 1
        marked = torch.where(first, self._sentinels + turn // 2, tokens)
        given = torch.where(cut, marked, tokens)[~cut | first]
        wanted = torch.where(cut, tokens, marked)[cut | first]
        return given.view(batch, -1), wanted.view(batch, -1)


def _lengths(items: int, parts: int, batch: int, random: torch.Generator) -> Tensor:
    """Cut so many items into parts of random lengths of at least 1, ``[batch, parts]``."""
    ranks = torch.rand((batch, items - 1), generator=random, device="cpu").argsort(-1).argsort(-1)
    part = torch.cat([torch.zeros((batch, 1), device="cpu"), ranks < parts - 1], -1).cumsum(-1)
    return torch.nn.functional.one_hot(part.long(), parts).sum(1)
