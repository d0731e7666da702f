"""What a run says at its end."""

from pathlib import Path

import pytest

from accelsim.records import Quartiles, Status
from accelsim.records.record import Minimised, TimingNotes
from accelsim.report.problems import MOST_FAILURES, verdict
from accelsim.report.summary import MOST_LINES, WIDTH, summary
from accelsim.report.summary_rows import Labels

EXAMPLE = """\
Everywhere: workload tiny, percentile 95, β 31, one scale per tensor, 4 bits,
    strategy mix, balanced digits.

                  ─ low-bit ─ ─────── time, ms ───────  speed-up
  backend   exact     r  MACs quant unpack  gemm total  ×fp32
layers.0.q (linear, forward) 16×32×8, by row/column
  emulator*   yes 1.221 5.00k 0.000   10.0  30.0  40.0 ~0.050
  cpu-int8    yes 1.221 5.00k 0.000  0.250 0.750  1.00  ~2.00

n×d×h  A is [n, d], B is [h, d]
by     how A/B was unpacked: the high digits of an entry, those beyond its
       first, lie in further rows, in further columns, or in both kinds of lines
mix    high digits in further rows, columns or both, the cheapest for each GEMM
β      rounding maps percentile 95 of the magnitudes to β/2, and clips nothing
exact  every integer of the product equals the oracle's
r      low-bit multiplications over those of the GEMM
MACs   low-bit multiply-adds
time   median of 20 repeats
total  median of the totals; medians of stages need not add up to it
×fp32  time of the fp32 GEMM over total; above 1 is faster than fp32
~      approximate: fewer than 6 repeats known (2 of 2)
* emulator: emulated; a model in software did the work, so its times are not the
    hardware's.

Did not run:
unavailable: cuda-int8, 1 record: no CUDA device

2 of 2 exact; 1 unavailable: cuda-int8 (no CUDA device)
"""


def lines_of(records):
    return summary(records).splitlines()


def cells_of(records, backend):
    return next(line for line in lines_of(records) if line.startswith(f"  {backend} ")).split()


def test_the_whole_text(make_record):
    records = [
        make_record(backend=backend, execution=execution, total_ms=total)
        for backend, execution, total in [("emulator", "emulated", 40.0), ("cpu-int8", "native", 1)]
    ]
    records.append(make_record(backend="cuda-int8", status="unavailable", reason="no CUDA device"))
    assert summary(records) == EXAMPLE


def test_the_verdict_counts_each_status_once(make_record):
    records = [
        make_record(gemm="a"),
        make_record(gemm="b", status="inexact", exact=False, mismatches=1, max_abs_error=9),
        make_record(gemm="c", status="overflow", reason="accumulator", exact=None),
        make_record(gemm="d", status="error", reason="out of memory"),
        make_record(gemm="e", status="timeout", reason="after 60 s"),
        make_record(gemm="f", status="unsupported", reason="d is 7"),
        make_record(gemm="g", status="unsupported", reason="d is 9"),
        make_record(gemm="h", status="unavailable", reason="no CUDA device"),
    ]
    assert verdict(records) == (
        "1 of 5 exact; 1 inexact; 1 overflow; 1 error; 1 timeout; "
        "1 unavailable: emulator (no CUDA device); "
        "2 unsupported: emulator (d is 7; and 1 other reason)"
    )


def test_nothing_ran(make_record):
    text = summary([make_record(status="unavailable", reason="no CUDA device")])
    assert text.startswith("Did not run:")
    assert text.endswith("\n\nnothing ran; 1 unavailable: emulator (no CUDA device)\n")
    assert summary([]) == "nothing ran\n"


def test_every_failure_is_listed_with_its_reason(make_record):
    records = [
        make_record(gemm="a"),
        make_record(
            gemm="b", status="inexact", exact=False, mismatches=1200, max_abs_error=77, n=100, h=20
        ),
        make_record(gemm="c", status="error", reason="CUDA out of memory"),
        make_record(gemm="d", status="unsupported", reason="d is 7"),
        make_record(gemm="e", status="unsupported", reason="d is 7"),
    ]
    text = summary(records)
    failed, not_run = text.split("Failed:\n")[1].split("Did not run:\n")
    not_run, verdict = not_run.split("\n\n")
    failed = " ".join(failed.split())
    assert "inexact: b (linear, forward) 100×32×20, by row/column, emulator: " in failed
    assert "1,200 of 2,000 integers differ, by at most 77" in failed
    assert "error: c" in failed
    assert "CUDA out of memory" in failed
    assert not_run == "unsupported: emulator, 2 records: d is 7"
    assert verdict.startswith("1 of 3 exact")


def test_a_failure_stands_out_in_its_row(make_record):
    wrong = make_record(status="inexact", exact=False, mismatches=1, max_abs_error=1)
    assert cells_of([wrong], "emulator")[1] == "NO"
    assert cells_of([make_record(status="timeout", reason="60 s")], "emulator")[1] == "timeout"
    assert cells_of([make_record()], "emulator")[1] == "yes"


def test_a_row_shows_ratio_operations_times_and_speed_up(make_record):
    record = make_record(
        total_ms=8.0,
        low_bit_macs=123_456_789,
        dense_macs=100_000_000,
        baselines={"fp32": 4.0, "bf16": 16.0},
    )
    assert cells_of([record], "emulator") == [
        "emulator",
        "yes",
        "1.235",
        "123M",
        "0.000",
        "2.00",
        "6.00",
        "8.00",
        "~0.50",
        "~2.00",
    ]


def test_sums_over_gemms_add_up(make_record):
    records = [
        make_record(gemm="a", total_ms=2.0, low_bit_macs=2000, dense_macs=1000),
        make_record(
            gemm="b", total_ms=6.0, low_bit_macs=3000, dense_macs=3000, baselines={"fp32": 14.0}
        ),
    ]
    lines = lines_of(records)
    assert lines[lines.index("All GEMMs") + 1].split() == [
        "emulator",
        "2/2",
        "1.250",
        "5.00k",
        "0.000",
        "2.00",
        "6.00",
        "8.00",
        "~2.00",
    ]


def test_a_sum_with_a_gap_is_no_sum(make_record):
    records = [
        make_record(gemm="a"),
        make_record(gemm="b", status="error", reason="out of memory"),
    ]
    lines = lines_of(records)
    row = lines[lines.index("All GEMMs") + 1].split()
    assert row[:3] == ["emulator", "1/2", "–"]
    assert row[-1] == "–"


def test_one_gemm_has_no_sum(make_record):
    assert "All GEMMs" not in summary([make_record(bits=4), make_record(bits=8)])


def test_what_varies_heads_the_groups_and_what_does_not_is_said_once(make_record):
    records = [make_record(bits=bits, block=16) for bits in (4, {"a": 8, "b": 4})]
    text = summary(records)
    assert text.count("blocks of 16") == 1
    assert "layers.0.q (linear, forward) 16×32×8, 4 bits, by row/column\n" in text
    assert "layers.0.q (linear, forward) 16×32×8, 8/4 bits, by row/column\n" in text


def test_nothing_to_unpack_is_said(make_record):
    text = summary([make_record(max_digits_a=1, max_digits_b=1)])
    assert "layers.0.q (linear, forward) 16×32×8, nothing to unpack\n" in text


@pytest.mark.parametrize("load", [0.5, 2.4])
def test_a_busy_machine_is_told(make_record, load):
    timing = TimingNotes(
        cache="warm", warmup=1, relative_error=None, outliers=0, load_per_core=load,
        clock_mhz=[None, None],
    )  # fmt: skip
    text = summary([make_record(timing=timing)])
    assert ("This ran on a busy machine: 2.4 processes per core" in text) is (load == 2.4)


def test_the_replay_is_a_command_that_works_from_here(make_record):
    small = Minimised(config="mismatches/x.yaml", batch=1, n=2, d=3, h=4)
    record = make_record(status="inexact", exact=False, mismatches=1, max_abs_error=9)
    text = summary([record.model_copy(update={"minimised": small})], Path("results/a"))
    assert "shown by 2×3×4: accelsim run results/a/mismatches/x.yaml" in " ".join(text.split())


def test_batches_and_workloads_are_named_where_they_matter(make_record):
    records = [make_record(workload="a", batch=9), make_record(workload="b")]
    text = summary(records)
    assert "a: layers.0.q (linear, forward) 9×(16×32×8)" in text
    assert "b: layers.0.q (linear, forward) 16×32×8" in text


@pytest.mark.parametrize("execution", ["emulated", "fallback"])
def test_what_is_not_native_is_starred_and_explained(make_record, execution):
    text = summary([make_record(execution=execution), make_record(backend="cpu-int8")])
    assert "  emulator* " in text
    assert f"* emulator: {execution}; " in text
    assert "cpu-int8*" not in text


def test_the_same_backend_with_other_options_is_told_apart(make_record):
    records = [
        make_record(backend_options={"accumulator_bits": bits, "overflow": "wrap"})
        for bits in (24, 32)
    ]
    lines = lines_of(records)
    assert [line.split()[1] for line in lines if line.startswith("  emulator ")] == [
        "accumulator_bits=24",
        "accumulator_bits=32",
    ]
    failed = [
        record.model_copy(update={"status": Status.ERROR, "reason": "x"}) for record in records
    ]
    words = " ".join(summary(failed).split())
    assert "emulator accumulator_bits=24: x" in words
    assert "emulator accumulator_bits=32: x" in words


def test_an_option_that_follows_the_setting_needs_no_mention(make_record):
    records = [make_record(bits=bits, backend_options={"bits": bits}) for bits in (4, 8)]
    lines = lines_of(records)
    assert [line.split()[1] for line in lines if line.startswith("  emulator ")] == ["yes", "yes"]


def test_a_workload_that_is_part_of_the_name_is_not_repeated(make_record):
    records = [make_record(workload="a", gemm="a.q"), make_record(workload="b", gemm="a.q")]
    text = summary(records)
    assert "\na.q (" in text
    assert "\nb: a.q (" in text


def test_repeats_are_said(make_record):
    def timed(gemm, repeats):
        once = Quartiles(median=1.0, p25=1.0, p75=1.0, repeats=repeats)
        return make_record(gemm=gemm, time_ms={"gemm": once, "total": once})

    assert "median of 20 repeats" in " ".join(summary([timed("a", 20)]).split())
    both = " ".join(summary([timed("a", 3), timed("b", 20)]).split())
    assert "median of 3 to 20 repeats" in both
    assert "warm-up" not in both


def test_times_without_warm_up_say_so(make_record):
    notes = TimingNotes(
        cache="warm", warmup=0, relative_error=None, outliers=0, load_per_core=0.1,
        clock_mhz=[None, None],
    )  # fmt: skip
    lines = lines_of([make_record(timing=notes)])
    assert "without warm-up the first may include compilation" in " ".join(lines)
    assert max(map(len, lines)) <= 80


def test_it_fits_80_columns(make_record):
    stages = ("quantize", "unpack", "prepare", "gemm", "pack", "total")
    slow = {stage: Quartiles(median=12345.6, p25=1.0, p75=2.0, repeats=20) for stage in stages}
    records = [
        make_record(
            backend=backend,
            gemm=f"model.layers.{layer}.mlp.down_proj.grad_weight",
            time_ms=slow,
            baselines={"fp32": 1.0, "bf16": 1.0},
            low_bit_macs=10**12,
            dense_macs=7 * 10**10,
        )
        for layer in (0, 1)
        for backend in ("emulator", "cpu-int8")
    ]
    reason = "a reason that is so long that it cannot possibly stand on one line of a terminal"
    records.append(make_record(status="error", reason=reason))
    assert max(map(len, lines_of(records))) <= WIDTH


def test_control_characters_in_names_do_not_reach_the_terminal(make_record):
    text = summary([make_record(gemm="evil\x1b[2J\nname")])
    assert "\x1b" not in text
    assert "evil\\x1b[2J" in text


def test_one_backend_has_a_line_for_each_strategy(make_record):
    records = [
        make_record(
            gemm=gemm, beta=beta, strategy=strategy, block=block, low_bit_macs=macs, digits=digits
        )
        for gemm in ("q", "k")
        for beta in (15, 31)
        for strategy, block, digits, macs in [
            ("mix", None, "paper", 8192),
            ("block", 16, "balanced", 4500),
            ("block", 32, "balanced", 5000),
        ]
    ]
    text = summary(records)
    assert "Everywhere: backend emulator, workload tiny" in text
    assert "by row/column" not in text
    assert "A number after a strategy" in text
    lines = text.splitlines()
    start = lines.index("All GEMMs, β 31")
    cells = [line.split() for line in lines[start + 1 : start + 4]]
    assert [line[: line.index("2/2") + 2] for line in cells] == [
        ["mix", "paper", "2/2", "2.000"],
        ["block", "16", "balanced", "2/2", "1.099"],
        ["block", "32", "balanced", "2/2", "1.221"],
    ]
    failed = make_record(status="error", reason="x", strategy="mix", digits="paper")
    assert "strategy mix, paper digits" in summary([*records, failed]).split("Failed:")[1]


def test_a_large_run_is_summed_up(make_record):
    records = [make_record(gemm=f"gemm {index}") for index in range(MOST_LINES + 1)]
    lines = lines_of(records)
    assert len(lines) < 25
    assert f"There are {MOST_LINES + 1} GEMMs and settings" in lines[2]
    assert lines[lines.index("All GEMMs") + 1].split()[1] == f"{len(records)}/{len(records)}"
    assert len(lines_of(records[:-1])) > 2 * MOST_LINES


def test_a_long_list_of_failures_says_how_many_more(make_record):
    records = [
        make_record(gemm=f"gemm {index}", status="error", reason=f"reason {index}")
        for index in range(MOST_FAILURES + 3)
    ]
    text = summary(records)
    assert f"reason {MOST_FAILURES - 1}\n" in text
    assert f"reason {MOST_FAILURES}\n" not in text
    assert "and 3 more, in records.jsonl\n" in text


def test_a_whole_model_has_a_line_for_each_kind_of_gemm(make_record):
    records = [
        make_record(gemm=f"{op} {index}", op=op, ratio=1.5, low_bit_macs=3 * macs, dense_macs=macs)
        for op, macs in (("linear", 20), ("qk", 10))
        for index in range(MOST_LINES)
    ]
    lines = lines_of(records)
    kinds = [line for line in lines if line.endswith((", linear, forward", ", qk, forward"))]
    assert len(kinds) == 2
    assert "6.00k" in lines[lines.index(kinds[0]) + 1]
    assert "3.00k" in lines[lines.index(kinds[1]) + 1]
    assert "3.000" in lines[lines.index(kinds[1]) + 1]


def test_of_an_option_that_is_a_mapping_only_the_part_that_differs_is_named(make_record):
    records = [
        make_record(backend="array", backend_options={"memory": {"sram_kb": 64, "dram": speed}})
        for speed in (4, 16)
    ]
    assert [Labels(records).backend(record) for record in records] == [
        "array dram=4",
        "array dram=16",
    ]
    assert Labels(records).notes() == []
    bare = make_record(backend="array", backend_options={"memory": "none"})
    assert Labels([*records, bare]).backend(bare) == "array memory=none"
    assert Labels([*records, bare]).backend(records[0]) == "array memory=dram=4"


@pytest.mark.parametrize(
    ("memories", "words"),
    [
        (["none", {"kb": 64, "dram": {"width": 4}}], ["memory=none", "memory=yes"]),
        (
            [{"kb": 64, "dram": {"width": 4}}, {"kb": 64, "dram": {"width": 8}}],
            ["dram.width=4", "dram.width=8"],
        ),
        (
            ["none", {"kb": 64, "dram": {"width": 4}}, {"kb": 64, "dram": {"width": 8}}],
            ["memory=none", "memory=dram.width=4", "memory=dram.width=8"],
        ),
    ],
)
def test_of_an_option_with_parts_those_that_differ_are_shown(make_record, memories, words):
    records = [make_record(backend_options={"memory": memory}) for memory in memories]
    labels = Labels(records)
    assert [labels.backend(record) for record in records] == [f"emulator {word}" for word in words]
    parts = [labels.options(record) for record in records]
    assert [f"{name}={value}" for of in parts for name, value in of.items()] == words
