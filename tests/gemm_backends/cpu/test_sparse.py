"""Products of sparse digits by PyTorch's operations, as on a GPU, piece by piece."""

import pytest
import torch

from accelsim.arithmetic.sparse import SparseDigits
from gemm_backends.cpu import sparse


def digits(rows, d, share, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-8, 8, (rows, d), generator=generator, dtype=torch.int8)
    keep = torch.rand(rows, d, generator=generator) < share
    return torch.where(keep, values, 0)


def stored(dense):
    rows, columns = dense.nonzero(as_tuple=True)
    return SparseDigits.from_entries(rows, columns, dense[rows, columns], dense.shape)


@pytest.mark.parametrize("chunk", [1, 7, 100, 1 << 24])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_pieces_add_up(monkeypatch, chunk, share):
    monkeypatch.setattr(sparse, "CHUNK", chunk)
    a, b = digits(11, 13, share, 0), digits(9, 13, 0.3, 1)
    expected = a.long() @ b.long().T
    pairs, rows = (torch.zeros(11, 9, dtype=torch.int32) for _ in range(2))
    sparse._add_pairs(stored(a), stored(b).transposed(), pairs)
    sparse._add_rows(stored(a), b, rows)
    assert torch.equal(pairs.long(), expected)
    assert torch.equal(rows.long(), expected)
