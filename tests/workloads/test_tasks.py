"""The training tasks: batches, models, and what is held out."""

import pytest
import torch

from accelsim import integer_gemms
from accelsim.errors import InputError
from workloads.models.corpora.tokens import RESERVED, corpus
from workloads.models.tasks import TASKS
from workloads.models.text_tasks import IGNORED, _lengths

SMALL = {"batch": 2, "width": 16, "layers": 1, "heads": 2}


def small(name, **options):
    if name in ("llama", "roberta", "t5"):
        pytest.importorskip("transformers", reason="needs accelsim[models]")
    return TASKS[name](**SMALL, **({} if name == "vit" else {"context": 16}), **options)


@pytest.mark.parametrize("name", TASKS)
def test_every_gemm_forward_and_backward_is_one_of_integers(name):
    if name == "vit":
        pytest.importorskip("sklearn", reason="needs accelsim[models]")
    task = small(name)
    torch.manual_seed(0)
    model = task.model()
    with integer_gemms(model, beta=31, check=True) as mode:
        task.loss(model, task.batch(0, 0)).backward()
    counts = mode.tally.summary()
    assert counts["coverage"] == 1
    assert not counts["skipped"]
    assert counts["checked"] == counts["gemms"] > 15
    assert counts["inexact"] == 0
    # What is learnt at all has a gradient; only places and shifts of keys may be without one.
    assert all(x.grad is not None for x in model.parameters())
    first, second = task.evaluate(model), task.evaluate(model)
    assert first == second


def test_batches_depend_on_the_step_and_the_seed_alone():
    for name in ("gpt", "roberta", "t5"):
        task = small(name)
        torch.manual_seed(name == "gpt")
        one, again, other, seed = (
            torch.cat([x.flatten() for x in ([found] if name == "gpt" else found)])
            for found in (task.batch(3, 1), task.batch(3, 1), task.batch(4, 1), task.batch(3, 2))
        )
        assert torch.equal(one, again)
        assert not torch.equal(one, other)
        assert not torch.equal(one, seed)


def test_masked_tokens():
    task = small("roberta")
    tokens = torch.randint(task._used, (64, 256), generator=torch.Generator().manual_seed(0))
    given, wanted = task._made(tokens, torch.Generator().manual_seed(1))
    sought = wanted != IGNORED
    assert torch.equal(wanted[sought], tokens[sought])
    assert torch.equal(given[~sought], tokens[~sought])
    assert 0.13 < sought.float().mean() < 0.17
    masked = given[sought] == task._mask
    kept = given[sought] == tokens[sought]
    assert 0.75 < masked.float().mean() < 0.85
    assert 0.07 < kept.float().mean() < 0.14


def test_spans_are_cut_out_and_each_sentinel_stands_for_one():
    task = small("t5")
    task._context, task._noise, task._spans = 64, 10, 3
    tokens = torch.randint(task._used, (32, 64), generator=torch.Generator().manual_seed(0))
    given, wanted = task._made(tokens, torch.Generator().manual_seed(1))
    assert given.shape == (32, 64 - 10 + 3)
    assert wanted.shape == (32, 10 + 3)
    for row in range(32):
        cut = {}
        for token in wanted[row].tolist():
            if token >= task._used:
                span = cut[token] = []
            else:
                span.append(token)
        assert list(cut) == [task._sentinels + i for i in range(3)]
        assert all(cut.values()), "a span has at least one token"
        whole = [t for token in given[row].tolist() for t in cut.get(token, [token])]
        assert whole == tokens[row].tolist()
    assert len(given.unique(dim=0)) == 32, "the places of the spans are random"


def test_lengths_are_at_least_one_and_of_all_kinds():
    found = _lengths(5, 2, 400, torch.Generator().manual_seed(0))
    assert (found.sum(-1) == 5).all()
    assert sorted(found[:, 0].unique().tolist()) == [1, 2, 3, 4]
    assert torch.equal(_lengths(3, 3, 2, torch.Generator()), torch.ones(2, 3, dtype=torch.long))


def test_more_spans_than_sentinels():
    pytest.importorskip("transformers", reason="needs accelsim[models]")
    with pytest.raises(InputError, match=r"found 2000, which is cut 100 times; expected .* 62"):
        TASKS["t5"](batch=1, context=2000, width=8, layers=1, heads=1)


def test_a_vocabulary_is_learnt_and_kept(tmp_path, monkeypatch):
    pytest.importorskip("tokenizers", reason="needs accelsim[models]")
    monkeypatch.setenv("ACCELSIM_CACHE", str(tmp_path))
    corpus.cache_clear()
    learnt = corpus("pydoc", 400)
    letters = corpus("pydoc")
    assert learnt.used == 400 - RESERVED
    assert 0.3 < len(learnt.train) / len(letters.train) < 0.9
    both = torch.cat([learnt.train, learnt.held_out])
    assert int(both.max()) < learnt.used
    (file,) = (tmp_path / "corpora").iterdir()
    corpus.cache_clear()
    monkeypatch.setattr("workloads.models.corpora.tokens._encoded", lambda *arguments: 1 / 0)
    again = corpus("pydoc", 400)
    assert torch.equal(again.train, learnt.train)
    assert again.source == learnt.source
    file.write_bytes(b"odd")
    corpus.cache_clear()
    with pytest.raises(InputError, match=r"cannot be read: .*; remove it"):
        corpus("pydoc", 400)
    for vocabulary in (319, 70_000):
        with pytest.raises(InputError, match=f"vocabulary: found {vocabulary}; expected 320"):
            corpus("pydoc", vocabulary)
    corpus.cache_clear()
    with pytest.raises(InputError, match="unknown text 'gcdie'; did you mean 'gcide'"):
        corpus("gcdie")
