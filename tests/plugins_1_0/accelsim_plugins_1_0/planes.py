import torch

from accelsim.unpack import Product, Segment, Strategy


class Planes(Strategy):
    """Every entry in as many digits as the largest needs: one product of all digit planes."""

    name = "planes"

    def __init__(self, more: int = 0) -> None:
        self.more = more

    def unpack_head(self, a, b, head):
        (digits_a, rows), (digits_b, columns) = (self.planes(x, head) for x in (a, b))
        choice = f"{len(rows)} x {len(columns)} planes"
        return [Product(digits_a, digits_b, rows, columns, 0, head)], choice

    def planes(self, operand, head):
        _, n, d = operand.shape
        levels = operand.survey.max_digits + self.more
        row_levels = torch.full((n,), levels)
        skip, last = torch.zeros(d, dtype=torch.int64), torch.ones(d, dtype=torch.bool)
        digits = operand.digits(head, row_levels, None, skip, last)
        return digits, tuple(Segment(n, level * operand.system.shift) for level in range(levels))
