"""The emulated hardware in SystemVerilog, simulated, synthesized and compared with the emulator.

`sv` holds the sources; `simulate` builds simulators of them with Verilator or CXXRTL; `proof` is
what ``accelsim verify emulator --rtl`` runs. All of it needs the extra ``rtl``, Perl and g++.
"""
