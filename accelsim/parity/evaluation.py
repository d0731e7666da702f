"""``accelsim eval``: the quality of a model under each treatment of its GEMMs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accelsim.errors import DataError, UnsupportedError
from accelsim.integer_mode import IntegerGemms
from accelsim.integer_mode.replacing import ALL
from accelsim.measure.durations import duration
from accelsim.parity.clipping import ClippedGemms
from accelsim.parity.configs import EvalSections, ParityConfig
from accelsim.parity.devices import check_device
from accelsim.parity.forecast import forecast
from accelsim.parity.groups import GroupedGemms
from accelsim.parity.progress import Course, Part, Show, unseen
from accelsim.parity.quality import Quality, embeddings, likeness, perplexity, windows
from accelsim.parity.storage import weight_storage
from accelsim.parity.torchao import TorchaoLayers
from accelsim.parity.treatments import NOTHING_REPLACED, Treatment
from accelsim.parity.weights import weight_bytes
from accelsim.plugins.extras import need
from accelsim.records import RunFolder
from accelsim.records.experiments import EvalRecord
from accelsim.settings import PerKind
from workloads.models.huggingface import Loaded, load
from workloads.models.opening import load_catalog_model
from workloads.models.text import read_text

Say = Callable[[str], None]

TALLIED = (IntegerGemms, GroupedGemms)
"""Contexts that count what they multiply in integers."""


def evaluate(
    config: ParityConfig[EvalSections],
    folder: RunFolder[EvalRecord],
    say: Say,
    show: Show = unseen,
) -> list[EvalRecord]:
    """Evaluate a model under every treatment that the folder does not have yet.

    Parameters
    ----------
    config : ParityConfig
        What is evaluated.
    folder : RunFolder
        Gets a record as soon as it is known.
    say : callable
        Called with lines that are worth keeping.
    show : callable, optional
        Called with the progress.

    Raises
    ------
    InputError
        If the model cannot be loaded or a backend does not run here.
    """
    sections = config.sections
    check_device(sections.device)
    if any(treatment.method == "torchao" for treatment in config.treatments):
        need("torchao", "torchao")
    loaded = _open(sections, say)
    loaded.model.to(sections.device)
    text = read_text(None if sections.text is None else Path(sections.text))
    ids = loaded.tokenizer(text.content, add_special_tokens=False, verbose=False)["input_ids"]
    inputs = windows(torch.tensor(ids, device="cpu"), sections.windows, sections.tokens)
    inputs = inputs.to(sections.device)
    _check_globs(config.treatments, loaded, inputs)
    reference = None if loaded.generates else embeddings(loaded.model, inputs)
    folder.note(text=text.source, text_tokens=len(ids))
    done = folder.done_keys()
    missing = [
        treatment
        for treatment in config.treatments
        if (json.dumps(treatment.to_record(), sort_keys=True),) not in done
    ]
    course = Course(_parts(loaded, inputs, missing), show)
    if missing:
        size = f"{inputs.shape[0]} × {inputs.shape[1]} tokens"
        about = duration(course.seconds)
        say(f"treatments to evaluate: {len(missing)}, each on {size}; about {about} in all")
    for place, treatment in enumerate(missing):
        course.begin(place)
        record = _record(
            treatment, loaded, inputs, reference, sections.model, text.source, course.reach
        )
        folder.append(record)
        shown = record.reason or f"{record.metric} {record.value:.5g}"
        say(f"[{place + 1}/{len(missing)}] {record.label}: {shown}")
    return list(folder.records)


def _parts(loaded: Loaded, inputs: Tensor, treatments: Sequence[Treatment]) -> list[Part]:
    costs = forecast(loaded.model, partial(_quality, loaded, reference=None), inputs, treatments)
    return [
        Part(treatment.label, len(inputs), cost)
        for treatment, cost in zip(treatments, costs, strict=True)
    ]


def _check_globs(treatments: Sequence[Treatment], loaded: Loaded, inputs: Tensor) -> None:
    """Run two tokens under each selection: a glob that matches no GEMM is an error before work."""
    used = [(how.selection, how.planned) for how in treatments if how.method != "float"]
    for selection, planned in dict.fromkeys(used):
        if selection != ALL or planned:
            with ClippedGemms(loaded.model, PerKind[float].all(100), selection, planned):
                _quality(loaded, inputs[:1, :2], None)


def _open(sections: EvalSections, say: Say) -> Loaded:
    if Path(sections.model).is_dir():
        return load(Path(sections.model), sections.gguf)
    return load_catalog_model(sections.model, say)


def _record(
    treatment: Treatment,
    loaded: Loaded,
    inputs: Tensor,
    reference: Tensor | None,
    model: str,
    source: dict[str, str],
    tell: Callable[[int], None],
) -> EvalRecord:
    metric, value, reason = "perplexity" if loaded.generates else "cosine to float", None, ""
    start = time.perf_counter()
    mode = treatment.context(loaded.model)
    try:
        with mode:
            found = _quality(loaded, inputs, reference, tell)
        metric = found.metric
        value = found.value if math.isfinite(found.value) else None
        reason = "" if value is not None else f"the {metric} is not finite"
        if isinstance(mode, TALLIED) and not mode.tally.total.gemms:
            value, reason = None, NOTHING_REPLACED
    except (DataError, UnsupportedError) as error:
        reason = str(error)
    seconds = time.perf_counter() - start
    tally: dict[str, Any] = mode.tally.summary() if isinstance(mode, TALLIED) else {}
    return EvalRecord(
        model=Path(model).name,
        text_sha256=source["text_sha256"],
        treatment=treatment.to_record(),
        label=treatment.label,
        metric=metric,
        value=value,
        reason=reason,
        seconds=seconds,
        tally=tally,
        storage={} if reason else _storage(treatment, loaded.model, mode),
    )


def _storage(treatment: Treatment, model: nn.Module, mode: Any) -> dict[str, Any]:
    """Return what the weights take: as they are kept, and under codes where no scheme is fixed."""
    if isinstance(mode, TorchaoLayers):
        return {"weight_bytes": mode.weight_bytes}
    found: dict[str, Any] = {"weight_bytes": weight_bytes(model, treatment)}
    if treatment.method == "integers":
        found |= weight_storage(model, treatment.weights).summary()
    return found


def _quality(
    loaded: Loaded,
    inputs: Tensor,
    reference: Tensor | None,
    tell: Callable[[int], None] = lambda number: None,
) -> Quality:
    if loaded.generates:
        return perplexity(loaded.model, inputs, tell)
    found = embeddings(loaded.model, inputs, tell)
    return likeness(found, found if reference is None else reference)
