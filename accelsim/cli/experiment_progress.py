"""Progress of an experiment with a model: treatments, and windows or steps of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from accelsim.cli.live import Now, live, say

if TYPE_CHECKING:
    from accelsim.parity.progress import Show, Step


@contextmanager
def watching(console: Console, unit: str) -> Iterator[tuple[Callable[[str], None], Show]]:
    """Return a context with what prints lines that stay and what shows the progress.

    Parameters
    ----------
    console : Console
        Where; on a terminal the progress is a bar that is gone at the end.
    unit : str
        What a treatment consists of, such as ``window``.
    """
    with live(console) as update:

        def show(step: Step) -> None:
            words = f"{step.label}: {unit} {min(step.done + 1, step.units)} of {step.units}"
            count = f"{step.number}/{step.parts}"
            update(Now(step.share, count, step.seconds_left, lambda: words))

        yield partial(say, console), show
