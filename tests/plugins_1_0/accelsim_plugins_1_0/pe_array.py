from gemm_backends import Accumulator, Cost, GemmBackend, Tile


class PeArray(GemmBackend):
    """An output-stationary array of 4-bit multipliers with 20-bit accumulators."""

    name = "pe-array"
    bits = 4
    accumulator = Accumulator(bits=20, overflow="wrap")

    def __init__(self, rows: int = 16, columns: int = 16):
        self.tile = Tile(n=rows, h=columns)

    def matmul(self, a, b):
        half = 1 << (self.accumulator.bits - 1)
        return (a.int() @ b.int().T + half) % (2 * half) - half

    def cost(self, spec):
        tiles = -(-spec.n // self.tile.n) * -(-spec.h // self.tile.h)
        cycles = tiles * (spec.d + self.tile.n + self.tile.h - 2)
        return Cost(cycles=cycles, model="one step of K a cycle, and as many to fill and drain")
