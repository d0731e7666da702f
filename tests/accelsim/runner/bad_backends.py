"""Backends that misbehave, each in its own way."""

import ctypes
import os
import time

import torch

from gemm_backends import Accumulator, GemmBackend


class Bad(GemmBackend, abstract=True):
    """Right, unless a subclass spoils it."""

    bits = 8
    accumulator = Accumulator(bits=32, overflow="wrap")

    def matmul(self, a, b):
        return a.int() @ b.int().mT


class Segfault(Bad):
    name = "segfault"

    def matmul(self, a, b):
        ctypes.string_at(0)


class Hang(Bad):
    name = "hang"

    def matmul(self, a, b):
        time.sleep(3600)


class Leak(Bad):
    name = "leak"

    def __init__(self):
        self.kept = []

    def matmul(self, a, b):
        self.kept.append(torch.ones(40 * 2**20))
        return super().matmul(a, b)


class LeakForever(Bad):
    name = "leak-forever"

    def matmul(self, a, b):
        kept = []
        while True:
            kept.append(torch.ones(25 * 2**20))
            time.sleep(0.01)


class Exit(Bad):
    name = "exit"

    def matmul(self, a, b):
        os._exit(7)


class SystemExits(Bad):
    name = "system-exit"

    def matmul(self, a, b):
        raise SystemExit(0)


class Nan(Bad):
    name = "nan"

    def matmul(self, a, b):
        return torch.full((a.shape[0], b.shape[0]), float("nan"))


class Shape(Bad):
    name = "shape"

    def matmul(self, a, b):
        return super().matmul(a, b)[:, :1]


class Nothing(Bad):
    name = "nothing"

    def matmul(self, a, b):
        return None


class Spoils(Bad):
    """Right, and leaves zeros in its operands."""

    name = "spoils"

    def matmul(self, a, b):
        product = super().matmul(a, b)
        a.zero_()
        b.zero_()
        return product


class Prints(Bad):
    name = "prints"

    def matmul(self, a, b):
        print("noise")
        return super().matmul(a, b)


class WrongCorner(Bad):
    """Wrong where a row of A and a row of B meet in a column that holds 7 and -5."""

    name = "wrong-corner"

    def matmul(self, a, b):
        hit = (a.int()[:, None, :] == 7) & (b.int()[None, :, :] == -5)
        return super().matmul(a, b) + hit.any(-1).int()


class WrongInTiles(Bad):
    """Wrong only from 4 rows of A and 3 rows of B on."""

    name = "wrong-in-tiles"

    def matmul(self, a, b):
        product = super().matmul(a, b)
        if a.shape[0] >= 4 and b.shape[0] >= 3:
            product[-1, -1] += 1
        return product
