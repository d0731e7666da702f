"""The documents of the task `python_docs`, made of the text that ships with accelsim."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from datasets.table import InMemoryTable

from workloads.models.text import SHIPPED_SHA256, shipped_text

COUNT, CHOICES = 40, 4
CONTEXT, CONTINUATION = 30, 20
"""Words."""


def documents(**_: Any) -> dict[str, Dataset]:
    """Return the cut paragraphs, each with the continuations of three others.

    Their words are joined by single blanks. Paragraphs are evenly spaced among those that are
    long enough.
    """
    paragraphs = [block.split() for block in shipped_text().content.split("\n\n")]
    whole = [words for words in paragraphs if len(words) >= CONTEXT + CONTINUATION]
    chosen = [whole[index * len(whole) // COUNT] for index in range(COUNT)]
    ends = [" ".join(words[CONTEXT : CONTEXT + CONTINUATION]) for words in chosen]
    rows = []
    for index, words in enumerate(chosen):
        answer = index % CHOICES
        others = [ends[(index + step) % COUNT] for step in range(1, CHOICES)]
        rows.append(
            {
                "context": " ".join(words[:CONTEXT]),
                "choices": [*others[:answer], ends[index], *others[answer:]],
                "answer": answer,
            }
        )
    # Without a fingerprint the table is hashed, which fails with some versions of pyarrow and dill.
    return {"test": Dataset(InMemoryTable.from_pylist(rows), fingerprint=SHIPPED_SHA256[:16])}
