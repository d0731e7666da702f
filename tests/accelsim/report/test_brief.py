"""What a run prints at its end by default."""

import re
from pathlib import Path

import pytest

from accelsim.records import Quartiles, Status
from accelsim.records.record import Minimised, Roofline, TimingNotes
from accelsim.report.brief import MOST_LINES, NEXT_LINES, brief, next_steps
from accelsim.report.brief_rows import cut_names
from accelsim.report.summary import MOST_LINES as TABLE_LINES
from accelsim.report.summary import summary


def timed(make_record, total, gemm, **fields):
    """Return a record with narrow intervals, so that its ratios are results."""
    return make_record(
        gemm=gemm,
        total_ms=total,
        samples_ms={"total": [total] * 20},
        baseline_samples_ms={"fp32": [2.0] * 20},
        **fields,
    )


def test_sums_over_gemms_with_the_settings_that_differ_as_columns(make_record):
    records = [
        timed(make_record, total, gemm, bits=bits, backend=backend, execution=execution)
        for gemm in ("q", "k")
        for bits in (4, 8)
        for backend, execution, total in (
            ("emulator", "emulated", 40.0),
            ("cpu-int8", "native", 1.0),
        )
    ]
    text = brief(records)
    head, *rows = text.split("\n\n")[0].splitlines()
    assert head.split() == [
        *["b", "backend", "exact", "r", "MACs", "quant", "unpack", "gemm", "total", "×fp32"],
    ]
    assert [row.split()[:4] for row in rows] == [
        ["4", "emulator*", "2/2", "1.221"],
        ["4", "cpu-int8", "2/2", "1.221"],
        ["8", "emulator*", "2/2", "1.221"],
        ["8", "cpu-int8", "2/2", "1.221"],
    ]
    assert [row.split()[-2:] for row in rows[:2]] == [["80.0", "0.050"], ["2.00", "2.00"]]
    assert text.endswith("\nMultiplying is 75% of the total time.\n8 of 8 exact\n")


def test_where_the_stages_do_not_fit_the_longest_is_named(make_record):
    records = [timed(make_record, 1.0, "q", bits=bits) for bits in (4, 8)]
    narrow, wide = (brief(records, width=width).splitlines()[0] for width in (60, 80))
    assert narrow.split()[5:] == ["total,", "ms", "mostly", "×fp32"]
    assert "mostly" not in wide
    assert brief(records, width=60).splitlines()[1].split()[6:8] == ["gemm", "75%"]


def test_baselines_that_do_not_fit_are_left_out_and_explained_no_more(make_record):
    baselines = {f"float{number}": 1.0 for number in range(12)}
    text = brief([make_record(baselines=baselines)], width=80)
    shown = re.findall(r"×float\d+", text.splitlines()[0])
    assert 0 < len(shown) < 12
    assert set(re.findall(r"×float\d+", text)) == set(shown)


def modelled(make_record, **fields):
    return make_record(
        execution="emulated",
        cycles=100,
        utilization=0.5,
        relative_area=1.0,
        cost_model="x",
        **fields,
    )


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("number", [0, 1, 5, 200])
@pytest.mark.parametrize("kind", ["timed", "modelled", "failed", "mixed"])
def test_it_never_takes_more_lines_than_a_terminal_has(make_record, kind, number, width):
    def record(index):
        name = {"beta": index + 1, "bits": 4}
        if kind == "failed" or (kind == "mixed" and index % 3 == 2):
            small = Minimised(config="mismatches/x.yaml", batch=1, n=2, d=3, h=4)
            reason = "a reason that is so long that it cannot stand on one line " * 9
            return make_record(status="error", reason=reason, minimised=small, **name)
        if kind == "modelled" or (kind == "mixed" and index % 3 == 1):
            return modelled(make_record, area_time=float(index + 1), **name)
        return make_record(**name)

    records = [record(index) for index in range(number)]
    lines = brief(records, Path("out"), width).splitlines()
    assert len(lines) + NEXT_LINES <= MOST_LINES
    assert len(next_steps(records, Path("out"))) == NEXT_LINES


def test_what_is_cut_is_counted_and_the_best_designs_stay(make_record):
    records = [
        modelled(make_record, bits=bits, area_time=1000.0 - bits, beta=beta)
        for beta in (15, 31)
        for bits in range(2, 17)
    ]
    designs, *_ = brief(records).split("\n\n")
    (more,) = re.findall(r"… and (\d+) more", designs)
    rows = [line for line in designs.splitlines() if line.startswith("β ")]
    assert int(more) == 30 - len(rows)
    assert len(rows) >= 12
    for beta in (15, 31):
        bits = [int(row.split()[2]) for row in rows if row.startswith(f"β {beta} ")]
        assert bits == list(range(16, 16 - len(bits), -1))
        assert bits
    assert designs.splitlines()[-1] == (
        "Least area × time, no product wrong: 16 bits, emulator* (β 15; β 31)."
    )


def test_a_wrong_result_is_seen_in_its_row_and_listed_with_its_replay(make_record):
    small = Minimised(config="mismatches/x.yaml", batch=1, n=2, d=3, h=4)
    wrong = make_record(
        gemm="k", status="inexact", exact=False, mismatches=1, max_abs_error=1, minimised=small
    )
    text = brief([make_record(gemm="q"), wrong], Path("out"))
    assert text.splitlines()[1].split()[1] == "1/2"
    words = " ".join(text.split())
    assert "inexact: k (linear, forward) 16×32×8" in words
    assert "shown by 2×3×4: accelsim run out/mismatches/x.yaml" in words
    assert words.endswith("1 of 2 exact; 1 inexact")


def test_ratios_that_are_no_results_are_dashes_and_say_why_first(make_record):
    record = make_record(
        samples_ms={"total": [1.0, 9.0] * 10}, baseline_samples_ms={"fp32": [2.0] * 20}
    )
    text = brief([record])
    assert text.splitlines()[1].split()[-1] == "–"
    legend = " ".join(text.split("\n\n")[1].split())
    assert legend.startswith("–: not a result: ")
    assert f"fp32 where ×fp32 is –: {record.baselines['fp32']:.2f} ms. " in legend
    assert "fp32 where" not in brief([timed(make_record, 1.0, "q")])


def test_the_legend_is_whole_where_the_tables_leave_room(make_record):
    def records(number):
        return [
            make_record(
                beta=beta,
                samples_ms={"total": [1.0, 9.0] * 10},
                baseline_samples_ms={"fp32": [2.0] * 20},
                execution="emulated",
            )
            for beta in range(1, number + 1)
        ]

    few = brief(records(2), width=40)
    assert "…" not in few
    assert "explains every column." in " ".join(few.split())
    many = brief(records(60), width=40)
    assert " …" in many
    assert "… table.txt explains every column." in " ".join(many.split())
    for text in (few, many):
        assert len(text.splitlines()) + NEXT_LINES <= MOST_LINES


def test_columns_of_designs_are_explained_where_there_is_room(make_record):
    words = " ".join(brief([modelled(make_record, area_time=5.0)]).split())
    assert "use: share of the cycles in which a multiplier had a multiplication to do." in words
    assert "/least: area × time divided by the least of the designs with no product wrong" in words


def test_a_busy_machine_is_told(make_record):
    timing = TimingNotes(
        cache="warm", warmup=1, relative_error=None, outliers=0, load_per_core=2.4,
        clock_mhz=[None, None],
    )  # fmt: skip
    assert "This ran on a busy machine: 2.4 processes per core" in brief(
        [make_record(timing=timing)], width=100
    )


def test_the_stage_that_dominates_is_that_of_all_records_together(make_record):
    def record(gemm, unpack, product):
        def once(value):
            return Quartiles(median=value, p25=value, p75=value, repeats=1)

        times = {"unpack": once(unpack), "gemm": once(product), "total": once(unpack + product)}
        return make_record(gemm=gemm, time_ms=times)

    text = brief([record("a", 1.0, 2.0), record("b", 73.0, 24.0)])
    assert "\nUnpacking is 74% of the total time.\n" in text


def test_nothing_ran(make_record):
    text = brief([make_record(status="unavailable", reason="no CUDA device")])
    assert text == "nothing ran; 1 unavailable: emulator (no CUDA device)\n"
    assert brief([]) == "nothing ran\n"


def test_what_to_do_next_works_as_printed(make_record):
    lines = next_steps([make_record()], Path("my runs/a"))
    assert lines[0] == "1 record in my runs/a, with every GEMM in table.txt."
    assert lines[1].startswith("Next: accelsim report 'my runs/a'  ")


def test_a_table_of_sums_is_not_said_to_have_every_gemm(make_record):
    records = [make_record(gemm=f"gemm {index}") for index in range(TABLE_LINES + 1)]
    for some, sums in ((records[:-1], False), (records, True)):
        found = "the sums by kind of GEMM" if sums else "every GEMM"
        lines = next_steps(some, Path("runs/a"))
        assert lines[0] == f"{len(some)} records in runs/a, with {found} in table.txt."
        assert lines[2].split("  ")[-1] == ("every GEMM" if sums else "backends side by side")
        assert ("accelsim compare runs/a --rows gemm  " in lines[2]) is sums
        table = summary(some)
        assert ("sums over those of a kind" in table) is sums
        assert all(f"gemm {index} " in table for index in range(len(some))) is not sums


def test_control_characters_do_not_reach_the_terminal(make_record):
    text = brief([make_record(gemm="evil\x1b[2J", status="error", reason="x\x1b")])
    assert "\x1b" not in text


def test_what_was_only_counted_is_neither_exact_nor_wrong(make_record):
    counted = make_record(
        status="counted", reason="as asked", exact=None, product="none", time_ms={}, baselines={},
        mismatches=None, max_abs_error=None,
    )  # fmt: skip
    assert brief([counted]).splitlines()[1].split()[1] == "–"


def test_a_long_name_leaves_room_for_the_columns(make_record):
    records = [
        modelled(make_record, area_time=1.0, backend_options={"memory": {"a": "x" * 99, "b": b}})
        for b in (1, 2)
    ]
    long = modelled(make_record, area_time=1.0, backend_options={"memory": {"a": "y" * 99, "b": 3}})
    for found in (records, [*records, long]):
        designs, *_ = brief(found).split("\n\n")
        assert any("cycles" in line.split() for line in designs.splitlines())
        assert max(map(len, designs.splitlines())) <= 80
    sums, designs, *_ = brief([*records, make_record(backend="z" * 99)]).split("\n\n")
    assert "MACs" in sums.splitlines()[0]
    assert any("cycles" in line.split() for line in designs.splitlines())
    assert max(map(len, (*sums.splitlines(), *designs.splitlines()))) <= 80


def test_operands_that_could_not_be_prepared_are_counted_with_the_reason(make_record):
    records = [
        make_record(gemm="q", prepared=["b"]),
        make_record(gemm="k", prepared=[], strategy_chosen="row/column"),
        make_record(gemm="v", prepared=[], k_pieces=3),
        make_record(gemm="o", prepared=[], strategy="block", strategy_chosen=None),
    ]
    words = " ".join(brief(records, prepared=("b",)).split())
    assert (
        "B could not be prepared ahead (timing.prepared) in 3 of 4 records: high digits lie in "
        "further columns, so that the layout depends on both operands (1); K is cut into pieces "
        "(1); strategy block (1)."
    ) in words
    assert "timing.prepared" not in brief(records)
    assert "timing.prepared" not in brief(records[:1], prepared=("b",))
    assert len(brief(records, prepared=("a", "b")).splitlines()) <= MOST_LINES - NEXT_LINES


def test_what_operands_were_drawn_from_is_named(make_record):
    profiles = ("that of SmolLM2-135M, which ships",)
    drawn = make_record(ratio_basis="sampled")
    words = " ".join(brief([make_record(), drawn], profiles=profiles).split())
    assert "Profile of the operands: that of SmolLM2-135M, which ships. The seed of" in words
    assert "Profile" not in brief([make_record(ratio_basis="counted")], profiles=profiles)
    assert "Profile" not in brief([drawn])


def test_the_first_time_may_include_compilation_without_warm_up(make_record):
    notes = TimingNotes(
        cache="warm", warmup=0, relative_error=None, outliers=0, load_per_core=0.1,
        clock_mhz=[None, None],
    )  # fmt: skip
    said = "without warm-up a backend's first may include compilation"
    assert said in " ".join(brief([make_record(timing=notes)]).split())
    warm = notes.model_copy(update={"warmup": 1})
    assert said not in " ".join(brief([make_record(timing=warm)]).split())


def test_a_verdict_on_a_backend_of_the_users_own_says_what_else_to_ask(make_record):
    records = [make_record(gemm="q"), make_record(gemm="k")]
    lines = brief(records, own=("my files/mine.py:Mine",)).splitlines()
    assert "2 of 2 exact" in lines
    words = " ".join(lines)
    assert "accelsim verify 'my files/mine.py:Mine' also tries odd shapes" in words
    assert "accelsim verify" not in brief(records)
    counted = [make_record(status="counted", exact=None, product="none", reason="as asked")]
    assert "accelsim verify" not in brief(counted, own=("mine.py:Mine",))


def test_strategies_are_explained_where_the_table_names_them(make_record):
    records = [make_record(strategy=strategy) for strategy in ("mix", "row/column")]
    words = " ".join(brief(records).split())
    assert "mix: high digits in further rows, columns or both" in words
    assert "row, column, both: how A/B was unpacked" in words
    assert "mix:" not in brief(records[:1])


def test_columns_that_the_width_has_no_room_for_are_named(make_record):
    records = [
        modelled(make_record, bits=bits, area_time=1000.0 - bits, seconds=1.0, area_mm2=2.0)
        for bits in (4, 8)
    ]
    narrow, wide = (brief(records, width=width) for width in (56, 200))
    (words,) = (line for line in narrow.splitlines() if line.startswith("Only in table.txt"))
    (head,) = (line for line in narrow.splitlines() if line.startswith("b  "))
    assert head.split()[1:4] == ["cycles", "seconds", "mm²"]
    hidden = words.removeprefix("Only in table.txt, for lack of width: ").rstrip(".").split("; ")
    assert hidden == ["area, MACs"]
    assert not {*hidden} & {*head.split()}
    assert "Only in" not in wide
    (head,) = (line for line in wide.splitlines() if line.startswith("b  "))
    assert {"seconds", "mm²", "area·s", "area,", "MACs"} <= {*head.split()}


def test_the_cheapest_design_is_named_with_its_accumulators(make_record):
    records = [
        modelled(
            make_record, bits=bits, area_time=100.0 * bits, backend_options={"accumulator_bits": 20}
        )
        for bits in (4, 8)
    ]
    assert "no product wrong: 4 bits, emulator*, 20-bit accumulators." in brief(records)


def twelve(make_record):
    """Return the records of a first own array: two dataflows, searched or not, three β."""
    return [
        modelled(
            make_record, gemm=gemm, beta=beta, area_time=float(beta), seconds=1e-5, area_mm2=2.5,
            stall_cycles=25, energy=3e-6, cost_basis={"area_mm2": "interpolated: 45 nm, scaled"},
            backend_options={
                "dataflow": f"{kept}-stationary", "memory": {"mapping": {"search": search}},
            },
        )
        for gemm in "qk"
        for beta in (15, 31, 127)
        for kept in ("output", "weight")
        for search in ("cycles", "energy")
    ]  # fmt: skip


def test_a_line_for_each_of_twelve_designs_with_what_an_architect_asks_first(make_record):
    text = brief(twelve(make_record), width=80)
    lines = text.split("\n\n")[0].splitlines()
    start = next(number for number, line in enumerate(lines) if "stationary" in line)
    head, *rows = lines[start : start + 13]
    above = " ".join(lines[:start])
    assert above.startswith("4 modelled designs, mm² in 45 nm, 2 GEMMs together: emulator, ")
    assert "4 bits" in above
    assert head.split() == [
        *("stationary", "mapping.search", "cycles", "seconds", "stalls"),
        *("energy,", "J", "mm²", "/least"),
    ]
    assert len({tuple(row.split()[:4]) for row in rows}) == 12
    assert {row.split()[2] for row in rows} == {"output", "weight"}
    for row in rows:
        assert row.split()[4:] == ["200", "2.00e-05", "25.0%", "6.00e-06", "2.50", "1.00"]
    assert "…" not in "".join(rows)
    assert len(text.splitlines()) + NEXT_LINES <= MOST_LINES
    assert max(map(len, text.splitlines())) <= 80


def test_times_of_software_are_said_only_where_a_backend_is_no_model(make_record):
    records = twelve(make_record)
    text = brief(records)
    for words in ("total, ms", "gemm", "of the total time", "×fp32"):
        assert words not in text
    both = brief([*records, make_record(backend="cpu-int8", execution="native")], width=120)
    for words in ("total", "gemm", "of the total time", "×fp32"):
        assert words in both


def test_a_design_that_is_not_exact_says_so_in_its_line(make_record):
    records = twelve(make_record)
    wrong = {"status": Status.INEXACT, "exact": False, "mismatches": 1, "max_abs_error": 1}
    records[0] = records[0].model_copy(update=wrong)
    lines = brief(records, width=80).splitlines()
    (head,) = (line for line in lines if " cycles " in line and "exact" in line)
    assert "exact" in head.split()
    assert sum("1/2" in line.split() for line in lines) == 1


def test_what_bounds_a_design_has_narrower_gaps_where_the_width_is_short(make_record):
    placed = {
        bound: Roofline(intensity=1.0, achieved=2.0, attainable=4.0, bound=bound)
        for bound in ("dram", "compute")
    }
    records = [
        record.model_copy(update={"roofline": placed["dram" if record.gemm == "q" else "compute"]})
        for record in twelve(make_record)
    ]
    lines = brief(records, width=80).splitlines()
    assert lines[0].startswith("4 modelled designs, mm² in 45 nm, 2 GEMMs together: ")
    (head,) = (line for line in lines if line.split()[:1] == ["design"])
    assert head.split()[-4:] == ["J", "mm²", "bound", "/least"]
    rows = [line for line in lines if "DRAM 1/2" in line and line.endswith(" 1.00")]
    assert len(rows) >= 9
    assert "Designs: 1 dataflow=output-stationary, mapping.search=cycles; 2 " in " ".join(lines)
    assert max(map(len, lines)) <= 80
    wide = brief(records, width=104).splitlines()
    (head,) = (line for line in wide if line.split()[:1] == ["stationary"])
    assert "mm² in" not in wide[0]
    assert head.split()[6:11] == ["J", "mm²", "(45", "nm)", "bound"]


def test_the_report_says_which_extra_it_needs(make_record, monkeypatch):
    _, report, _ = next_steps([make_record()], Path("runs/a"))
    assert report.endswith("a page with tables and figures")
    monkeypatch.setattr("accelsim.report.brief.find_spec", lambda module: None)
    _, report, _ = next_steps([make_record()], Path("runs/a"))
    assert report.endswith("a page with tables and figures (needs the extra `report`)")


def test_names_that_a_cut_would_make_equal_are_not_cut():
    alike = {f"emulator {'x' * 40} {end}" for end in (1, 2)}
    assert cut_names(alike, 80) == {name: name for name in alike}
    (short,) = cut_names({"z" * 99}, 80).values()
    assert short == f"{'z' * 31}…"
