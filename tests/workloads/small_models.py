"""Small models of every kind that capture has to understand."""

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention, softmax
from torch.utils.checkpoint import checkpoint


class Attention(nn.Module):
    """Attention with as many key heads as asked for, fused or not."""

    def __init__(self, size=12, heads=4, kv_heads=4, fused=True, dropout=0.0):
        super().__init__()
        self.heads, self.kv_heads, self.fused, self.dropout = heads, kv_heads, fused, dropout
        head = size // heads
        self.q = nn.Linear(size, size)
        self.k = nn.Linear(size, kv_heads * head, bias=False)
        self.v = nn.Linear(size, kv_heads * head)
        self.o = nn.Linear(size, size)

    def forward(self, x):
        q = self._split(self.q(x), self.heads)
        k, v = self._split(self.k(x), self.kv_heads), self._split(self.v(x), self.kv_heads)
        if self.fused:
            grouped = self.heads != self.kv_heads
            y = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
        else:
            k, v = (t.repeat_interleave(self.heads // self.kv_heads, 1) for t in (k, v))
            scores = q @ k.mT / q.shape[-1] ** 0.5
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
            p = softmax(scores.masked_fill(~mask, -torch.inf), -1).to(q.dtype)
            y = nn.functional.dropout(p, self.dropout, self.training) @ v
        return self.o(y.transpose(1, 2).flatten(2))

    def _split(self, x, heads):
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """A Transformer block."""

    def __init__(self, size=12, **options):
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.attention = Attention(size, **options)
        self.up = nn.Linear(size, 2 * size)
        self.down = nn.Linear(2 * size, size)

    def forward(self, x):
        x = x + self.attention(self.norm(x))
        return x + self.down(gelu(self.up(self.norm(x))))


class Language(nn.Module):
    """A language model whose output layer has the embedding's weight."""

    def __init__(self, vocabulary=30, size=12, blocks=2, checkpointing=None, **options):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, size)
        self.blocks = nn.ModuleList(Block(size, **options) for _ in range(blocks))
        self.head = nn.Linear(size, vocabulary, bias=False)
        self.head.weight = self.embed.weight
        self.checkpointing = checkpointing

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            if self.checkpointing is None:
                x = block(x)
            else:
                x = checkpoint(block, x, use_reentrant=self.checkpointing == "reentrant")
        return self.head(x)


def language(seed=0, **options):
    torch.manual_seed(seed)
    return Language(**options)


def ids(batch=2, tokens=7, vocabulary=30):
    return torch.randint(vocabulary, (batch, tokens), generator=torch.Generator().manual_seed(3))


def loss(logits, tokens):
    return nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten()
    )


class Vision(nn.Module):
    """A vision Transformer in the way of timm: patches by convolution, q, k and v in one layer."""

    def __init__(self, size=12, heads=3):
        super().__init__()
        self.heads = heads
        self.patch_embed = nn.Conv2d(3, size, kernel_size=4, stride=4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size))
        self.norm = nn.LayerNorm(size)
        self.qkv = nn.Linear(size, 3 * size)
        self.proj = nn.Linear(size, size)
        self.head = nn.Linear(size, 10)

    def forward(self, images):
        x = self.patch_embed(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        b, n, c = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, n, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))
        return self.head(x[:, 0])
