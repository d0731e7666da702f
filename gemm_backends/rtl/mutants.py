"""Deliberate faults of the sources, which the proof must catch: a test of the tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gemm_backends.rtl.tools import DESIGN, SOURCES, generated


@dataclass(frozen=True)
class Mutant:
    """A source with one fault.

    Parameters
    ----------
    fault : str
        In a few words.
    module : str
        Where it is.
    old, new : str
        The text that is replaced, which the source has once.
    """

    fault: str
    module: str
    old: str
    new: str

    def text(self) -> str:
        """Return the faulty source.

        Raises
        ------
        ValueError
            If the text to replace is not there once.
        """
        source = (SOURCES / f"{self.module}.sv").read_text("utf-8")
        if source.count(self.old) != 1:
            raise ValueError(f"{self.module}.sv has {self.old!r} {source.count(self.old)} times")
        return source.replace(self.old, self.new)


MULTIPLIERS = (
    Mutant("the last row is not inverted", "multiplier", "? ~Last : Last", "? Last : Last"),
    Mutant("no row is inverted", "multiplier", "^ Inverted)", ")"),
    Mutant("a constant is missing", "multiplier", " + (One << (W - 1))", ""),
    Mutant("a constant is one place off", "multiplier", "(One << (A - 1))", "(One << A)"),
    Mutant("a row is left out", "multiplier", "j < B; j++) product", "j < B - 1; j++) product"),
    Mutant("a row is one place off", "multiplier", "<< j;", "<< (j == 1 ? 0 : j);"),
)

STEPS = (
    Mutant("the addend is not sign-extended", "accumulate_step", "{addend[P-1]}", "{1'b0}"),
    Mutant("the sum is one bit short", "accumulate_step", "W) + 1;", "W);"),
    Mutant("it clips to the wrong end", "accumulate_step", "{total[S-1], {", "{~total[S-1], {"),
    Mutant("it clips to all ones or zeros", "accumulate_step", "{~total[S-1]}", "{total[S-1]}"),
    Mutant(
        "an overflow downwards is not seen",
        "accumulate_step",
        "!= {(S - W + 1) {total[S-1]}}",
        "!= {(S - W + 1) {total[S-1]}} && !total[S-1]",
    ),
)

ARRAYS = (
    Mutant("sums are never cleared", "accumulator", "first ? '0 : sum", "sum"),
    Mutant("it adds when nothing is valid", "accumulator", "if (valid) sum", "sum"),
    Mutant("overflow is never reported", "accumulator", "valid & left_range", "1'b0"),
    Mutant("the saturated sum is not kept", "mac", ".SATURATE(SATURATE)", ".SATURATE(0)"),
    Mutant("rows of A are not delayed", "systolic_array", ".DELAY(i)", ".DELAY(0)"),
    Mutant("rows of B are not delayed", "systolic_array", ".DELAY(j)", ".DELAY(0)"),
    Mutant(
        "two places are read in turn", "systolic_array", "sums[(i*C+j)*W+:W]", "sums[(j*R+i)*W+:W]"
    ),
)

CLOCKS = (
    Mutant("idle comes a clock early", "systolic_array", "~|in_flight;", "~|in_flight[R+C-3:0];"),
    Mutant(
        "idle comes a clock late",
        "systolic_array",
        "DELAY(1)\n    ) u_skew",
        "DELAY(2)\n    ) u_skew",
    ),
)

LANES = (
    Mutant("a shift is one level short", "lane", "(l * UNIT)", "((l - 1) * UNIT)"),
    Mutant("a product is not sign-extended", "lane", "{W{product[2*B-1]}}", "{W{1'b0}}"),
    Mutant("lower levels are added, too", "lane", "32'(level) == l", "32'(level) >= l"),
    Mutant("the digit is not multiplied", "lane", ".b(digit)", ".b(B'(1))"),
    Mutant("a line ends at its first group", "lane_control", "== last_group", "== first_group"),
    Mutant("a line stays at its first group", "lane_control", "started ? next : ", ""),
    Mutant("a group is left out", "lane_control", "group + 1'b1", "group + 2'd2"),
    Mutant("a line is corrected by nothing", "lane_control", "offered & (32'(line)", "(32'(line)"),
    Mutant("all groups get a correction", "gate", " & {W{enabled}}", ""),
    Mutant("lanes are crossed", "lane_bank", "correction[p%LANES]", "correction[LANES-1-p%LANES]"),
    Mutant("every row is corrected", "corrected_step", " & {(W - UNIT) {row}}", ""),
    Mutant("columns are never corrected", "corrected_step", "{column}}", "{1'b0}}"),
    Mutant("corrected sums are not cleared", "corrected_step", "state & {W{~clear}}", "state"),
    Mutant("it adds what is not valid", "corrected_step", " & {W{valid}})", ")"),
    Mutant("corrections are one bit low", "corrected_step", "{UNIT{1'b0}}}", "{(UNIT-1){1'b0}}}"),
    Mutant("columns are taken for rows", "corrected_array", "[i] & ~of_b", "[i]"),
    Mutant("rows are taken for columns", "corrected_array", "[j] & of_b", "[j]"),
    Mutant(
        "all rows hear the first bank", "corrected_array", "corrections[i%BANKS]", "corrections[0]"
    ),
    Mutant("idle before the lanes are", "corrected_array", " & ~|offered;", ";"),
    Mutant("idle a clock early", "corrected_array", "~|in_flight &", "~|in_flight[2*S-3:0] &"),
)

UNPACKERS = (
    Mutant("ties are rounded up", "round_scaled", "(|rest[22:0] | top[0])", "1'b1"),
    Mutant("the product is not rounded", "round_scaled", "{24'b0, up}", "25'b0"),
    Mutant(
        "integers are cut off", "round_scaled", "right[25] & (|right[24:0]", "1'b0 & (|right[24:0]"
    ),
    Mutant("ties go to odd integers", "round_scaled", "| right[26])", "| ~right[26])"),
    Mutant("the sign is lost", "round_scaled", "x[31] ? -mag", "1'b0 ? -mag"),
    Mutant("a product of 2 and more is half", "round_scaled", "11'sd276", "11'sd277"),
    Mutant("subnormal numbers pass", "round_scaled", "(zero & |x[22:0])", "1'b0"),
    Mutant("NaN passes", "round_scaled", "(&x[30:23])", "1'b0"),
    Mutant("large integers pass", "round_scaled", "| |magnitude[I:I-1]", ""),
    Mutant("huge integers pass", "round_scaled", "exponent > 11'(Most) | |", "|"),
    Mutant("a digit takes no borrow", "split_value", " + {Digits{Half}}", " ^ {Digits{Half}}"),
    Mutant("digits are not signed", "split_value", "fields ^ {Digits{Half}}", "fields"),
    Mutant("the last level is not seen", "split_value", "d < Digits; d++)", "d < Digits - 1; d++)"),
    Mutant(
        "a level is left out",
        "split_value",
        "levels = ($clog2(Digits))'(d)",
        "levels = levels + 1'b1",
    ),
)

PORTS = (
    Mutant("a tile starts without its operands", "tile_port", "(to_read == 0) & ", ""),
    Mutant("unfinished sums are not waited for", "tile_port", " & (to_pass == 0)", ""),
    Mutant("sums are lost while others are written", "tile_port", " & (to_write == 0)", ""),
    Mutant("a clock is lost in each tile", "tile_port", "lasts <= clocks", "lasts <= clocks + 1"),
    Mutant("the first beat is late", "tile_port", "write = ~reset", "write = ~reset & ~capture"),
    Mutant(
        "operands wait for the tile to end",
        "tile_port",
        "(passes == 0) & (reads",
        "(passes == 0) & settled & (reads",
    ),
    Mutant("the last sums stay", "tile_port", "ready & held", "start & held"),
    Mutant("sums of the next tile are counted", "tile_port", "capture ? sums", "capture ? stores"),
    Mutant("all go at once", "tile_port", "(passes == 0) & (reads", "(reads"),
)

FED_ARRAYS = (
    Mutant("buffers are not exchanged", "fed_array", "used <= ~used", "used <= used"),
    Mutant("all tiles store as much", "fed_array", "rows * columns * W", "R * C * W"),
    Mutant("all tiles load as much", "fed_array", "next_rows * A", "R * A"),
    Mutant("all columns are as long", "fed_array", "k)*(of_a+of_b)", "k)*(R*A+C*B)"),
    Mutant("sums of idle places are written", "fed_array", "i*used_columns", "i*C"),
    Mutant(
        "a tile has the size of the next",
        "fed_array",
        "used_rows <= rows",
        "used_rows <= next_rows",
    ),
    Mutant(
        "the first sums are kept back", "fed_array", "(capture ? 0 : stored)*Beat", "stored*Beat"
    ),
)

ALL = (*MULTIPLIERS, *STEPS, *ARRAYS, *CLOCKS)


def variant(mutant: Mutant, suffix: str, design: Sequence[Path] = DESIGN) -> tuple[list[Path], str]:
    """Write the faulty design with all its modules renamed.

    Parameters
    ----------
    mutant : Mutant
        The fault.
    suffix : str
        What the name of every module ends with, so that several variants fit in one simulator.
    design : sequence of Path
        The sources without the fault.

    Returns
    -------
    sources : list of Path
        The files.
    top : str
        The renamed module that has the fault, or the array around it.
    """
    texts = {path.stem: path.read_text("utf-8") for path in design} | {mutant.module: mutant.text()}
    pattern = re.compile(rf"\b({'|'.join(texts)})\b(?=\s*(#|;\n|\())")
    renamed = {name: pattern.sub(rf"\1{suffix}", text) for name, text in texts.items()}

    files = [generated(text, f"{name}{suffix}") for name, text in renamed.items()]
    return files, f"{mutant.module}{suffix}"


def side_by_side(tops: Sequence[str]) -> Path:
    """Write a module `side_by_side` that holds several arrays with the same inputs."""
    count = len(tops)
    arrays = "\n".join(
        f"""  {top} #(.R(R), .C(C), .A(A), .B(B), .W(W), .SATURATE(SATURATE)) u{number} (
      .clk, .reset, .valid, .first, .a, .b, .idle(idles[{number}]),
      .sums(sums[{number}*R*C*W +: R*C*W]), .stepped(stepped[{number}*R*C +: R*C]),
      .overflow(overflow[{number}*R*C +: R*C]));"""
        for number, top in enumerate(tops)
    )
    text = f"""module side_by_side #(
    parameter int R = 1, C = 1, A = 1, B = 1, W = 1,
    parameter bit SATURATE = 0
) (
    input logic clk, reset, valid, first,
    input logic [R*A-1:0] a,
    input logic [C*B-1:0] b,
    output logic idle,
    output logic [{count}*R*C*W-1:0] sums,
    output logic [{count}*R*C-1:0] stepped, overflow
);
  logic [{count - 1}:0] idles;
  assign idle = &idles;
{arrays}
endmodule
"""
    return generated(text)
