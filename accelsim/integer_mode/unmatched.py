"""Globs that choose GEMMs of a model and match none of them."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from accelsim.errors import InputError
from workloads.gemm import OPS, listed
from workloads.tracing import place, place_of_name


class Globs:
    """Sees the GEMMs that a model runs, and finds globs that none of them matches.

    Parameters
    ----------
    globs : mapping
        What messages call a list of globs, such as ``skip``, to the globs.
    """

    def __init__(self, globs: Mapping[str, Sequence[str]]) -> None:
        self._unmatched = [(key, glob) for key, several in globs.items() for glob in several]
        self._names: dict[str, None] = {}
        self._expected = False

    def expect(self, model: nn.Module) -> None:
        """Raise if no module of a model can have a GEMM that a glob matches.

        A glob that matches a module without GEMMs passes; `check` finds it when the model has run.

        Parameters
        ----------
        model : nn.Module
            The model, before it runs.

        Raises
        ------
        InputError
            With the names of the modules that have weights, or with that of the layer where
            `glob` names one of its GEMMs.
        """
        if self._expected:
            return
        self._expected = True
        places = dict.fromkeys(place(name, op) for name, _ in model.named_modules() for op in OPS)
        for key, glob in self._unmatched:
            if glob not in places and not any(fnmatchcase(name, glob) for name in places):
                raise InputError(
                    f"{key}: no GEMM can match {glob!r}; {_instead(glob, model, places)}"
                )

    def see(self, name: str) -> None:
        """Record a GEMM's place."""
        if name not in self._names:
            self._names[name] = None
            self._unmatched = [
                (key, glob) for key, glob in self._unmatched if not fnmatchcase(name, glob)
            ]

    def check(self) -> None:
        """Raise if a glob has matched nothing, though GEMMs ran.

        Raises
        ------
        InputError
            With the names of the GEMMs that ran.
        """
        if self._names and self._unmatched:
            key, glob = self._unmatched[0]
            names = listed(self._names)
            raise InputError(f"{key}: no GEMM matches {glob!r}; the model ran: {names}")


def _instead(glob: str, model: nn.Module, places: Container[str]) -> str:
    """Say what to use in place of a glob that matches nothing."""
    whole = place_of_name(glob)
    if whole in places:
        return f"{whole!r} has all GEMMs of this layer, in both passes, which go together here"
    return f"layers with weights: {listed(_weighted(model)) or 'none'}"


def _weighted(model: nn.Module) -> list[str]:
    """Name the modules that multiply matrices of their own.

    Embeddings look rows up, and the output layer of ``nn.MultiheadAttention`` runs as a part of it.
    """
    return [
        place(name, "linear")
        for name, module in model.named_modules()
        if any(x.ndim > 1 for x in module.parameters(recurse=False))
        and not isinstance(module, _WITHOUT_GEMMS)
    ]


_WITHOUT_GEMMS = (nn.Embedding, nn.EmbeddingBag, NonDynamicallyQuantizableLinear)
