"""Backends that run on the CPU."""
