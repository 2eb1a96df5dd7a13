"""Does the other side live? Our pings and their answers, and silence. Pure; ``now`` in ns.

A ping goes out every interval, whether data flows or not, unless the venue wants pings on an idle
connection only. An answer that is late ends the connection.
"""

from __future__ import annotations

from feedd.clock import SECOND_NS
from feedd.venues.session_schema import Heartbeat

__all__ = ["Probe", "Pulse"]


class Probe:
    """One kind of ping: when the next is due, until when its answer must be there."""

    def __init__(self, beat: Heartbeat, only_when_idle: bool) -> None:
        self._interval_ns = int(beat.ping_interval_s * SECOND_NS)
        self._timeout_ns = int(beat.pong_timeout_s * SECOND_NS)
        self._only_when_idle = only_when_idle
        self._due = 0
        self._pong_by = 0
        self._hurried = False

    def start(self, now: int) -> None:
        self._due = now + self._interval_ns
        self._pong_by = 0
        self._hurried = False

    def hurry(self) -> None:
        """The next ping goes out now."""
        self._hurried = True

    def due(self, now: int, frame_at: int) -> bool:
        if self._hurried:
            return True
        if self._only_when_idle and not self._pong_by:
            return now - frame_at >= self._interval_ns
        return now >= self._due

    def sent(self, now: int) -> None:
        self._hurried = False
        self._due = now + self._interval_ns
        self._pong_by = self._pong_by or now + self._timeout_ns

    def answered(self) -> None:
        self._pong_by = 0

    def overdue(self, now: int) -> bool:
        return self._pong_by != 0 and now >= self._pong_by

    def shift(self, by_ns: int) -> None:
        self._due += by_ns
        if self._pong_by:
            self._pong_by += by_ns


class Pulse:
    """All probes of a connection and the age of its last frame."""

    def __init__(self, beat: Heartbeat) -> None:
        self._beat = beat
        self.ws = Probe(beat, beat.only_when_idle) if beat.pings_ws else None
        self.app = Probe(beat, beat.only_when_idle) if beat.pings_app else None
        self.frame_at = 0

    def start(self, now: int) -> None:
        self.frame_at = now
        for probe in self._probes():
            probe.start(now)

    def hurry(self) -> None:
        """Ask now whether the other side lives."""
        for probe in self._probes():
            probe.hurry()

    def shift(self, by_ns: int) -> None:
        self.frame_at += by_ns
        for probe in self._probes():
            probe.shift(by_ns)

    def dead(self, now: int) -> str:
        """Why the other side must be taken for dead; empty: it lives."""
        beat = self._beat
        if any(probe.overdue(now) for probe in self._probes()):
            return f"no pong within {beat.pong_timeout_s:g} s"
        if beat.silence_max_s and now - self.frame_at >= beat.silence_max_s * SECOND_NS:
            return f"silence for {beat.silence_max_s:g} s"
        return ""

    def _probes(self) -> list[Probe]:
        return [probe for probe in (self.ws, self.app) if probe is not None]
