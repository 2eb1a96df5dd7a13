"""The results of the benches as text: Markdown tables, for terminals and docs/performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "forms_table",
    "machine_line",
    "markdown",
    "ring_table",
    "scale_table",
    "start_table",
    "wire_table",
]


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


def forms_table(result: dict[str, Any]) -> str:
    """What a change of a book costs, by the venue whose form it has."""
    rows = [
        (
            venue,
            levels,
            round(row["bytes"]),
            round(row["decode_ns"]),
            round(row["full_ns"]),
            f"{row['decode_ns_per_byte']:.2f}",
            f"{row['full_ns_per_byte']:.2f}",
        )
        for venue, by_levels in result["venues"].items()
        for levels, row in by_levels.items()
    ]
    head = ("venue", "levels a side", "bytes", "decode ns", "full ns", "decode ns / byte")
    return "\n".join(
        (
            f"Medians of {result['rounds']} rounds on {machine_line(result['machine'])}.",
            "",
            markdown((*head, "full ns / byte"), rows),
        )
    )


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
            f"p99 {python['wake_ns']['p99'] / 1e3:.1f} µs "
            f"(C: {result['c']['wake_ns']['p50'] / 1e3:.1f} and "
            f"{result['c']['wake_ns']['p99'] / 1e3:.1f} µs; "
            f"a bare futex, without a ring: {result['floor']['wake_ns']['p50'] / 1e3:.1f} and "
            f"{result['floor']['wake_ns']['p99'] / 1e3:.1f} µs); "
            f"a waiting consumer takes {python['waiting_cpu']:.2%} of a core.",
            f"Publishing a record: {cost['0']:.1f} ns without consumers, {cost['16']:.1f} ns "
            f"with 16 (8 stopped, 8 asleep); median of the pairs' ratios {cost['ratio']:.3f}.",
        ]
    )


def wire_table(result: dict[str, Any]) -> str:
    """Ages per mode beside the floor's, and the rate of a burst."""
    names = {
        "busy": "busy polling",
        "epoll": "epoll",
        "busy_tls": "busy polling, TLS",
        "epoll_tls": "epoll, TLS",
    }
    rows = []
    for mode, name in names.items():
        if mode not in result:
            continue
        ratio = result["ratio_to_floor"][mode]
        for side, what in (("", f"feedd, {name}"), ("floor_", f"floor, {name}")):
            row = result[side + mode]
            ages = [f"{row[p] / 1e3:.1f}" for p in ("p50_ns", "p99_ns", "p999_ns")]
            ratios = ("", "") if side else (f"{ratio['p50']:.2f}", f"{ratio['p99']:.2f}")
            rows.append((what, *ages, f"{row['spread']:.2f}", *ratios))
    head = ("side", "p50 µs", "p99 µs", "p99.9 µs", "spread", "p50 / floor", "p99 / floor")
    return "\n".join(
        [
            f"Medians of {result['rounds']} rounds on {machine_line(result['machine'])}; "
            f"{result['message_bytes']} bytes on the wire, 10,000 messages a second.",
            "",
            markdown(head, rows),
            "",
            f"A burst: {result['burst_msgs_per_s']:,} messages a second into the ring, "
            f"{result['floor_burst_msgs_per_s']:,} into the bare listener.",
        ]
    )


def scale_table(result: dict[str, Any]) -> str:
    """Cost by instruments, levels and connections; two readers; memory."""
    by_instruments = [
        (f"{int(n):,}", round(row["few_ns_per_message"]), round(row["ns_per_message"]))
        for n, row in result["instruments"].items()
    ]
    by_levels = [
        (f"{n}", round(row["ns_per_message"]), f"{row['ns_per_message'] / int(n):.0f}")
        for n, row in result["levels"].items()
    ]
    by_lines = [(n, round(row["ns_per_message"])) for n, row in result["connections"].items()]
    singly = [
        (
            f"{int(n):,}",
            *(f"{row[name] / 1e3:.1f}" for name in ("p50_ns", "p99_ns", "p999_ns", "longest_ns")),
        )
        for n, row in result["one_message"].items()
    ]
    readers, memory = result["readers"], result["memory"]
    by_memory = [
        (levels, row["plan_mb"], row["books_mb"], row["process_mb"], row["segments_mb"])
        for levels, row in memory["by_levels"].items()
    ]
    return "\n\n".join(
        [
            f"Medians of {result['rounds']} rounds on {machine_line(result['machine'])}; "
            "ns per message of five levels unless another number is said.",
            markdown(("instruments", "ten of them busy", "all busy"), by_instruments),
            "One message of five levels among as many busy instruments, µs, with the deep tiers "
            "that come due with it:",
            markdown(("instruments", "p50", "p99", "p99.9", "longest"), singly),
            markdown(("levels of a message", "ns per message", "ns per level"), by_levels),
            markdown(("connections", "ns per message"), by_lines),
            f"Two readers on two cores: {readers['2']:,} messages a second, one: "
            f"{readers['1']:,}; ratio {readers['ratio']:.2f}.",
            f"Memory of a reader of {memory['instruments']:,} instruments, MB, shared segments "
            "apart:",
            markdown(
                ("levels a side of each book", "plan", "books", "whole process", "segments"),
                by_memory,
            ),
        ]
    )


def start_table(result: dict[str, Any]) -> str:
    """Imports and the daemon's start."""
    names = {
        "numpy": "`import numpy`",
        "feedd": "`import feedd`",
        "consumer": "`import feedd`, attach, Stream, Book",
    }
    rows = [
        (name, result["import_cpu_ms"][key], result["import_wall_ms"][key])
        for key, name in names.items()
    ]
    return "\n\n".join(
        [
            f"Medians of {result['rounds']} fresh processes on {machine_line(result['machine'])}.",
            markdown(("import", "processor ms", "wall ms"), rows),
            f"A consumer's import takes {result['import_ratio_to_numpy']:.2f} times NumPy's.",
            f"`feedd run` on the simulated exchange, two readers, three venues: ready after "
            f"{result['ready_ms']:.0f} ms (spread {result['ready_spread']:.2f}).",
        ]
    )
