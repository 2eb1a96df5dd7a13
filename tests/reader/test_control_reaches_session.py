"""What the session must hear of is no data for the decoder: answers, pongs, notices."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.pipeline.core import CONTROL, IGNORED, Pipeline
from feedd.reader.answers import matches
from feedd.shm.ring import RingWriter
from feedd.venues.session_schema import Match
from feedd.venues.templates import fill_template
from tests.reader.test_session_venues import NOTICES
from tests.reader.venue_scripts import SCRIPTS, session_of

NAMES = sorted(name for name in SCRIPTS if name in venues.names())


def made(matching: tuple[Match, ...]) -> dict[str, Any]:
    """The least message for which all of these hold."""
    message: dict[str, Any] = {}
    for match in matching:
        node: Any = message
        keys = match.path.split(".")
        for key, following in zip(keys, [*keys[1:], ""], strict=True):
            last = key == keys[-1] and following == ""
            value = match.value if isinstance(match.value, str) else (match.value or ("x",))[0]
            fresh: Any = value if last else ([] if following.isdecimal() else {})
            if isinstance(node, list):
                node.append(fresh)
                node = node[-1]
            else:
                node = node.setdefault(key, fresh)
    assert all(matches(message, match) for match in matching)
    return message


def controls(name: str) -> list[Any]:
    """Every message that the session of a venue waits for."""
    session, script = session_of(name), SCRIPTS[name]()
    arg = script.arg("SYM1")
    values = {"id": 1, "time_s": 1, "time_ms": 1, "topics": [arg], "topic": arg, "handle": 1000}
    asked = [fill_template(session.subscribe.request, values)]
    wrong = script.arg("BAD")
    asked.append(
        fill_template(session.subscribe.request, values | {"topics": [wrong], "topic": wrong})
    )
    if session.subscribe.group is not None:
        group = session.subscribe.group
        for message in asked:
            holder = message if group in message else message["params"]
            holder[group] = [holder[group]]
    asked.append(fill_template(session.subscribe.unsubscribe, values))
    if session.subscribe.group is not None:
        holder = asked[-1] if session.subscribe.group in asked[-1] else asked[-1]["params"]
        holder[session.subscribe.group] = [holder[session.subscribe.group]]
    asked += list(session.subscribe.opening)
    if isinstance(session.heartbeat.payload, dict):
        asked.append(fill_template(session.heartbeat.payload, values))
    answers = [answer for message in asked for answer in script.answer(message, script)]
    answers += [made(notice.when) for notice in session.notices]
    answers += [message for venue, message, _ in NOTICES if venue == name]
    if session.heartbeat.trigger is not None:
        answers.append(made((session.heartbeat.trigger,)))
    return [answer for answer in answers if answer is not None]


@pytest.mark.parametrize("name", NAMES)
def test_control_is_control(name: str) -> None:
    pipeline = Pipeline(RingWriter.private(1 << 14))
    handle = pipeline.add_venue(compile_plan(venues.load(name)))
    for number, message in enumerate(controls(name)):
        if "sequence_num" in message:
            message["sequence_num"] = number
        data = orjson.dumps(message)
        result = pipeline.on_message(handle, data, 1)
        # short messages without a channel of ours are heard of too
        assert result == CONTROL or (result == IGNORED and len(data) < 1024), (result, message)
