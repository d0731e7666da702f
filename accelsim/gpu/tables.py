"""The results of ``accelsim gpu`` as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Record = dict[str, Any]


def tables(records: Sequence[Record]) -> str:
    """Return one table for each kind of measurement; times are medians in ms."""
    parts = []
    for measured, title, table in (
        ("gemm", "Products alone, operands prepared", _gemms),
        ("front-end", "Front end", _front_end),
        ("pipeline", "End to end: bfloat16 in and out, exact integers inside (b = 8)", _pipelines),
    ):
        chosen = [record for record in records if record["measured"] == measured]
        if chosen:
            parts.append(f"### {title}\n\n{table(chosen)}")
    return "\n".join(parts)


def _gemms(records: Sequence[Record]) -> str:
    names = list(dict.fromkeys(name for r in records for name in r.get("time_ms", ())))
    notes = {
        name: entry["execution"] for r in records for name, entry in r.get("backends", {}).items()
    }
    header = [
        f"{name} ({notes[name]})" if notes.get(name, "native") != "native" else name
        for name in names
    ]
    rows = [
        [
            _shape(r),
            *(_ms(r["time_ms"].get(name)) for name in names),
            "yes" if r["status"] == "ok" else "NO",
        ]
        if "time_ms" in r
        else [_shape(r), *[""] * len(names), r["reason"]]
        for r in records
    ]
    return _markdown(["n × h × d", *header, "integers exact"], rows)


def _front_end(records: Sequence[Record]) -> str:
    rows = []
    for r in records:
        if "time_ms" not in r:
            rows.append([str(r["size"]), "", "", r["reason"], "", ""])
            continue
        what = (
            f"select, {r['dtype']}"
            if r["stage"] == "select"
            else f"quantize and unpack A and B by {r['by']}, b = {r['bits']}, r = {r['ratio']:.2f}"
        )
        time = r["time_ms"]
        rows.append(
            [
                f"{r['size']}²",
                what,
                _ms(time),
                f"{r['floor_ms']:.3f}",
                f"{time['median'] / r['floor_ms']:.2f}",
                "yes" if r["status"] == "ok" else "NO",
            ]
        )
    return _markdown(["size", "what", "ms", "floor", "times the floor", "exact"], rows)


def _pipelines(records: Sequence[Record]) -> str:
    stages = ("quantize", "unpack", "gemm", "pack")
    rivals = list(dict.fromkeys(name for r in records for name in r.get("rivals_ms", ())))
    rows = []
    for r in records:
        facts = [_shape(r), _operands(r), f"{r['beta']:g}", "B" if r["prepared"] else "nothing"]
        if "time_ms" not in r:
            rows.append([*facts, *[""] * (3 + len(stages) + len(rivals)), r["reason"]])
            continue
        rows.append(
            [
                *facts,
                f"{r['ratio']:.4f}",
                _ms(r["time_ms"]["total"]),
                *(
                    f"{_ms(r['time_ms'][stage])} / {r['floor_ms'][stage]:.3f}"
                    if stage in r["time_ms"]
                    else ""
                    for stage in stages
                ),
                *(
                    f"{_ms(r['rivals_ms'][name])} (×{r['speedup_vs'][name]:.2f})"
                    if name in r["rivals_ms"]
                    else ""
                    for name in rivals
                ),
                _errors(r["relative_error"]),
                "yes" if r["status"] == "ok" else "NO",
            ]
        )
    return _markdown(
        [
            "n × h × d",
            "operands",
            "β",
            "prepared",
            "r",
            "total",
            *(f"{stage} / floor" for stage in stages),
            *rivals,
            "relative error",
            "exact",
        ],
        rows,
    )


def _operands(record: Record) -> str:
    return str(record["operands"]).rpartition("/")[2].replace(".safetensors", "")


def _errors(errors: dict[str, float]) -> str:
    return ", ".join(f"{name} {error:.1e}" for name, error in errors.items())


def _shape(record: Record) -> str:
    return f"{record['n']}×{record['h']}×{record['d']}"


def _ms(summary: Record | None) -> str:
    return f"{summary['median']:.3f}" if summary else ""


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
