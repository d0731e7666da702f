from accelsim.unpack import Strategy, load_strategy


class Cheaper(Strategy):
    """The cheaper of rows and columns, for A and B alike."""

    name = "cheaper"

    def unpack_head(self, a, b, head):
        found = [load_strategy(name).unpack_head(a, b, head) for name in ("row", "column")]
        return min(found, key=lambda pair: sum(product.macs for product in pair[0]))
