"""Classifiers and training as what a plan has to keep."""

import pytest
import torch
from torch.optim import AdamW

import accelsim
from accelsim.config.plans import plan_from
from accelsim.errors import InputError
from accelsim.records import RunFolder
from accelsim.records.tuning import SensitivityRecord, TuneRecord
from accelsim.report.figures.tuning import draw_front
from accelsim.report.sensitivity import correlation_line, sensitivity_rows
from accelsim.report.tuning import tuning_rows
from accelsim.tuning.counts import count
from accelsim.tuning.curves import Grid
from accelsim.tuning.opening import open_subject
from accelsim.tuning.places import survey
from accelsim.tuning.prices import Macs
from accelsim.tuning.sensitivity import Examination, Examined, examine, settings_hash
from accelsim.tuning.target import Target
from accelsim.tuning.tasks import AFTERWARDS, EXAMINED, ImageSubject, TrainingSubject
from accelsim.tuning.tune import Tune, tune
from accelsim.types import StrategyChoice
from gemm_backends import load_backend
from workloads.models.image_tasks import ImageTask
from workloads.models.opening import LEARNING_RATE, Trained
from workloads.models.text_tasks import NextTokenTask

GRID = Grid((15, 127), (8,), (95,), "row", StrategyChoice("block"), 16)


def trained(task, steps):
    torch.manual_seed(0)
    model = task.model()
    optimizer = AdamW(model.parameters(), lr=LEARNING_RATE)
    for step in range(steps):
        optimizer.zero_grad()
        task.loss(model, task.batch(step, seed=0)).backward()
        optimizer.step()
    optimizer.zero_grad()
    return Trained(task, model.eval(), {"model": "small", **task.source}, steps)


@pytest.fixture(scope="module")
def classifier():
    task = ImageTask(batch=32, width=16, layers=1, heads=2)
    return ImageSubject("digits", task, trained(task, 300))


@pytest.fixture(scope="module")
def training():
    task = NextTokenTask(batch=4, context=16, width=16, layers=1, heads=2)
    return TrainingSubject("characters", task, trained(task, 10), steps=4)


def searched(subject, target, path, said):
    def folder(name, settings, kind):
        return RunFolder.open(path / name, settings, settings_hash(settings), kind=kind)

    examination = Examination(betas=(7, 31), bits=GRID.bits)
    with folder("sensitivity", examination.to_dict(subject), SensitivityRecord) as own:
        errors = examine(subject, examination, own, said.append)
    how = Tune(Target.parse(target), "macs", GRID, 1, 2, "edge", pareto=False)
    with folder("tune", how.to_dict(subject), TuneRecord) as own:
        return errors, tune(subject, how, Macs(), errors, own, said.append)


def test_a_classifier_keeps_its_accuracy_on_images_of_both_halves(classifier, tmp_path):
    _, found = searched(classifier, "accuracy -2%", tmp_path, [])
    best = found.best
    assert best.floats > 0.7, "a model that guesses loses nothing"
    plan = plan_from(best.plan)
    for held_out, value in ((False, best.tuned), (True, best.held_out)):
        images, labels = classifier.images(held_out)
        with torch.no_grad():
            floats = (classifier.model(images).argmax(-1) == labels).double().mean()
            with accelsim.integer_gemms(classifier.model, plan=plan):
                integers = (classifier.model(images).argmax(-1) == labels).double().mean()
        assert value == float(integers)
        assert float(floats - integers) <= best.harm <= 0.02
    assert min(record.cost for record in found.records if record.meets) == best.cost
    assert tuning_rows(found.records)[0]["accuracy lost, %"] == 100 * found.records[0].harm
    draw_front(found.records, tmp_path / "front.svg")


def test_the_sensitivity_of_a_classifier_is_that_of_its_probabilities(classifier):
    examined = Examined(classifier, Examination(gemms=("head",)))
    record = examined.record(examined.places[0], "weights", 7)
    images, labels = (x[:EXAMINED] for x in classifier.images(False))
    with torch.no_grad():
        before = classifier.model(images).double().log_softmax(-1)
        plan = plan_from({"schema": 1, "gemms": {"head": {
            "weights": {"beta": 7, "percentile": 95},
            "activations": {"beta": 2**20, "percentile": 100}, "granularity": "row",
        }}})  # fmt: skip
        with accelsim.integer_gemms(classifier.model, plan=plan, gemms=["head"]):
            after = classifier.model(images).double().log_softmax(-1)
    expected = float((before.exp() * (before - after)).sum(-1).mean())
    assert record.divergence == pytest.approx(expected, rel=1e-3)
    loss = float((before - after).gather(1, labels[:, None]).mean())
    assert record.loss == pytest.approx(loss, rel=1e-2)


def by_hand(subject, seed, plan):
    torch.manual_seed(seed)
    model = subject.task.model()
    optimizer = AdamW(model.parameters(), lr=LEARNING_RATE)
    with accelsim.integer_gemms(model, plan=plan):
        for step in range(subject.steps):
            optimizer.zero_grad()
            subject.task.loss(model, subject.task.batch(step, seed)).backward()
            optimizer.step()
        with torch.no_grad():
            losses = [
                float(subject.task.loss(model, subject.task.batch(subject.steps + i, seed)))
                for i in range(AFTERWARDS)
            ]
    return sum(losses) / len(losses)


def test_training_keeps_its_loss_from_both_seeds(training, tmp_path):
    said = []
    errors, found = searched(training, "loss +1% after 4 steps", tmp_path, said)
    best = found.best
    plan = plan_from(best.plan)
    assert (best.tuned, best.held_out) == (by_hand(training, 0, plan), by_hand(training, 1, plan))
    assert best.harm <= 0.01
    assert {record.kind for record in errors} == {
        "weights", "activations", "attention", "gradients",
    }  # fmt: skip
    assert {"squared gradient error, sum"} == {
        column for row in sensitivity_rows(errors) for column in row if column.endswith(", sum")
    }
    assert "local error and squared gradient error of" in correlation_line(errors)
    assert any("8 steps in integers take about" in line for line in said)
    assert "% above float" in tuning_rows(found.records)[0]


def test_places_of_training_have_all_their_phases_and_their_counts(training):
    (reading,) = training.readings(1, 0)
    places = {place.name: place for place in survey(training.model, reading.run)}
    up = places["blocks.0.up"]
    assert [gemm.phase for gemm in up.gemms] == ["forward", "grad_input", "grad_weight"]
    assert up.distinct_kinds == ("activations", "weights", "gradients")
    assert up.first("gradients").phase == "grad_input"
    assert places["blocks.0.qk"].distinct_kinds == ("attention", "gradients")
    plan = plan_from({"schema": 1, "gemms": {"*": {
        "beta": 31, "granularity": "row", "bits": 4, "strategy": "block", "block": 16,
    }}})  # fmt: skip
    backend = load_backend("int64")
    counted = count(training.model, reading.run, plan, lambda bits: backend.for_bits(bits, bits))
    with accelsim.integer_gemms(training.model, plan=plan, backend="int64") as mode:
        reading.run()
    training.model.zero_grad()
    total = mode.tally.total
    assert (counted.low_bit_macs, counted.dense_macs) == (total.low_bit_macs, total.dense_macs)
    assert counted.dense_macs == sum(g.macs for place in places.values() for g in place.gemms)


def test_the_sensitivity_of_training_is_that_of_the_gradients(training):
    examined = Examined(training, Examination(gemms=("blocks.0.down",)))
    (place,) = examined.places
    coarse, fine = (examined.record(place, "gradients", beta) for beta in (7, 63))
    assert coarse.sides == ["a"]
    assert coarse.loss == 0, "gradients change no loss of their own step"
    assert 10 < coarse.divergence / fine.divergence < 1000
    assert examined.record(place, "weights", 7).loss != 0


def test_what_is_asked_of_a_model_that_is_trained_here(monkeypatch, classifier):
    found = Trained(classifier._task, classifier.model, {}, 1)
    monkeypatch.setattr("accelsim.tuning.opening.trained", lambda *_, **__: found)
    say = [].append
    assert isinstance(open_subject("vit-digits", None, None, say), ImageSubject)
    asked = Target.parse("loss +1% after 7 steps")
    opened = open_subject("vit-digits", None, None, say, asked)
    assert (type(opened), opened.steps) == (TrainingSubject, 7)
    with pytest.raises(InputError, match="that of vit-digits is one such as 'accuracy -1%' or"):
        open_subject("vit-digits", None, None, say, Target.parse("perplexity +1%"))
    with pytest.raises(InputError, match="--gguf and --text: vit-digits is trained here"):
        open_subject("vit-digits", "x.gguf", None, say)
