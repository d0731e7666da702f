"""The keys of a run's config, their ranges and their defaults, as pydantic models.

A field's `description` is what a message says is allowed there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from accelsim.config.fields import Section, Selection, as_tuple
from accelsim.config.settings import QuantizeSection, UnpackSection


class TimingSection(Section):
    """``timing``: how often each stage is timed, and what is prepared outside the total.

    With a `target_error`, `repeats` is the least number: there are more until the median is that
    certain or `budget_s` seconds are spent on the record. With `roofline` the run ends with a
    measurement of each backend's highest rate and of its device's memory. Unless `interleaved` is
    false, baselines are timed in turn with the repeats of every record, not once for each GEMM.
    With `graph`, a fused route on an NVIDIA GPU is captured as a CUDA graph, and its replays are
    timed.
    """

    repeats: Annotated[int, Field(ge=1)] = Field(
        default=20, description="a whole number, at least 1"
    )
    warmup: Annotated[int, Field(ge=0)] = Field(default=3, description="a whole number, at least 0")
    target_error: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="a number between 0 and 1, such as 0.02 for 2%"
    )
    budget_s: Annotated[float, Field(gt=0)] = Field(
        default=10.0, description="a number of seconds above 0"
    )
    cache: Literal["warm", "cold"] = Field(default="warm", description="warm or cold")
    prepared: Selection[Literal["a", "b"]] = Field(
        default=(), description="a list of the operands a and b"
    )
    roofline: bool = Field(default=False, description="true or false")
    interleaved: bool = Field(default=True, description="true or false")
    graph: bool = Field(default=False, description="true or false")


class ConfigSections(Section):
    """A whole config; what `workloads` and `backends` hold is checked apart."""

    name: str | None = Field(
        default=None,
        pattern=r"^\w[\w .+-]*$",
        description="text of letters, digits, spaces and . _ + -, beginning with a letter or digit",
    )
    workloads: Annotated[tuple[Any, ...], BeforeValidator(as_tuple)] = Field(
        min_length=1, description="a list of at least one workload"
    )
    quantize: QuantizeSection = Field(default=QuantizeSection(), description="a mapping")
    unpack: UnpackSection = Field(default=UnpackSection(), description="a mapping")
    backends: Annotated[tuple[Any, ...], BeforeValidator(as_tuple)] = Field(
        min_length=1, description="a list of at least one backend"
    )
    accelerator: Selection[str] = Field(
        default=(), description="a list of the names or YAML files of described accelerators"
    )
    baselines: Selection[str] = Field(default=(), description="a list of the names of baselines")
    k_split: Literal["auto", "never"] = Field(default="auto", description="auto or never")
    timing: TimingSection = Field(default=TimingSection(), description="a mapping")
    product: Literal["integers", "float", "none"] = Field(
        default="integers", description="integers, float or none"
    )
    plan: str | None = Field(default=None, description="the path of a plan")
    output: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="the path of a folder, from the current folder"
    )
