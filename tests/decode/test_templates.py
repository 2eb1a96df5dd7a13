"""Templates against the walker: whatever is sent, both ways of decoding read the same.

Sessions of every venue teach the templates; then the same messages come with other values of the
same form, with values of another form in their places, and damaged at random bytes.
"""

from __future__ import annotations

import random
import re

import orjson
import pytest

from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.pipeline.twice import SETS, Twice
from tests.decode.test_venue_frames import _damaged, _frames
from tests.fixtures.sessions import SESSIONS

VENUES = sorted(set(SESSIONS) & set(venues.names()))
ISAS = list(SETS)
DIGITS = re.compile(rb"\d+(\.\d+)?")
# what may stand where a number stood, and what must be told from it
ODD = [
    b"0", b"-0", b"00", b"01", b"1.", b".5", b"0.", b"1e5", b"1E-7", b"1e400", b"-", b"0x1",
    b"-5.25", b"123456789012345", b"1234567890123456",
    b"12345678901234567890", b"0.000000000000001",
    b"1234567.12345678", b"99999999999999.9", b"1.0000000000000000", b"null", b"true", b'""',
    b'"7"', b"[]", b"{}", b"NaN", b"7]", b'7,"x":1', b"7 ", b" 7", b"\xc3\xa9", b"\xff", b"1_0",
]  # fmt: skip


def _twice(venue: str, isa: str) -> Twice:
    try:
        return Twice(compile_plan(venues.load(venue)), isa)
    except ValueError as error:
        pytest.skip(str(error))


def _other_values(frame: bytes, rng: random.Random) -> bytes:
    """Numbers of the same form in place of those of the frame: digits for digits."""

    def other(found: re.Match[bytes]) -> bytes:
        text = bytearray(found[0])
        for i, byte in enumerate(text):
            if byte != ord(".") and rng.random() < 0.5:
                text[i] = ord(rng.choice("0123456789"))
        return bytes(text)

    return DIGITS.sub(other, frame)


def _odd_value(frame: bytes, rng: random.Random) -> bytes:
    places = list(DIGITS.finditer(frame))
    if not places:
        return frame
    place = rng.choice(places)
    return frame[: place.start()] + rng.choice(ODD) + frame[place.end() :]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("venue", VENUES)
def test_templates_read_what_the_walker_reads(venue: str, isa: str) -> None:
    twice = _twice(venue, isa)
    # the sessions write keys in any order and with any spacing: a venue does not
    frames = [frame for frame in _frames(venue) if frame[:1] in b"{["]
    for frame in frames:
        twice.hear(frame)
    frames += [orjson.dumps(orjson.loads(frame), option=orjson.OPT_SORT_KEYS) for frame in frames]
    rng = random.Random(venue + isa)
    for frame in frames:
        assert twice.differ(frame) == "", frame
    assert twice.learned > 0
    hits = twice.hits
    for _ in range(3):
        for frame in frames:
            for message in (
                frame,
                _other_values(frame, rng),
                _odd_value(frame, rng),
                _damaged(frame, rng.choice(frames), rng),
            ):
                assert twice.differ(message) == "", message
    assert twice.hits > hits + len(frames) // 2  # they were asked, not passed over


@pytest.mark.parametrize("isa", ISAS)
def test_every_length_and_point_of_a_number(isa: str) -> None:
    twice = _twice("binance_usdm", isa)
    head = b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":%s,"s":"BTCUSDT","b":"%s",'
    tail = b'"B":"%s","a":"%s","A":"1.5","T":1,"E":1}}'
    for digits in range(1, 22):
        for point in range(digits):
            text = (b"1234567890" * 3)[:digits]
            if point:
                text = text[:-point] + b"." + text[-point:]
            zeros = b"0." + b"0" * point + text.replace(b".", b"")
            message = (head + tail) % (text.split(b".")[0] or b"0", text, zeros, text)
            assert twice.differ(message) == "", message


@pytest.mark.parametrize("isa", ISAS)
def test_levels_of_every_layout(isa: str) -> None:
    """Sizes and prices of all lengths side by side, one list after the other with its own mix."""
    twice = _twice("binance_usdm", isa)
    rng = random.Random(7)
    for size in (0, 1, 2, 63, 64, 65, 300):
        for _ in range(6):
            levels = b",".join(
                b'["%d.%0*d","%d.%0*d"]'
                % (
                    rng.randrange(10 ** rng.randrange(1, 8)),
                    rng.choice((1, 2, 5)),
                    rng.randrange(10),
                    rng.choice((0, 1, 12, 123456)),
                    rng.choice((1, 3, 8)),
                    rng.randrange(1000),
                )
                for _ in range(size)
            )
            message = (
                b'{"stream":"btcusdt@depth","data":{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSDT",'
                b'"U":1,"u":2,"pu":0,"b":[%s],"a":[%s]}}' % (levels, levels[::1])
            )
            assert twice.differ(message) == "", message


def test_a_full_table_is_forgotten_and_learned_anew() -> None:
    """More forms than there is room for: all are read right, and later ones are learned."""
    twice = _twice("binance_usdm", "portable")
    form = (
        b'{"stream":"btcusdt@trade","data":{"e":"trade",%s"E":1,"T":1,"s":"BTCUSDT","t":1,'
        b'"p":"1","q":"2","X":"MARKET","m":true}}'
    )
    for n in range(6_000):
        extra = b"".join(b'"x%d":1,' % k for k in range(13) if n >> k & 1)
        assert twice.differ(form % extra) == "", n
    learned = twice.learned
    for _ in range(5_000):  # the pause, and the patience with a full table
        assert twice.differ(form % b'"new":[],') == ""
    assert twice.learned > learned
