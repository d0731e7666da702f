"""What a model computes before some place, kept so that it is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import nn


class Prefix:
    """The results of the modules of a chain in one run of a model.

    Parameters
    ----------
    modules : mapping
        The chain by name; see `accelsim.tuning.places.chain`. Modules that run more than once in
        a pass are left out: they are computed again.
    run : callable
        Runs the model.
    """

    def __init__(self, modules: Mapping[str, nn.Module], run: Callable[[], object]) -> None:
        self._modules = modules
        self._results: dict[str, Any] = {}
        twice: set[str] = set()

        def keep(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, args: Any, result: Any) -> None:
                if name in self._results:
                    twice.add(name)
                self._results[name] = result

            return hook

        handles = [m.register_forward_hook(keep(name)) for name, m in modules.items()]
        try:
            run()
        finally:
            for handle in handles:
                handle.remove()
        for name in twice:
            del self._results[name]

    @contextmanager
    def replayed(self, names: frozenset[str]) -> Iterator[None]:
        """Have modules return what they did, without computing it, as long as the context lasts.

        Parameters
        ----------
        names : frozenset of str
            Which of the chain.
        """
        replaced = [name for name in names if name in self._results]
        try:
            for name in replaced:
                self._modules[name].forward = _always(self._results[name])
            yield
        finally:
            for name in replaced:
                del self._modules[name].forward


@contextmanager
def within(module: nn.Module, context: AbstractContextManager[Any]) -> Iterator[None]:
    """Enter a context whenever a module runs, and leave it when it is done.

    Parameters
    ----------
    module : nn.Module
        The module.
    context : context manager
        One that can be entered again.
    """
    run = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with context:
            return run(*args, **kwargs)

    module.forward = forward
    try:
        yield
    finally:
        del module.forward


def _always(result: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: result
