"""An accumulator in plain Python, one step at a time: what the emulator is compared with."""


def stepwise(a, b, bits, overflow):
    """Multiply nested lists ``[n][d]`` and ``[h][d]``.

    Returns the product, the number of steps that overflowed, and the first one in row-major order.
    """
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    product, count, first = [], 0, None
    for i, x in enumerate(a):
        row = []
        for j, y in enumerate(b):
            total = 0
            for k, (p, q) in enumerate(zip(x, y, strict=True)):
                total += p * q
                if not low <= total <= high:
                    count += 1
                    first = first or (i, j, k)
                    if overflow == "saturate":
                        total = low if total < low else high
                    else:
                        total = (total - low) % 2**bits + low
            row.append(total)
        product.append(row)
    return product, count, first
