"""feedd against cryptofeed 3 on the same Binance USD-M frames, alternately in one run.

    python bench/decode_vs_cryptofeed.py [--peer PYTHON] [--rounds N] [--json] [CAPTURE...]

cryptofeed 3 needs Python 3.13 and lives in a venv of its own; this script runs it as a process
and never imports it. To install it where the script looks by default:

    python3.13 -m venv .venv-cryptofeed
    .venv-cryptofeed/bin/pip install 'cryptofeed>=3'

Without CAPTURE the Binance USD-M recordings in ``../shared/captures`` beside the project are used.
A capture is a file of frames; its REST snapshots are rows in it, or the JSON array named
``rest_`` plus its name beside it. Changes of books and quotes (bookTicker) are races of their own.
Only changes that apply to a joined book are raced, so that both
sides do all of their work on every frame. Each round starts from fresh books that join the REST
snapshots and take the whole capture once before the clock starts: what is timed is a running
system, not its first touch of memory. The timed frames are the capture's again, with update ids
moved on so that they follow, as often as it takes to make a few thousand.

Quotes need no book; the first of a capture are raced.

* cryptofeed: decode, update-id check, book, one callback that only counts;
* feedd: decode with full validation, sequence policy, book, board and ring, one commit per frame.

Printed are the medians of ns per frame over the rounds and the median of the per-round ratios.
Quote the ratio, not the times: both sides ran on the same machine within seconds.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the checkout, wherever the script is started

from feedd import venues  # noqa: E402
from feedd.decode.plan import compile_plan  # noqa: E402
from feedd.pipeline.core import Pipeline  # noqa: E402
from feedd.shm.board import BoardWriter  # noqa: E402
from feedd.shm.books import BooksWriter  # noqa: E402
from feedd.shm.ring import RingWriter  # noqa: E402

PASSES = 16  # of feedd in a round
RING_SLOTS = 1 << 16
BOOK_DEPTH = 1024
FRAMES_MIN = 6_000
QUOTES_MAX = 20_000
UPDATE_IDS = {key: re.compile(rf'"{key}":(\d+)') for key in ("U", "u", "pu")}
CAPTURES = ROOT.parent / "shared" / "captures" / "binance_usdm"
DEFAULT_PEER = ROOT / ".venv-cryptofeed" / "bin" / "python"
INSTALL = """\
cryptofeed was not found: {reason}
Install it in a venv of its own (Python 3.13 or newer), then run this again:
    python3.13 -m venv .venv-cryptofeed
    .venv-cryptofeed/bin/pip install 'cryptofeed>=3'
or name another Python that has it with --peer PYTHON or FEEDD_PEER_PYTHON."""


@dataclass
class Race:
    """The frames of one capture and the REST body that each instrument starts from."""

    name: str
    kind: str  # "book" or "quote"
    symbols: list[str] = field(default_factory=list)
    first: list[str] = field(default_factory=list)  # the capture as it is; not timed
    frames: list[str] = field(default_factory=list)
    snapshots: dict[str, str] = field(default_factory=dict)


def _read(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def _rest_rows(capture: Path) -> list[dict[str, Any]]:
    stem = capture.name.split(".")[0]
    for name in (f"rest_{stem}.json", f"rest_{stem}.json.gz"):
        if (capture.parent / name).exists():
            return list(json.loads(_read(capture.parent / name)))
    return []


def moved_on(used: list[tuple[str, int, str]], times: int) -> list[str]:
    """The same frames with update ids that follow the capture's last, ``times`` lengths later."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for symbol, u, raw in used:
        first.setdefault(symbol, int(UPDATE_IDS["pu"].search(raw)[1]))  # type: ignore[index]
        last[symbol] = u
    out = []
    for symbol, _, raw in used:
        moved = raw
        for key, pattern in UPDATE_IDS.items():
            step = times * (last[symbol] - first[symbol])
            moved = pattern.sub(lambda m, k=key, s=step: f'"{k}":{int(m[1]) + s}', moved)  # type: ignore[misc]
        out.append(moved)
    return out


def _rows(capture: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _read(capture).splitlines() if line.strip()]


def load_quotes(capture: Path) -> Race | None:
    """The first quotes of the capture; None when it has none."""
    race = Race(capture.name.split(".")[0], "quote")
    symbols = set()
    for row in _rows(capture):
        if row["dir"] != "in" or '"e":"bookTicker"' not in row["raw"]:
            continue
        race.frames.append(row["raw"])
        symbols.add(json.loads(row["raw"])["data"]["s"])
        if len(race.frames) == QUOTES_MAX:
            break
    race.symbols = sorted(symbols)
    return race if race.frames else None


def load(capture: Path) -> Race:
    """The depth frames that apply after the first REST row of their instrument."""
    rows = _rows(capture)
    depth = []
    rest = _rest_rows(capture)
    for row in rows:
        if row["dir"] == "rest":
            rest.append(row)
        elif row["dir"] == "in" and '"e":"depthUpdate"' in row["raw"]:
            data = json.loads(row["raw"])["data"]
            depth.append((data["s"], data["u"], row["raw"]))
    symbols = {symbol for symbol, _, _ in depth}
    race = Race(capture.name.split(".")[0], "book")
    number: dict[str, int] = {}
    for row in rest:
        body = json.loads(row["raw"])
        if "lastUpdateId" not in body:
            continue
        named = re.search(r"symbol=([^&]+)", row.get("url") or "")
        symbol = named[1] if named else body.get("symbol") or next(iter(symbols))
        if symbol in symbols and symbol not in number:
            number[symbol] = body["lastUpdateId"]
            race.snapshots[symbol] = row["raw"]
    used = [d for d in depth if d[0] in number and d[1] >= number[d[0]]]
    race.first = [raw for _, _, raw in used]
    race.symbols = sorted({d[0] for d in used})
    race.snapshots = {symbol: race.snapshots[symbol] for symbol in race.symbols}
    for again in range(1, -(-FRAMES_MIN // max(1, len(used))) + 1):
        race.frames += moved_on(used, again)
    if not race.frames:
        raise SystemExit(f"{capture}: no depth frame that a REST snapshot joins; nothing to race")
    return race


class Peer:
    """cryptofeed in its own process: sends ``round``, gets nanoseconds."""

    def __init__(self, python: Path, race: Race) -> None:
        self.process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name("peer_cryptofeed.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._send(json.dumps(vars(race)))
        self.version: str = self._answer()["ready"]

    def _send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the cryptofeed process ended; its message is above")
        return dict(json.loads(line))

    def round(self) -> tuple[int, int]:
        """One pass over all frames: (ns, updates)."""
        self._send("round")
        answer = self._answer()
        return answer["ns"], answer["updates"]

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait(timeout=30)
        if self.process.stdout is not None:
            self.process.stdout.close()


def peer_python(wanted: Path | None) -> Path:
    """The Python that has cryptofeed, or an exit that says how to get it."""
    python = wanted or Path(os.environ.get("FEEDD_PEER_PYTHON") or DEFAULT_PEER)
    if not python.exists():
        raise SystemExit(INSTALL.format(reason=f"there is no {python}"))
    check = subprocess.run(
        [str(python), "-c", "import cryptofeed"], capture_output=True, text=True, check=False
    )
    if check.returncode != 0:
        why = (check.stderr.strip().splitlines() or ["it cannot be imported"])[-1]
        raise SystemExit(INSTALL.format(reason=f"{python}: {why}"))
    return python


class Ours:
    """feedd's side: a fresh pipeline per round with private ring, board and books."""

    def __init__(self, race: Race) -> None:
        self.race = race
        self.plan = compile_plan(venues.load("binance_usdm"))
        self.frames = [frame.encode() for frame in race.frames]
        rows = len(race.symbols)
        self.shared = (
            RingWriter.private(RING_SLOTS, populate=True),
            BoardWriter.private(rows, populate=True),
            BooksWriter.private([BOOK_DEPTH] * rows, populate=True),
        )

    def _pipeline(self) -> tuple[Pipeline, int]:
        """Joined books, ready for the first timed frame."""
        pipeline = Pipeline(*self.shared)
        handle = pipeline.add_venue(self.plan)
        for row, symbol in enumerate(self.race.symbols):
            pipeline.add_instrument(handle, symbol, row, row, BOOK_DEPTH)
        waiting = dict(self.race.snapshots)
        for frame in self.race.first:
            pipeline.on_message(handle, frame.encode(), 1)
            for symbol in [s for s in waiting if f'"s":"{s}"' in frame]:
                state = pipeline.on_rest_snapshot(handle, symbol, waiting.pop(symbol).encode(), 1)
                if state != "joined":
                    raise SystemExit(f"feedd did not join the book of {symbol}: {state}")
            pipeline.commit()
        return pipeline, handle

    def round(self) -> int:
        """Mean ns of a pass over all frames. cryptofeed takes some twenty times as long for one, so
        feedd makes several: neither side is measured on caches that the other has just emptied."""
        return sum(self._pass() for _ in range(PASSES)) // PASSES

    def _pass(self) -> int:
        """ns for one pass over all frames; every one must have been applied."""
        pipeline, handle = self._pipeline()
        before = pipeline.counters()
        start = time.perf_counter_ns()
        pipeline.feed_many(handle, self.frames, 1)
        taken = time.perf_counter_ns() - start
        after = pipeline.counters()
        applied = len(self.frames) - sum(
            after[name] - before[name]
            for name in ("gaps", "old_deltas", "duplicates", "bad_frames")
        )
        if applied != len(self.frames) or after["records"] - before["records"] < applied:
            raise SystemExit(f"feedd applied {applied} of {len(self.frames)} frames")
        return taken


def race_once(race: Race, python: Path, rounds: int) -> dict[str, Any]:
    """Alternate the two sides; the first round of each only warms up."""
    ours = Ours(race)
    peer = Peer(python, race)
    count = len(race.frames)
    feedd_ns: list[float] = []
    peer_ns: list[float] = []
    try:
        for index in range(rounds + 1):
            nanoseconds = ours.round()
            theirs, updates = peer.round()
            if updates != count:
                raise SystemExit(f"cryptofeed applied {updates} of {count} frames: not comparable")
            if index:
                feedd_ns.append(nanoseconds / count)
                peer_ns.append(theirs / count)
    finally:
        peer.close()
    return {
        "capture": race.name,
        "kind": race.kind,
        "frames": count,
        "bytes_mean": round(sum(map(len, race.frames)) / count, 1),
        "feedd_ns_per_frame": round(statistics.median(feedd_ns), 1),
        "cryptofeed_ns_per_frame": round(statistics.median(peer_ns), 1),
        "ratio": round(statistics.median(b / a for a, b in zip(feedd_ns, peer_ns, strict=True)), 1),
        "cryptofeed": peer.version,
    }


def machine() -> str:
    """The processor's name and count: a ratio without its machine says little."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}"


def captures(wanted: list[Path]) -> list[Path]:
    """The named captures, else the recordings beside the project."""
    found = wanted or sorted(p for p in CAPTURES.glob("*.jsonl.gz") if p.name[0] != "r")
    if not found:
        raise SystemExit(f"no captures in {CAPTURES}: name some, see --help")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("captures", nargs="*", type=Path, metavar="CAPTURE")
    parser.add_argument("--peer", type=Path, metavar="PYTHON", help="a Python with cryptofeed 3")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    python = peer_python(options.peer)
    chosen = captures(options.captures)
    loaded = [load(path) for path in chosen]
    loaded += [quotes for path in chosen if (quotes := load_quotes(path)) is not None]
    races = [race_once(race, python, options.rounds) for race in loaded]
    result = {
        "machine": machine(),
        "python": platform.python_version(),
        "races": races,
        "ratio_min": min(race["ratio"] for race in races),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['machine']}, Python {result['python']}, cryptofeed {races[0]['cryptofeed']}")
    print("capture                kind    frames  bytes   feedd ns  cryptofeed ns    ratio")
    for race in races:
        print(
            f"{race['capture']:<22} {race['kind']:<5} {race['frames']:>8}"
            f" {race['bytes_mean']:>6.0f}"
            f" {race['feedd_ns_per_frame']:>10.0f} {race['cryptofeed_ns_per_frame']:>14.0f}"
            f" {race['ratio']:>8.1f}"
        )


if __name__ == "__main__":
    main()
