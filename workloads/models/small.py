"""A small GPT and a small vision Transformer, written so that capture sees every GEMM."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention


class TransformerBlock(nn.Module):
    """One pre-norm Transformer block.

    Parameters
    ----------
    width, heads : int
        Of a token, and of the attention.
    causal : bool
        Whether a token sees only those before it.
    """

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[batch, tokens, width]`` to the same shape."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        hidden: Tensor = x + self.down(gelu(self.up(self.norm2(x))))
        return hidden


class SmallGPT(nn.Module):
    """A causal language model; the output layer has the embedding's weight.

    Parameters
    ----------
    vocabulary, context : int
        How many tokens there are, and how many it sees at most.
    width, layers, heads : int
        Of the Transformer.
    """

    def __init__(
        self, vocabulary: int, context: int, width: int = 64, layers: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.randn(context, width) * 0.02)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, causal=True) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens ``[batch, t]`` to scores of the next, ``[batch, t, vocabulary]``."""
        x = self.embed(tokens) + self.places[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.head(self.norm(x))
        return scores


class SmallViT(nn.Module):
    """A vision Transformer for small grey images, its patches embedded by a convolution.

    Parameters
    ----------
    side, patch : int
        Of the square image and of a square patch, in pixels.
    classes : int
        Number of classes.
    width, layers, heads : int
        Of the Transformer.
    """

    def __init__(
        self,
        side: int = 8,
        patch: int = 2,
        classes: int = 10,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, patch, stride=patch)
        self.places = nn.Parameter(torch.randn((side // patch) ** 2, width) * 0.02)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, causal=False) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``[batch, 1, side, side]`` to scores of their classes."""
        x = self.patches(images).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.head(self.norm(x).mean(1))
        return scores
