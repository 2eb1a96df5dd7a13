"""STATUS records of a ring as messages: what the broadcaster forwards. A ring consumer like any."""

from __future__ import annotations

from typing import Any

import numpy as np

from feedd.records import NO_INSTRUMENT, RAW, STATUS, Event, Kind, Scope
from feedd.shm.ring import RingReader

__all__ = ["StatusFeed"]

BATCH = 4_096
BATCHES_MAX = 64


class StatusFeed:
    """Follows one ring from its newest record."""

    def __init__(self, directory: str, reader: int) -> None:
        self.reader = reader
        self._ring = RingReader(directory, reader, "newest")
        self._batch = np.empty(BATCH, dtype=RAW)

    def poll(self) -> list[tuple[str, dict[str, Any]]]:
        """(event name, fields) of the STATUS records since the last call."""
        out: list[tuple[str, dict[str, Any]]] = []
        for _ in range(BATCHES_MAX):
            count = self._ring.read_into(self._batch)
            if not count:
                break
            records = self._batch[:count]
            found = records[records["kind"] == Kind.STATUS].view(STATUS)
            out += [self._message(record) for record in found]
            if count < BATCH:
                break
        return out

    def _message(self, record: Any) -> tuple[str, dict[str, Any]]:
        code = int(record["code"])
        event = Event(code).name.lower() if code in set(Event) else str(code)
        scope = int(record["scope"])
        instrument = int(record["instrument"])
        return event, {
            "reader": self.reader,
            "event": event,
            "scope": Scope(scope).name.lower() if scope in set(Scope) else str(scope),
            "instrument_id": None if instrument == NO_INSTRUMENT else instrument,
            "line": int(record["line"]),
            "ts_recv": int(record["ts_recv"]),
            "ring_seq": int(record["ring_seq"]),
            "text": bytes(record["text"]).rstrip(b"\0").decode("utf-8", "replace"),
            "arg0": int(record["arg0"]),
            "arg1": int(record["arg1"]),
        }

    @property
    def lost(self) -> int:
        """Records that this feed never saw because the ring went round."""
        return int(self._ring.lost)

    def close(self) -> None:
        self._ring.close()
