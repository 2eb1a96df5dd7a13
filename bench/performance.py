"""Run every bench and write the tables of docs/performance.md: what ``make bench`` does.

    python bench/performance.py [--quick] [--only SECTION]... [--dry]

Each section of the page has its numbers between two marks; what stands around them is written by
hand. A peer that is not installed is named as absent. The results as JSON go to .work/bench/.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the checkout, wherever the script is started

from feedd.bench import tables  # noqa: E402
from feedd.sim.testing import start_sim  # noqa: E402

PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / ".work" / "bench"
CAPTURES = ROOT.parent / "shared" / "captures"
PEER = ROOT / "bench" / "decode_vs_cryptofeed.py"
RECORD_S = 5.0
TIMEOUT_S = 420
Result = dict[str, Any]

RECORDED = (  # (venue, the captures of a session, first to last)
    ("binance_usdm", ("hft_20240808_btcusdt.jsonl.gz",)),
    ("binance_usdm", ("cf_20210722.jsonl.gz", "rest_cf_20210722.json")),
    ("deribit", ("cf_20210722_options.jsonl.gz",)),
)
ROUNDS = {  # (whole, quick)
    "decode": (11, 3),
    "forms": (5, 1),
    "ring": (7, 2),
    "wire": (5, 1),
    "scale": (3, 1),
    "start": (7, 3),
}


def bench(*arguments: str) -> Result:
    """``feedd bench`` as JSON; its own words when it fails."""
    command = [sys.executable, "-m", "feedd", "bench", *arguments, "--json"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environ, timeout=TIMEOUT_S
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return dict(json.loads(done.stdout))


def simulated(directory: Path) -> list[tuple[str, list[Path]]]:
    """Record the simulated exchange: there are no recordings of a real one here."""
    with start_sim(directory, rate=2_000, seed=1) as sim:
        channels = {"deribit": ["book", "trades", "ticker", "quote"]}
        channels["binance_usdm"] = ["depth", "bookTicker", "aggTrade"]
        lines = ["[instance]", f'directory = "{directory / "instance"}"']
        lines += [f'state_directory = "{directory / "state"}"', "[readers]", "count = 1"]
        for venue, names in channels.items():
            lines += sim.section(venue, names)
        config = directory / "feedd.toml"
        config.write_text("\n".join(lines) + "\n")
        command = [sys.executable, "-m", "feedd", "record", "-c", str(config)]
        daemon = subprocess.Popen(
            [*command, "--to", str(directory / "captures")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        time.sleep(RECORD_S)
        daemon.terminate()
        said = daemon.communicate(timeout=30)[1]
    found = sorted((directory / "captures").rglob("*.zst"))
    by_venue = [(v, [p for p in found if v in str(p.relative_to(directory))]) for v in channels]
    if not all(paths for _, paths in by_venue):
        raise SystemExit(f"the simulated exchange could not be recorded: {said.strip()[-500:]}")
    return by_venue


def decode(rounds: int) -> tuple[Result, str]:
    """Recorded sessions where they are at hand, simulated ones elsewhere."""
    with tempfile.TemporaryDirectory(prefix="feedd-bench-") as name:
        sessions = [
            (venue, [CAPTURES / venue / file for file in files]) for venue, files in RECORDED
        ]
        sessions = [s for s in sessions if all(path.exists() for path in s[1])]
        source = "Recorded sessions"
        if not sessions:
            sessions = simulated(Path(name))
            source = "Sessions recorded from the simulated exchange (no recordings of venues here)"
        results = []
        for venue, paths in sessions:
            result = bench("decode", "--venue", venue, "--rounds", str(rounds), *map(str, paths))
            results.append(result | {"capture": paths[0].name})
    rows = [
        (
            f"{r['venue']}, {kind}",
            row["frames"],
            round(row["bytes"]),
            round(row["decode_ns"]),
            round(row["full_ns"]),
            *(
                ("", "")
                if not row.get("floor_ns")
                else (round(row["floor_ns"]), f"{row['full_ns'] / row['floor_ns']:.2f}")
            ),
            round(row["least_ns"]),
            round(row["p99_full_ns"]),
        )
        for r in results
        for kind, row in r["kinds"].items()
    ]
    head = ("venue, kind", "frames", "bytes", "decode ns", "full ns", "floor ns", "full / floor")
    text = [
        f"{source}; medians of {rounds} rounds on {tables.machine_line(results[0]['machine'])}.",
        "",
        tables.markdown((*head, "least ns", "p99 ns"), rows),
        "",
    ]
    races, said = peer()
    return {"sessions": results, "peer": races}, "\n".join((*text, said))


def peer() -> tuple[list[Result], str]:
    """cryptofeed on the same frames, and a sentence on it; none, and one that says why not."""
    if not CAPTURES.exists():
        return [], "cryptofeed: not raced, the recordings that it takes are not here."
    done = subprocess.run(
        [sys.executable, str(PEER), "--json", "--rounds", "3"],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if done.returncode:
        first = (done.stderr.strip().splitlines() or ["it said nothing"])[0]
        return [], f"cryptofeed: absent ({first.replace(str(ROOT), '.')})."
    result = json.loads(done.stdout)
    races = ", ".join(
        f"{r['ratio']} times on {r['kind']}s of {r['bytes_mean']:.0f} B ({r['capture']})"
        for r in result["races"]
    )
    version = result["races"][0]["cryptofeed"]
    return result["races"], f"cryptofeed {version} takes, beside the full path, {races}."


def _plain(name: str, table: Callable[[Result], str]) -> Callable[[int], tuple[Result, str]]:
    def measure(rounds: int) -> tuple[Result, str]:
        result = bench(name, "--rounds", str(rounds))
        return result, table(result)

    return measure


SECTIONS: dict[str, Callable[[int], tuple[Result, str]]] = {
    "decode": decode,
    "forms": _plain("forms", tables.forms_table),
    "ring": _plain("ring", tables.ring_table),
    "wire": _plain("wire", tables.wire_table),
    "scale": _plain("scale", tables.scale_table),
    "start": _plain("start", tables.start_table),
}


def _to_floor(session: int, kind: str) -> Callable[[Result], float]:
    """Of one kind of message of a recorded session: KeyError where another one was decoded."""

    def figure(result: Result) -> float:
        found = result["sessions"][session]
        if found["capture"] != RECORDED[session][1][0]:
            raise KeyError(found["capture"])
        row = found["kinds"][kind]
        return float(row["full_ns"] / row["floor_ns"])

    return figure


def _to_peer(kind: str) -> Callable[[Result], float]:
    """How many times our time cryptofeed takes, on the first recorded session."""
    name = RECORDED[0][1][0].split(".")[0]

    def figure(result: Result) -> float:
        for race in result["peer"]:
            if (race["capture"], race["kind"]) == (name, kind):
                return float(race["ratio"])
        raise KeyError(name)

    return figure


# the bars of decoding are lower where the processor has AVX-512
WIDE = "avx512bw" in (p.read_text() if (p := Path("/proc/cpuinfo")).exists() else "")

# what was promised: (section, in words, the figure of a result, at most or at least, the bound)
BARS: tuple[tuple[str, str, Callable[[Result], float], str, float], ...] = (
    ("decode", "depth of 1.6 KB / floor", _to_floor(0, "book"), "<=", 1.15 if WIDE else 1.35),
    ("decode", "depth of 327 B / floor", _to_floor(1, "book"), "<=", 0.8 if WIDE else 0.9),
    ("decode", "bookTicker / floor", _to_floor(0, "quote"), "<=", 0.4 if WIDE else 0.75),
    ("decode", "cryptofeed 3 / full, depth of 1.6 KB", _to_peer("book"), ">=", 90),
    ("decode", "cryptofeed 3 / full, bookTicker", _to_peer("quote"), ">=", 25),
    (
        "forms",
        "decode of any venue's changes of ten levels, ns / byte",
        lambda r: max(v["5"]["decode_ns_per_byte"] for v in r["venues"].values()),
        "<=",
        1.5,
    ),
    ("ring", "Python, M records/s", lambda r: r["python"]["records_per_s"] / 1e6, ">=", 10),
    ("ring", "Python, one way p50, ns", lambda r: r["python"]["one_way_ns"]["p50"], "<=", 500),
    (
        "ring",
        "C, one way p50 / floor",
        lambda r: r["ratio_to_floor"]["c"]["one_way_p50"],
        "<=",
        1.5,
    ),
    (
        "ring",
        "publishing with 16 consumers / with none",
        lambda r: r["publish_ns_by_consumers"]["ratio"],
        "<=",
        1.1,
    ),
    ("ring", "wake from a futex p50, µs", lambda r: r["python"]["wake_ns"]["p50"] / 1e3, "<=", 25),
    ("ring", "a waiting consumer, cores", lambda r: r["python"]["waiting_cpu"], "<=", 0.01),
    ("wire", "busy p50 / floor", lambda r: r["ratio_to_floor"]["busy"]["p50"], "<=", 1.3),
    ("wire", "busy p99 / floor", lambda r: r["ratio_to_floor"]["busy"]["p99"], "<=", 1.0),
    ("wire", "epoll p50 / floor", lambda r: r["ratio_to_floor"]["epoll"]["p50"], "<=", 1.3),
    ("wire", "epoll p99 / floor", lambda r: r["ratio_to_floor"]["epoll"]["p99"], "<=", 1.0),
    (
        "scale",
        "a reader of 4,000 instruments with 200 levels a side, MB",
        lambda r: min(row["process_mb"] for row in r["memory"]["by_levels"].values()),
        "<=",
        150,
    ),
    (
        "scale",
        "ten busy among the most instruments / alone",
        lambda r: (
            list(r["instruments"].values())[-1]["few_ns_per_message"]
            / r["instruments"]["10"]["few_ns_per_message"]
        ),
        "<=",
        1.3,
    ),
    ("scale", "two readers / one", lambda r: r["readers"]["ratio"], ">=", 1.8),
    ("start", "a consumer's import / NumPy's", lambda r: r["import_ratio_to_numpy"], "<=", 1.5),
    ("start", "daemon ready, ms", lambda r: r["ready_ms"], "<=", 1_000),
)


def bars(results: dict[str, Result], page: str) -> str:
    """The bars beside what was measured; what was not measured stays as the page has it."""
    before = {
        cells[0]: cells for line in page.splitlines() if len(cells := _cells(line)) == 4
    }  # fmt: skip
    rows = []
    for section, what, figure, sign, bound in BARS:
        try:
            value = figure(results[section])
        except (KeyError, IndexError):
            if (kept := before.get(f"{section}: {what}")) is not None:
                rows.append(kept)
            continue
        met = value >= bound if sign == ">=" else value <= bound
        shown = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
        rows.append((f"{section}: {what}", f"{sign} {bound:,}", shown, "yes" if met else "no"))
    return tables.markdown(("bar", "wanted", "here", "met"), rows)


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


def _stored() -> dict[str, Result]:
    """The newest result of each section, of this run or an earlier one."""
    paths = {section: RESULTS / f"{section}.json" for section in SECTIONS}
    return {s: json.loads(path.read_text()) for s, path in paths.items() if path.exists()}


def put(page: str, section: str, text: str) -> str:
    """The page with ``text`` between the marks of the section."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    if begin not in page or end not in page:
        raise SystemExit(f"{PAGE} has no marks for {section!r}")
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: to try it")
    parser.add_argument("--only", action="append", choices=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--dry", action="store_true", help="print, and leave the page alone")
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for section in options.only or SECTIONS:
        start = time.monotonic()
        result, text = SECTIONS[section](ROUNDS[section][options.quick])
        (RESULTS / f"{section}.json").write_text(json.dumps(result, indent=1))
        if not options.dry:
            PAGE.write_text(put(PAGE.read_text(), section, text))
        print(f"## {section} ({time.monotonic() - start:.0f} s)\n\n{text}\n", flush=True)
    text = bars(_stored(), PAGE.read_text())
    if not options.dry:
        PAGE.write_text(put(PAGE.read_text(), "bars", text))
    print(f"## bars\n\n{text}")


if __name__ == "__main__":
    main()
