"""The results of the benches as text: Markdown tables, for terminals and docs/performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["machine_line", "markdown", "ring_table"]


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table with columns of one width each; the first one is text, the others are numbers."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]
    line = [
        "| "
        + " | ".join(
            _put(cell, width, i) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in cells
    ]
    rule = ["-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([line[0], "| " + " | ".join(rule) + " |", *line[1:]])


def _put(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def machine_line(machine: dict[str, Any]) -> str:
    return f"{machine['cores']} x {machine['cpu']}, {machine['kernel']}, Python {machine['python']}"


def ring_table(result: dict[str, Any]) -> str:
    """Rates, ages and what consumers cost the writer."""
    names = {"python": "Python, `feed.stream`", "c": "C, public header", "floor": "floor"}
    rows = []
    for side, name in names.items():
        row, ratio = result[side], result["ratio_to_floor"].get(side)
        age = row["one_way_ns"]
        rows.append(
            (
                name,
                f"{row['records_per_s'] / 1e6:.1f}",
                f"{row['records_per_s_spread']:.2f}",
                round(age["p50"]),
                round(age["p99"]),
                f"{age['spread']:.2f}",
                f"{ratio['one_way_p50']:.2f}" if ratio else "",
            )
        )
    head = (
        "consumer",
        "M records/s",
        "spread",
        "one way p50 ns",
        "p99 ns",
        "spread",
        "p50 / floor",
    )
    python, cost = result["python"], result["publish_ns_by_consumers"]
    return "\n".join(
        [
            f"Medians of {result['rounds']} rounds on {machine_line(result['machine'])}.",
            "",
            markdown(head, rows),
            "",
            f"Woken from a futex: p50 {python['wake_ns']['p50'] / 1e3:.1f} µs, "
            f"p99 {python['wake_ns']['p99'] / 1e3:.1f} µs; "
            f"a waiting consumer takes {python['waiting_cpu']:.2%} of a core.",
            f"Publishing a record: {cost['0']:.1f} ns without consumers, {cost['16']:.1f} ns "
            f"with 16 (8 stopped, 8 asleep); median of the pairs' ratios {cost['ratio']:.3f}.",
        ]
    )
