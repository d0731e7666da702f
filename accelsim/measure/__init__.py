"""Clocks, sampling, statistics, and facts about the machine."""
