"""Frames that a venue might send as well, of every venue and every channel.

The frames of the simulated venues and of made-up sessions come in other spellings of the same
meaning; what is decoded then must be what the independent reference reads in the plain ones, by the
walker and by templates, with and without vector instructions. Frames that mean nothing to a
subscriber (of instruments that nobody asked for, of unknown channels, answers at any time, huge
lists) change nothing and are counted.

With more than the usual effort (``tests/fixtures/effort.py``) other seeds come each time.
"""

from __future__ import annotations

import json
import random
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedd import venues
from feedd.capture.decode import CaptureDecoder
from feedd.decode.plan import compile_plan
from feedd.pipeline.twice import Twice
from feedd.reader.subscriptions import Subscriptions
from feedd.reader.topics import SendWindow, TopicState
from feedd.venues.templates import path_get
from tests.acceptance import compare
from tests.acceptance.cli import Decoded, read_lines
from tests.acceptance.fixture_files import write_capture
from tests.acceptance.here import decode_rows_here
from tests.fixtures.effort import EFFORT, tries
from tests.fixtures.sessions import SESSIONS
from tests.fuzz.spellings import KINDS, Members, Row, Speller, parse
from tests.reference import Result, decode_rows
from tests.sim.offline import record
from tests.sim.test_every_channel import CASES, forms

TRIES = tries(1)
T = 1_790_000_000_000_000_000
MADE_UP = "made up"
SOURCES = [*CASES, *((venue, MADE_UP) for venue in SESSIONS)]
FOREIGN = "ZZ9"
"""Ends the names of instruments that nobody asked for."""

pytestmark = pytest.mark.timeout(300 if EFFORT == 1 else 3_600)
some = settings(
    max_examples=TRIES,
    deadline=None,
    derandomize=EFFORT == 1,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Base:
    """A session and what the reference reads in it."""

    venue: str
    rows: list[Row]
    expected: Result

    @property
    def frames(self) -> list[str]:
        return [row["raw"] for row in self.rows if row["dir"] == "in" and "raw" in row]


@lru_cache(maxsize=64)
def base_of(venue: str, source: str) -> Base:
    if source == MADE_UP:
        scenario = SESSIONS[venue](3)
        rows = [{"dir": "rest", **row} for row in scenario.rest_rows] + scenario.rows
    else:
        with tempfile.TemporaryDirectory() as folder:
            rows = record(venue, Path(folder), ms=250, without=forms(venue, source)).rows
    rows = [{**row, "t": T} for row in rows]  # so that messages can be taken apart
    return Base(venue, rows, decode_rows(venue, rows))


def decoded(venue: str, rows: list[Row]) -> Decoded:
    with tempfile.TemporaryDirectory() as folder:
        return decode_rows_here(venue, rows, Path(folder))


@pytest.mark.parametrize(("venue", "source"), SOURCES)
def test_other_spellings_mean_the_same(
    venue: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = base_of(venue, source)
    twice = Twice(compile_plan(venues.load(venue)))

    @some
    @given(
        kinds=st.sets(st.sampled_from(KINDS), min_size=2),
        seed=st.integers(0, 2**32 - 1),
        isa=st.sampled_from(("", "avx2", "portable")),
    )
    def check(kinds: set[str], seed: int, isa: str) -> None:
        monkeypatch.setenv("FEEDD_ISA", isa)
        rows = Speller(venues.load(venue), kinds, seed).session(base.rows)
        compare.assert_same(decoded(venue, rows), base.expected, venue)
        for row in rows:
            if row["dir"] == "in" and row.get("raw", "")[:1] in ("{", "["):
                frame = row["raw"].encode()
                twice.hear(frame)
                assert twice.differ(frame) == "", row["raw"]

    check()
    assert twice.learned > 0


# ---- frames that mean nothing ------------------------------------------------------------


def counted_together(venue: str) -> bool:
    """Whether a connection numbers its frames: there, one more is a loss."""
    return venues.load(venue).decode.connection_sequence is not None


def renamed(value: Any, symbols: list[str]) -> Any:
    """The same of instruments that nobody asked for."""
    if isinstance(value, Members):
        return Members((key, renamed(member, symbols)) for key, member in value)
    if isinstance(value, list):
        return [renamed(member, symbols) for member in value]
    if type(value) is str:
        for symbol in symbols:
            for name in (symbol, symbol.lower()):
                if name and name in value:
                    other = f"{name}{FOREIGN}" if name == symbol else f"{name}{FOREIGN.lower()}"
                    return value.replace(name, other)
    return value


def other_topic(venue: str, value: Any) -> Any:
    """The same on a channel that the venue file does not name; None where there is none."""
    for envelope in venues.load(venue).decode.envelopes:
        steps = (envelope.topic or "").split(".")
        plain = json.loads(Speller(venues.load(venue), (), 0).spell(value))
        topic = path_get(plain, envelope.topic or "-", None)
        if isinstance(topic, str) and isinstance(value, Members):
            return _put(value, steps, "zz:unknown")
    return None


def _put(value: Any, steps: list[str], text: str) -> Any:
    if not steps:
        return text
    return Members(
        (key, _put(member, steps[1:], text) if key == steps[0] else member) for key, member in value
    )


STRANGE = (
    "{}", "[]", "[{}]", "[[[]]]", "null", "17", '"text"', "true", '{"event":"subscribe"}',
    '{"error":{"code":1,"msg":"no"},"id":999999}', '{"id":"zz","result":[1,2,3]}',
    '{"type":"error","message":"zz"}', '{"topic":null,"data":[]}', '{"channel":17}',
    "[" + ",".join(["[1.5,2]"] * 20_000) + "]", "[" * 900 + "]" * 900,
    '{"zz":"' + "y" * 200_000 + '"}', '{"stream":"zz@zz","data":{"e":"zz"}}',
)  # fmt: skip


@pytest.mark.parametrize(
    ("venue", "source"), [case for case in CASES if not counted_together(case[0])]
)
def test_frames_that_mean_nothing_are_counted_and_change_nothing(
    venue: str, source: str, tmp_path: Path
) -> None:
    base = base_of(venue, source)
    symbols = {str(r["instrument"]).partition(":")[2] for r in base.expected.records}
    symbols.discard("None")
    ordered = sorted(symbols, key=len, reverse=True)
    speller = Speller(venues.load(venue), (), 0)
    for seed in range(max(1, TRIES // 2)):
        rng = random.Random(f"{venue}{seed}")
        rows: list[Row] = []
        ignored = 0
        for row in base.rows:
            if row["dir"] == "in":
                value = parse(row["raw"])
                strangers = []
                if rng.random() < 0.4:
                    strangers.append(speller.spell(renamed(value, ordered)))
                if rng.random() < 0.3 and (other := other_topic(venue, value)) is not None:
                    strangers.append(speller.spell(other))
                    ignored += 1
                if rng.random() < 0.3:
                    strangers.append(rng.choice(STRANGE))
                rows += [{**row, "raw": text} for text in strangers]
            rows.append(row)
        decoder = CaptureDecoder(venues.load(venue))
        path = write_capture(tmp_path / "rows.jsonl", rows)
        lines = [orjson.dumps(line).decode() for line in decoder.events([path])]
        lines += [orjson.dumps(line).decode() for line in decoder.final_books()]
        got, statistics = read_lines(lines), decoder.statistics()
        mine = [line for line in got.records if FOREIGN not in str(line["instrument"])]
        told = Decoded([line for line in mine if line["kind"] != "status"])
        rest = compare.has_rest_books(venue)
        expected = compare.grouped(base.expected.records, rest)
        compare.assert_groups_equal(compare.grouped(told.records, rest), expected)
        assert not [line for line in mine if line.get("event") in ("gap", "checksum")]
        finals = {n: f for n, f in got.finals.items() if FOREIGN not in n}
        compare.assert_finals_equal(Decoded([], finals), base.expected)
        assert statistics["frames"] == sum(row["dir"] == "in" for row in rows)
        assert statistics.get("ignored_frames", 0) + statistics["control_frames"] >= ignored


@pytest.mark.parametrize(("venue", "source"), CASES)
def test_answers_in_other_spellings_and_in_any_order(
    venue: str, source: str, tmp_path: Path
) -> None:
    """In their order every stream is accepted, whatever the spelling; in another one, with errors
    of nobody's among them, some are asked for again, and none is given up."""
    loaded = venues.load(venue)
    sent = record(venue, tmp_path, ms=20, without=forms(venue, source))
    assert not sent.refused
    kinds = ("order", "unknown", "space", "escapes", "twice")
    for seed in range(2 * TRIES):
        rng = random.Random(seed)
        for conn, wanted, _ in sent.asked:
            subscriptions = Subscriptions(loaded.session, wanted, wall=lambda: T)
            subscriptions.opening(0)
            subscriptions.pump(0, SendWindow(1 << 20, 1, 0))
            rows = [r for r in sent.rows if r["dir"] == "in" and r["conn"] == conn]
            frames = [r["raw"] for r in Speller(loaded, kinds, seed).session(rows)]
            states = {TopicState.ACTIVE}
            if seed % 2:
                frames += rng.choices(frames, k=len(frames) // 10) + rng.choices(STRANGE[:16], k=30)
                rng.shuffle(frames)
                states.add(TopicState.QUEUED)
            for frame in frames:
                if frame[:1] in ("{", "["):
                    subscriptions.answer(0, orjson.loads(frame))
            found = {name: topic.state for name, topic in subscriptions.topics.items()}
            assert {n: state for n, state in found.items() if state not in states} == {}


@pytest.mark.parametrize("isa", ["", "avx2", "portable"])
@pytest.mark.parametrize(
    ("side", "good"),
    [
        ("[]", True),
        ("[null]", True),
        ('[["1.5"]]', True),
        ('[["1.5",null]]', True),
        ("[1]", False),
        ('["NaN"]', False),
        ("[true]", False),
        ("[{}]", False),
        ("5", False),
        ('"x"', False),
    ],
)
def test_a_side_that_is_not_what_it_must_be_is_no_missing_side(
    side: str, good: bool, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by this file: ``"asks":[1]`` was a quote without an ask."""
    monkeypatch.setenv("FEEDD_ISA", isa)
    form = (
        '{"arg":{"channel":"bbo-tbt","instId":"A"},"data":[{"asks":%s,'
        '"bids":[["9.5","2"]],"ts":"1790000000000","seqId":%d}]}'
    )
    texts = [form % ('[["9.75","3"]]', number) for number in range(1, 9)]
    texts += [form % (side, 9), form % ('[["9.75","4"]]', 10)]
    got = decoded("okx", [{"t": T, "dir": "in", "raw": text} for text in texts])
    quotes = got.of("quote")
    assert len(quotes) == (10 if good else 9)
    assert len(got.events("bad_frame")) == (0 if good else 1)
    assert (quotes[8]["ask_price"] is None) == good
