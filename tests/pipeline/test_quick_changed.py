"""Messages that are nearly as those before: read quickly or in full, they mean the same.

Between the messages of a venue come some of them with members moved, said twice, left out or added,
with values of another form, and with bytes changed: what a venue may send tomorrow, or a proxy.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.pipeline.twice import Twice
from tests.fixtures.effort import seeds
from tests.fixtures.sessions import SESSIONS
from tests.fuzz.spellings import DECIMAL, Members, Number, parse
from tests.pipeline.any_venue import FORMS, Form, Market, Spelling
from tests.pipeline.test_any_books import Session
from tests.pipeline.test_quick import Both

# Of these what a change says can be read from its places.
QUICK = (
    "binance_spot", "binance_usdm", "deribit", "okx", "bybit_linear", "gate_futures",
    "bitget_futures",
)  # fmt: skip
VENUES = sorted(set(SESSIONS) & set(venues.names()))
KEYS = (
    "zz", "s", "symbol", "type", "event", "e", "u", "U", "data", "b", "a", "ts", "T", "st", "id",
    "full", "pu",
)  # fmt: skip
NUMBERS = (
    "0", "-0", "1e3", "1E-7", "0.1e1", "5", "12345678901234567", "9007199254740993",
    "18446744073709551615", "18446744073709551616", "-1", "0.00000000000000000001", "1.50000",
)  # fmt: skip
VALUES = ("null", "true", "{}", "[]", '""', '"x"', '[["1","2"]]', '{"s":"X"}', '"]}"', '"\\u0031"')


def written(value: Any) -> str:
    if isinstance(value, Members):
        return "{" + ",".join(f'"{key}":{written(member)}' for key, member in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if isinstance(value, Raw | Number):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return {None: "null", True: "true", False: "false"}[value]


class Raw(str):
    """A value as it is to be written."""


def objects(value: Any) -> list[Members]:
    found = [value] if isinstance(value, Members) else []
    inner = [m for _, m in value] if isinstance(value, Members) else value
    for member in inner if isinstance(value, list) else []:
        found += objects(member)
    return found


def lists(value: Any) -> list[list[Any]]:
    """Lists with something in them, the innermost as often as their sizes say."""
    if isinstance(value, Members):
        return [found for _, member in value for found in lists(member)]
    if not isinstance(value, list):
        return []
    return [found for member in value for found in lists(member)] + [value] * bool(value)


def change_list(rng: random.Random, at: list[Any]) -> None:
    k = rng.randrange(len(at))
    kind = rng.randrange(6)
    if kind == 0:
        del at[k]
    elif kind == 1:
        at.append(at[k])
    elif kind == 2:
        at.insert(k, Raw(rng.choice(VALUES + NUMBERS)))
    elif kind == 3:
        at.append(Raw(rng.choice(VALUES + NUMBERS)))
    else:
        at[k] = other(rng, at[k])


def other(rng: random.Random, value: Any) -> Any:
    """Another value in its place."""
    if isinstance(value, str) and DECIMAL.fullmatch(value) and rng.random() < 0.7:
        text = rng.choice((rng.choice(NUMBERS), str(value) + "0", str(value)[:-1] or "7"))
        return (
            type(value)(text)
            if rng.random() < 0.8
            else (str if type(value) is Number else Number)(text)
        )
    return Raw(rng.choice(VALUES + NUMBERS))


def changed(rng: random.Random, frame: str, frames: list[str]) -> bytes:
    """The frame with one or two differences."""
    value = parse(frame)
    for _ in range(rng.choice((1, 1, 2))):
        if rng.random() < 0.25 and (found := lists(value)):
            change_list(rng, rng.choice(found))
            continue
        at = rng.choice(objects(value) or [Members()])
        kind = rng.randrange(8)
        if not at:
            at.append(("zz", Number("1")))
            continue
        k = rng.randrange(len(at))
        key, member = at[k]
        if kind == 0:
            at.append(at.pop(k))
        elif kind == 1:
            at.append((key, member if rng.random() < 0.3 else other(rng, member)))
        elif kind == 2:
            at.insert(rng.randrange(len(at) + 1), (key, other(rng, member)))
        elif kind == 3:
            del at[k]
        elif kind == 4:
            at.insert(rng.randrange(len(at) + 1), (rng.choice(KEYS), other(rng, member)))
        elif kind == 5:
            at[k] = (key, other(rng, member))
        elif kind == 6:
            theirs = [o for o in objects(parse(rng.choice(frames))) if o]
            if theirs:
                at.append(rng.choice(rng.choice(theirs)))
        else:
            rng.shuffle(at)
    text = bytearray(written(value).encode())
    if rng.random() < 0.1:
        places = [i for i, c in enumerate(text) if c in b"[]{}:,"]
        i = rng.choice(places or [0])
        text[i : i + rng.randrange(2)] = bytes((text[i], *rng.choices(b" \n\t\r", k=2)))
    if rng.random() < 0.15 and text:
        i = rng.randrange(len(text))
        text[i : i + rng.randrange(2)] = bytes((rng.choice(b'0129.-"\\,:{}[]e \x00~\x80'),))
    return bytes(text)


def with_digits(rng: random.Random, frame: bytes) -> bytes:
    """The same with another digit in a few places, the length as it was."""
    text = bytearray(frame)
    digits = [i for i, c in enumerate(text) if 48 <= c < 58]
    for i in rng.sample(digits, min(len(digits), rng.randrange(4))):
        text[i] = rng.choice(b"0123456789")
    return bytes(text)


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("venue", VENUES)
def test_changed_messages_mean_the_same(
    venue: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each form comes a few times, so that it is known, and so does what it is changed to."""
    rng = random.Random(f"{venue}{seed}")
    both = Both(venue, monkeypatch, "avx2" if seed % 2 else "")
    frames = [
        written(parse(row["raw"])) for row in SESSIONS[venue](7 + seed).rows
        if row["dir"] == "in" and row.get("raw", "")[:1] in ("{", "[")
    ]  # fmt: skip
    chosen = rng.sample(frames, min(len(frames), 60))
    for frame in chosen:
        line = rng.randrange(2) if seed % 2 else 0
        both.send(frame.encode(), line)
        for _ in range(4):
            both.send(with_digits(rng, frame.encode()), line)
        for _ in range(8):
            odd, step = changed(rng, frame, frames), rng.choice((1000, 6_000_000))
            for message in (odd, with_digits(rng, odd), with_digits(rng, odd)):
                both.send(message, line, step)
            both.send(with_digits(rng, frame.encode()), line)
    both.check()
    counters = both.fast.pipeline.counters()
    assert counters["frames"] == len(chosen) * (1 + 4 + 8 * 4)
    assert len(chosen) < counters["bad_frames"] < counters["frames"] // 2, "some are none, most are"
    assert counters["records"] > len(chosen)
    assert both.full.quick == 0


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("venue", FORMS)
def test_changed_messages_of_live_books_mean_the_same(
    venue: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(venue, seed, monkeypatch)
    rng = session.rng
    (form, market, spelling), *_ = books = session.books(2)
    spelling.odd = 0
    if seed % 2 == 0:
        form.last = 1_000_000  # numbers that are read quickly
    for i in range(60):
        if i % 6 == 0:
            session.start(form, market, spelling)
        way = rng.random()
        for _ in range(rng.choice((0, 1, 3))):
            for text in next_of(form, market, spelling):
                session.both.send(changed(random.Random(way), text, [text]))
        if rng.random() < 0.1:
            for text in next_of(*books[1]):
                session.both.send(text.encode())
        for _ in range(3):
            for text in next_of(form, market, spelling):
                session.both.send(text.encode())
    session.both.check()
    counters = session.both.fast.pipeline.counters()
    assert 0 < counters["bad_frames"] < counters["frames"]
    assert counters["book_deltas"] + counters["book_snapshots"] > 20, "it went on"
    assert venue in QUICK or session.both.fast.quick == 0
    if seed == 0 and venue in QUICK and can_be_quick():
        assert session.both.fast.quick > 0


def can_be_quick() -> bool:
    return Twice(compile_plan(venues.load("okx"))).isa != "portable"


def next_of(form: Form, market: Market, spelling: Spelling) -> list[str]:
    bids, asks = market.snapshot() if form.whole else market.change()
    return form.messages(spelling.levels(bids), spelling.levels(asks))
