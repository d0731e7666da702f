"""The summation of the products of one pair of rows: tree, accumulator, K-blocks."""

from __future__ import annotations

from dataclasses import dataclass

from gemm_backends.types import Accumulator


@dataclass(frozen=True)
class Datapath:
    """The order and the registers in which products are summed.

    K is cut into blocks of `k_block` products. Within a block, `tree` products at a time are added
    without loss by an adder tree, and each of its sums is one step of `inner`, which starts every
    block at zero. At the end of a block, the value of `inner` is one step of `outer`.

    Parameters
    ----------
    inner : Accumulator
        What the tree's sums are added to.
    tree : int
        Products that the adder tree takes at once; 1 means that there is none.
    k_block : int or None
        Products of a block; None for a single block, which has no `outer`.
    outer : Accumulator or None
        What the blocks are added to.
    """

    inner: Accumulator
    tree: int = 1
    k_block: int | None = None
    outer: Accumulator | None = None

    def blocks(self, d: int) -> list[slice[int, int, None]]:
        """Return the blocks of K."""
        length = d if self.k_block is None else self.k_block
        return [slice(start, min(start + length, d)) for start in range(0, d, max(length, 1))]

    @property
    def result(self) -> Accumulator:
        """The register that the result comes from."""
        return self.inner if self.outer is None else self.outer

    def declared(self, largest_product: int) -> Accumulator:
        """Return the register whose width a caller must respect to rule out any overflow.

        That is `outer`, where a block of products of at most `largest_product` fits `inner`.
        """
        if self.outer is None or self.k_block is None:
            return self.inner
        fits = self.k_block * largest_product <= self.inner.maximum
        return self.outer if fits or self.outer.bits < self.inner.bits else self.inner

    def cannot_overflow(self, d: int, largest_product: int) -> bool:
        """Whether `d` products of at most this magnitude fit in every register, in any order.

        Every partial sum is bounded by the sum of the magnitudes.
        """
        if self.outer is None or self.k_block is None:
            return d * largest_product <= self.inner.maximum
        block = min(d, self.k_block) * largest_product
        return block <= self.inner.maximum and d * largest_product <= self.outer.maximum
