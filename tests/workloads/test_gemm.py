"""One GEMM: its names and shapes, the search for NaN, and the choice by globs."""

import dataclasses

import pytest
import torch

from accelsim.errors import DataError, InputError
from accelsim.types import PerOperand
from workloads import Synthetic, select

PLAIN = Synthetic(n=2, d=3, h=4, name="plain").gemm()
HEADS = Synthetic(n=2, d=3, h=4, batch=2, name="heads").gemm()


def test_shapes():
    assert PLAIN.shapes == PerOperand((2, 3), (4, 3))
    assert HEADS.shapes == PerOperand((2, 2, 3), (2, 4, 3))
    assert (PLAIN.macs, HEADS.macs) == (24, 48)


def test_a_batch_needs_the_flag():
    with pytest.raises(ValueError, match="'plain' has batch 3 but is not batched"):
        dataclasses.replace(PLAIN, batch=3)


def test_names_of_operands():
    assert PLAIN.tensor_names == PerOperand("plain/a", "plain/b")
    bare = dataclasses.replace(PLAIN, tensors=PerOperand("A", "B"))
    assert bare.tensor_names == PerOperand("A", "B")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_the_first_entry_that_is_not_finite_is_named(dtype, bad):
    a, b = (tensor.to(dtype) for tensor in HEADS.load())
    b[1, 2, 1] = bad
    b[1, 3, 0] = float("nan")
    gemm = dataclasses.replace(HEADS, load=lambda: (a, b))
    with pytest.raises(DataError) as caught:
        gemm.check_finite()
    assert str(caught.value) == (
        f"synthetic: tensor 'heads/b': found {bad} at [1, 2, 1]; all entries must be finite"
    )


def test_finite_operands_pass():
    empty = Synthetic(n=0, d=3, h=4).gemm()
    for gemm in (PLAIN, HEADS, empty):
        gemm.check_finite()


def test_select_keeps_the_order_and_repeats_nothing():
    assert select([PLAIN, HEADS], ["h*", "*"], "x") == [PLAIN, HEADS]
    assert select([PLAIN, HEADS], ["pl??n"], "x") == [PLAIN]


@pytest.mark.parametrize("glob", ["*.qk", "PLAIN", "", "plai"])
def test_a_glob_that_matches_nothing_lists_the_names(glob):
    with pytest.raises(InputError) as caught:
        select([PLAIN, HEADS], ["*", glob], "the file")
    expected = f"the file: no GEMM matches {glob!r}; it has: plain, heads"
    assert str(caught.value) == expected
