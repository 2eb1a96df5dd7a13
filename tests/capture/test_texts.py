"""Texts of a venue that are no JSON: control for the live reader, control for ``feedd decode``."""

from __future__ import annotations

from pathlib import Path

import msgspec
import orjson

from feedd import venues
from feedd.capture.decode import CaptureDecoder


def test_a_pong_is_control_and_no_bad_frame(tmp_path: Path) -> None:
    venue = venues.load("deribit")
    beat = msgspec.structs.replace(
        venue.session.heartbeat, mode="client_text", payload="ping", reply_text="pong"
    )
    session = msgspec.structs.replace(venue.session, heartbeat=beat)
    texts = ["pong", "pong ", "pong"]
    path = tmp_path / "capture.jsonl"
    rows = [{"t": i, "dir": "in", "raw": text} for i, text in enumerate(texts)]
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)) + b"\n")
    decoder = CaptureDecoder(msgspec.structs.replace(venue, session=session))
    bad = [event for event in decoder.events([path]) if event["kind"] == "status"]
    assert len(bad) == 1
    found = decoder.statistics()
    assert (found["rows"], found["control_frames"], found["bad_frames"]) == (3, 2, 1)
