"""The training tasks by name."""

from __future__ import annotations

from collections.abc import Callable

from workloads.models.image_tasks import ImageTask
from workloads.models.task import Task
from workloads.models.text_tasks import LlamaTask, MaskedTokenTask, NextTokenTask, SpanTask

TASKS: dict[str, Callable[..., Task]] = {
    "gpt": NextTokenTask,
    "llama": LlamaTask,
    "roberta": MaskedTokenTask,
    "t5": SpanTask,
    "vit": ImageTask,
}
"""The tasks by the name of their model."""
