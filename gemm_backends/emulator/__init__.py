"""The emulator: multipliers, accumulators, and the order of summation.

`stepwise` carries out every step, on any device, and is what everything else is compared
with; `compiled` does the same in machine code; `exact` takes shortcuts where they are proved.
"""
