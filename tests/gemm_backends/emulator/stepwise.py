"""A datapath in plain Python, one step at a time: what the emulator is compared with."""


def step(state, addend, bits, overflow):
    """Return the register after one addition, and whether the sum did not fit."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    total = state + addend
    if low <= total <= high:
        return total, False
    if overflow == "saturate":
        return (low if total < low else high), True
    return (total - low) % 2**bits + low, True


def stepwise(
    a, b, bits, overflow, *, multiply=lambda p, q: p * q, tree=1, k_block=None, outer_bits=64
):
    """Multiply nested lists ``[n][d]`` and ``[h][d]``.

    Returns the product, the number of steps that overflowed, and the first one in row-major order,
    with the last k that it adds.
    """
    product, count, first = [], 0, None
    for i, x in enumerate(a):
        row = []
        for j, y in enumerate(b):
            inner = outer = pending = 0
            for k, (p, q) in enumerate(zip(x, y, strict=True)):
                pending += multiply(p, q)
                in_block = k % (k_block or len(x))
                block_ends = k + 1 == len(x) or in_block + 1 == k_block
                if (in_block + 1) % tree and not block_ends:
                    continue
                inner, over = step(inner, pending, bits, overflow)
                pending = 0
                steps = [over]
                if k_block and block_ends:
                    outer, over = step(outer, inner, outer_bits, overflow)
                    inner = 0
                    steps.append(over)
                if any(steps):
                    count += sum(steps)
                    first = first or (i, j, k)
            row.append(outer if k_block else inner)
        product.append(row)
    return product, count, first
