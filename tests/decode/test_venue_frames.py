"""Every venue's plan on damaged frames: valid is what orjson accepts, and nothing else happens.

The frames are made-up sessions of all venues; each is cut, spliced and changed at random bytes, so
that every walker (arrays, nested rows, levels of every form, tags) sees what it must refuse.
"""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.pipeline.core import BAD, Pipeline
from feedd.shm.ring import RingWriter
from tests.fixtures.sessions import SESSIONS

JSON_REASON = "not valid JSON"
ROUNDS = 3


def _frames(venue: str) -> list[bytes]:
    rows = SESSIONS[venue](5).rows
    texts = [row["raw"] for row in rows if row["dir"] == "in" and "raw" in row]
    return [text.encode() for text in texts]


def _accepts(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _damaged(frame: bytes, other: bytes, rng: random.Random) -> bytes:
    data = bytearray(frame)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0:
                del data[at:]
            case 1:
                del data[at : at + rng.choice((1, 1, 2, 8))]
            case 2:
                data[at:at] = bytes([rng.choice(b'{}[]",:0-.eE\\unt \xff\x00')])
            case 3:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 4:
                start = rng.randrange(len(other) + 1)
                data[at:at] = other[start : start + rng.choice((1, 4, 16, 64))]
            case _:
                data[at:at] = data[rng.randrange(len(data) + 1) :][: rng.choice((2, 8, 32))]
        if not data:
            break
    return bytes(data)


@pytest.mark.parametrize("venue", sorted(set(SESSIONS) & set(venues.names())))
def test_damaged_frames_are_refused_exactly_when_they_are_not_json(venue: str) -> None:
    pipeline = Pipeline(RingWriter.private(1 << 14))
    handle = pipeline.add_venue(compile_plan(venues.load(venue)))
    named: list[str] = []

    def name(_venue: int, symbol: str) -> tuple[int, int, int]:
        named.append(symbol)
        return len(named) - 1, -1, 0

    pipeline.on_unknown(name)
    frames = _frames(venue)
    rng = random.Random(venue)
    tried: dict[bool, int] = {True: 0, False: 0}
    for round_ in range(ROUNDS):
        for index, frame in enumerate(frames):
            whole = round_ == 0 and index % 4 == 0
            data = frame if whole else _damaged(frame, rng.choice(frames), rng)
            result = pipeline.on_message(handle, data, 1_790_000_000_000_000_000 + index)
            pipeline.commit()
            pipeline.take_requests()
            reasons: list[Any] = [bad.reason for bad in pipeline.take_bad_frames()]
            accepted = _accepts(data)
            tried[accepted] += 1
            if accepted:
                assert JSON_REASON not in reasons, data
            else:
                assert result == BAD, data
                assert reasons == [JSON_REASON], data
    assert min(tried.values()) > 20  # both kinds were there
