"""Entries of a raw ring as lines of a capture file.

Beyond the fixed format a row carries ``n``, the number of the entry in its reader, so that the
files of several venues can be put back in one order. What was done to the pipeline without a
message has ``op``: [method, arguments, keyword arguments]; rows that concern no connection are of
the connection ``feedd``. The first row of a file has ``feedd``: what a replay must know.
"""

from __future__ import annotations

import base64
import re
from typing import Any

import orjson

from feedd.shm import rawring
from feedd.shm.rawring import Entry

__all__ = ["OWN", "VERSION", "entry_line", "header_line", "loss_lines"]

OWN = "feedd"
VERSION = 1
_OPENS = "line_forget"
_CLOSES = "line_down"
_TOKEN = re.compile(rb'("(?:access_token|refresh_token|token|listenKey)"\s*:\s*")[^"\\]*')


def _line(row: dict[str, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _payload(data: bytes) -> dict[str, str]:
    """As text where it is text, exactly as it came; else its bytes."""
    try:
        return {"raw": data.decode()}
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(data).decode()}


def _masked(data: bytes) -> bytes:
    """Without the tokens that a login is answered with."""
    return _TOKEN.sub(rb"\1(masked)", data) if b"oken" in data or b"listenKey" in data else data


def entry_line(venue: str, entry: Entry) -> bytes:
    """One capture row, with its newline."""
    conn = f"{venue}:{entry.line}"
    if entry.kind in (rawring.IN, rawring.OUT):
        way = "in" if entry.kind == rawring.IN else "out"
        row = {"t": entry.t, "dir": way, "conn": conn, "n": entry.seq}
        return _line(row | _payload(_masked(entry.payload)))
    if entry.kind == rawring.REST:
        head, _, body = entry.payload.partition(b"\n")
        name, args, kwargs, url = orjson.loads(head)
        row = {"t": entry.t, "dir": "rest", "n": entry.seq, "op": [name, args, kwargs]}
        if url:
            row["url"] = url
        return _line(row | _payload(body))
    op = orjson.loads(entry.payload)[:3]
    way, of = ("close", conn) if op[0] == _CLOSES else ("open", conn if op[0] == _OPENS else OWN)
    return _line({"t": entry.t, "dir": way, "conn": of, "n": entry.seq, "raw": "", "op": op})


def header_line(t: int, n: int, facts: dict[str, Any]) -> bytes:
    """The first row of a file; ``n`` is that of its first entry."""
    facts = {"version": VERSION, **facts}
    return _line({"t": t, "dir": "open", "conn": OWN, "n": n, "raw": "", "feedd": facts})


def loss_lines(t: int, n: int, dropped: int, conns: list[str]) -> bytes:
    """Entries are missing here: one row that says it, and every connection is cut, so that no
    decoder goes on as if nothing had happened."""
    told = _line({"t": t, "dir": "open", "conn": OWN, "n": n, "raw": "", "dropped": dropped})
    cut = [
        _line({"t": t, "dir": "close", "conn": conn, "n": n, "raw": "", "why": "capture lagged"})
        for conn in conns
    ]
    return told + b"".join(cut)
