"""The first operator of a model whose output differs between two ways to run a prompt."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from accelsim.parity.invariance.prompts import Position
from workloads.tracing.operators import name_of


class Recorder(TorchDispatchMode):
    """Keeps what the operators of a model give for the tokens of one prompt.

    Parameters
    ----------
    prompt : int
        Which one.
    """

    def __init__(self, prompt: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.prompt = prompt
        self.outputs: dict[tuple[str, str, int], list[Tensor]] = defaultdict(list)
        self._modules: list[str] = []
        self._calls: Counter[tuple[str, str]] = Counter()
        self._position: Position | None = None

    def begin(self, position: Position) -> None:
        """Begin a forward pass in which the prompt lies at a position."""
        self._position = position
        self._calls.clear()

    @contextmanager
    def follow(self, model: nn.Module) -> Iterator[None]:
        """Record a model's operators, by the module that runs them."""

        def leave(*_: Any) -> None:
            self._modules.pop()
            if not self._modules:
                self._position = None

        handles = []
        for name, module in model.named_modules():

            def enter(_module: nn.Module, _args: Any, name: str = name) -> None:
                self._modules.append(name)

            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave, always_call=True))
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        first = out[0] if isinstance(out, tuple) and out else out
        wanted = self._position is not None and isinstance(first, Tensor)
        if wanted and first.is_floating_point() and not getattr(func, "is_view", True):
            place = self._modules[-1] if self._modules else "", name_of(func)
            own = own_tokens(first, self._position)
            if own is not None:
                self.outputs[*place, self._calls[place]].append(own)
            self._calls[place] += 1
        return out


def own_tokens(x: Tensor, position: Position | None) -> Tensor | None:
    """Return what an output has for the tokens of a prompt, tokens first; None if it is not plain.

    Parameters
    ----------
    x : Tensor
        ``[rows, ...]``, ``[rows * places, channels]`` or ``[rows * heads, ...]``, with places, and
        keys in the last dimension, among the further dimensions.
    position : Position
        The position of the prompt.
    """
    assert position is not None
    rows, width = position.rows, position.width
    if x.ndim < 2:
        return None
    if x.ndim == 2 and len(x) == rows * width:
        mine = x.reshape(rows, width, -1)[position.row]
    elif x.ndim > 2 and len(x) == rows:
        mine = x[position.row]
    elif x.ndim == 3 and len(x) % rows == 0:
        mine = x.reshape(rows, -1, *x.shape[1:])[position.row]
    else:
        return None
    # Heads come before tokens, which matters where there are as many of both.
    order = (1, 0, 2) if mine.ndim == 3 else range(mine.ndim)
    tokens = next((dim for dim in order if mine.shape[dim] == width), None)
    if tokens is None:
        return None
    mine = mine.narrow(tokens, position.start, position.tokens)
    keys = position.past + width
    if mine.ndim > 2 and tokens < mine.ndim - 1 and mine.shape[-1] == keys:
        mine = mine.narrow(-1, position.first_key, position.keys)
    return mine.movedim(tokens, 0).detach().clone()


def first_difference(reference: Recorder, other: Recorder) -> str:
    """Return the first operator of the reference whose output differs, with its module.

    Outputs of several forward passes are put together; what has another shape, such as scores of
    fewer keys, is not compared.

    Parameters
    ----------
    reference, other : Recorder
        What was recorded.
    """
    for key, parts in reference.outputs.items():
        right, found = _joined(parts), _joined(other.outputs.get(key, []))
        if right is None or found is None or right.shape[1:] != found.shape[1:]:
            continue
        tokens = min(len(right), len(found))
        if not torch.equal(right[:tokens].cpu(), found[:tokens].cpu()):
            module, operator, number = key
            return f"{module}: {operator}" + (f" ({number + 1})" if number else "")
    return ""


def _joined(parts: list[Tensor]) -> Tensor | None:
    if not parts or len({part.shape[1:] for part in parts}) > 1:
        return None
    return torch.cat(parts)
