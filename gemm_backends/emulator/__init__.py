"""What the emulator emulates: multipliers, accumulators, and the order of the sum.

`stepwise` carries out every step plainly, on any device, and is what all else is compared with;
`compiled` does the same in machine code; `exact` takes shortcuts where they are proved.
"""
