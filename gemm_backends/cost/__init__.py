"""What emulated hardware would cost: cycles by formula, area by synthesis, energy by citation.

`cycles` counts the clocks of a systolic array, `area` reads the committed table of synthesized
parts, `energy` holds the figures that are cited, and `array` puts them together.
``docs/emulator.md`` says what is counted and what is not.
"""
