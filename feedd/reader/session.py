"""A connection's life as a pure machine: (state, event, now) -> actions. No I/O, no clock.

::

    IDLE -> PERMIT -> CONNECTING -> UP -> CLOSING -> BACKOFF -> PERMIT ...        STOPPED

Everything that differs between venues is data (``feedd.venues.session_schema.Session``). ``now``
is monotonic ns. The owner calls ``tick`` about twenty times a second with what the line counted,
carries out the actions, and feeds events back. Rules that others learned the hard way: the age of
data counts from the first subscribe, so a connection that never delivers is noticed; heartbeats,
pongs and acks are not data; the delay between attempts starts from zero only after sustained data,
so a venue that closes politely at once causes no storm; a process that stood still blames nobody.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from feedd.clock import SECOND_NS, now_ns
from feedd.reader.actions import Action, Activity, Counts, Do, State
from feedd.reader.answers import matches
from feedd.reader.backoff import Backoff
from feedd.reader.login import Login, Verdict, words_of
from feedd.reader.pulse import Probe, Pulse
from feedd.reader.signing import Signer
from feedd.reader.subscriptions import Subscriptions
from feedd.reader.topics import Outcome, SendWindow, TopicState, Wanted
from feedd.venues.session_schema import Notice, Session

__all__ = ["Action", "Activity", "Do", "LineSession", "State"]

STALL_NS = SECOND_NS  # a longer pause between two ticks is our own fault
CLOSE_TIMEOUT_NS = 2 * SECOND_NS
QUIET_FACTOR = 10  # a line that may be silent is good after this many times sustained_s
ROTATE_EARLIEST, ROTATE_LATEST, ROTATE_END = 0.85, 0.95, 0.985
ROTATE_WITHIN_S = 30.0
LOGIN_PAUSE_S = 60.0


class LineSession:
    """One connection of one venue with its topics; one thread."""

    def __init__(
        self,
        venue: Session,
        topics: Iterable[str | Wanted],
        *,
        rng: random.Random,
        quiet: bool = False,
        backoff: Backoff | None = None,
        wall: Callable[[], int] = now_ns,
        signer: Signer | None = None,
    ) -> None:
        self.venue = venue
        self.subscriptions = Subscriptions(venue, topics, wall, signer)
        self.state = State.IDLE
        self.counts = Counts()
        self._rng = rng
        self.quiet = quiet
        self._backoff = backoff or Backoff(rng)
        limits = venue.limits
        self._window = SendWindow(
            limits.messages_max,
            int(limits.messages_window_s * SECOND_NS),
            limits.messages_reserved,
        )
        self._sustained_ns = int(venue.health.sustained_s * SECOND_NS)
        self._tick_at = 0
        self._retry_at = 0
        self._close_by = 0
        self._seen = Activity()
        self._data_at = self._data_since = 0
        self._pulse = Pulse(venue.heartbeat)
        self._login = Login(venue.auth)
        self._stay_away_s: float | None = None
        self._texts = {text.encode() for text in venue.heartbeat.control_texts}
        self._reply_text = (venue.heartbeat.reply_text or "").encode()
        self._rotate_at = self._rotate_end = 0
        self._replace_by = 0
        self._replace_why = ""
        self._retired = False
        self._distrusted = False
        self._curious = False
        self._reason = ""
        self._planned = False
        self._up_at = 0
        self._sustained = False

    # -- events --------------------------------------------------------------------------------

    def start(self, now: int, delay_s: float = 0.0) -> list[Action]:
        """Begin, after ``delay_s``; also after ``stop``."""
        self._tick_at = now
        if delay_s > 0:
            self.state = State.BACKOFF
            self._retry_at = now + int(delay_s * SECOND_NS)
            return []
        self.state = State.PERMIT
        return [Action(Do.PERMIT)]

    def permit(self, now: int) -> list[Action]:
        """The supervisor allows one attempt."""
        if self.state is not State.PERMIT:
            return []
        self._tick_at = now
        self.state = State.CONNECTING
        return [Action(Do.CONNECT)]

    def connected(self, now: int, addressed: Iterable[str] = ()) -> list[Action]:
        """The WebSocket handshake succeeded; ``addressed`` are topics that the address named."""
        if self.state is not State.CONNECTING:
            return [Action(Do.ABORT, text="not wanted any more")]
        self.state = State.UP
        self.counts.connects += 1
        self._tick_at = self._data_at = now
        self._up_at = now
        self._data_since = 0
        self._sustained = False
        self._seen = Activity()
        self._reason = ""
        self._planned = False
        self._distrusted = False
        self._window.clear()
        self._pulse.start(now)
        self._rotate_at = self._replace_by = 0
        life_ns = self.venue.limits.life_max_s * SECOND_NS
        if life_ns:
            share = self._rng.uniform(ROTATE_EARLIEST, ROTATE_LATEST)
            self._rotate_at = now + int(life_ns * share)
            self._rotate_end = now + int(life_ns * ROTATE_END)
        self.subscriptions.restart(now)
        there = self._settle(now, self.subscriptions.subscribed(addressed))
        self._stay_away_s = None
        login, arm = self.subscriptions.login(now), self.subscriptions.arm(now)
        self._login.begin(now, wanted=login is not None)
        out = [Action(Do.LINE_UP), *there, *self._send(now, login), *self._send(now, arm)]
        return out + (self._open(now) if login is None else [])

    def _open(self, now: int) -> list[Action]:
        """Everything that comes after the login, if there is one."""
        out = [a for data in self.subscriptions.opening(now) for a in self._send(now, data)]
        return out + self._pump(now)

    def _send(self, now: int, data: bytes | None) -> list[Action]:
        if data is None:
            return []
        self._window.note(now)
        return [Action(Do.SEND, data)]

    def connect_failed(
        self, now: int, reason: str, retry_after_s: float | None = None
    ) -> list[Action]:
        if self.state is not State.CONNECTING:
            return []
        self.counts.connect_failures += 1
        self._wait(now, retry_after_s)
        return [Action(Do.NOTICE, text=f"connect failed: {reason}")]

    def disconnected(self, now: int, reason: str) -> list[Action]:
        """The connection ended, also after a clean close; ``reason`` unless we ended it. The end of
        one that another took over from is no loss: it counts as a rotation, with that one."""
        if self.state not in (State.UP, State.CLOSING):
            return []
        reason = self._reason or reason
        self.counts.disconnects += not self._retired
        name = reason.split(":")[0][:40]
        self.counts.reasons[name] = self.counts.reasons.get(name, 0) + 1
        out = [Action(Do.LINE_DOWN, text=reason)]
        if self._retired:
            self.state = State.STOPPED
            return out
        if self._planned:
            self.state = State.PERMIT
            return [*out, Action(Do.PERMIT)]
        if not self._reason:
            out += self._failed(self.subscriptions.lost(now))
        if self._data_since:
            self._backoff.credit((self._data_at - self._data_since) // SECOND_NS)
        self._wait(now, self._stay_away_s)
        return out

    def control(self, now: int, data: bytes) -> list[Action]:
        """A message that is not market data: heartbeat, ack, error or notice."""
        if self.state is not State.UP:
            return []
        if data in self._texts:
            if data == self._reply_text:
                self._ponged(self._pulse.app)
            return []
        try:
            message = orjson.loads(data)
        except orjson.JSONDecodeError:
            return self._unknown(data)
        beat = self.venue.heartbeat
        if beat.trigger is not None and matches(message, beat.trigger):
            self.counts.heartbeats_answered += 1
            self._window.note(now)  # never delayed: unanswered means the end of the connection
            return [Action(Do.SEND, self.subscriptions.reply(now, message))]
        if any(all(matches(message, match) for match in form) for form in beat.reply_when):
            self._ponged(self._pulse.app)
            return []
        if self._login.waiting:
            verdict = self._login.judge(message)
            if verdict is not Verdict.NONE:
                return self._logged_in(now, verdict is Verdict.ACCEPTED, message)
        outcome = self.subscriptions.answer(now, message)
        if outcome is not None:
            if outcome.login is not None and self._login.waiting:
                return self._logged_in(now, outcome.login, message)
            return self._settle(now, outcome) + self._pump(now)
        for notice in self.venue.notices:
            if all(matches(message, match) for match in notice.when):
                return self._notice(now, notice, data)
        return self._unknown(data)

    def overheard(self, now: int, data: bytes) -> list[Action]:
        """A message that may be market data of a channel nobody wants, or one for us."""
        self._curious = True
        try:
            return self.control(now, data)
        finally:
            self._curious = False

    def resubscribe(self, now: int, topics: Iterable[str]) -> list[Action]:
        """The book of these topics needs a fresh start."""
        if self.state is not State.UP:
            return []  # the coming connection subscribes anew anyway
        unknown = self.subscriptions.resubscribe(now, topics)
        notices = [
            Action(Do.NOTICE, text=f"resubscribe of a topic that is not here: {name}")
            for name in unknown
        ]
        return notices + self._pump(now)

    def change(self, now: int, *, add: Iterable[str | Wanted], drop: Iterable[str]) -> list[Action]:
        """Streams come and go; the others are left alone."""
        self.subscriptions.drop(drop)
        self.subscriptions.add(add)
        return self._pump(now) if self.state is State.UP else []

    def rotate(self, now: int, reason: str) -> list[Action]:
        """Replace the connection, if it is up: another one takes over first when it was good."""
        if self.state is not State.UP:
            return []
        return self._replace(now, reason, ROTATE_WITHIN_S)

    def probe(self) -> None:
        """Ping with the next tick: is the other side alive?"""
        self._pulse.hurry()

    def leave(self, now: int, reason: str) -> list[Action]:
        """Give the connection up and come back with a new one."""
        return self._leave(now, Do.CLOSE, reason) if self.state is State.UP else []

    def retire(self, now: int, reason: str) -> list[Action]:
        """Another connection has taken over: leave, and do not come back."""
        self._retired = True
        if self.state is State.UP:
            return self._leave(now, Do.CLOSE, reason, code=1000)
        if self.state is not State.CLOSING:
            self.state = State.STOPPED
        return []

    def stop(self, now: int) -> list[Action]:
        state, self.state = self.state, State.STOPPED
        if state is State.UP:
            self.counts.disconnects += 1
            return [
                Action(Do.CLOSE, code=1000, text="shutdown"),
                Action(Do.LINE_DOWN, text="shutdown"),
            ]
        return [Action(Do.ABORT, text="shutdown")] if state is State.CLOSING else []

    # -- time ----------------------------------------------------------------------------------

    def tick(self, now: int, seen: Activity) -> list[Action]:
        """Time passed; ``seen`` are the line's counters."""
        stall = now - self._tick_at - STALL_NS
        self._tick_at = now
        if stall > 0:
            self._forgive(stall)
        if self.state is State.UP:
            self._observe(now, seen)
            return self._check(now)
        if self.state is State.BACKOFF and now >= self._retry_at:
            self.state = State.PERMIT
            return [Action(Do.PERMIT)]
        if self.state is State.CLOSING and now >= self._close_by:
            self._close_by = now + CLOSE_TIMEOUT_NS
            return [Action(Do.ABORT, text=self._reason)]
        return []

    def _forgive(self, stall: int) -> None:
        """Ages are the venue's fault only while we were looking."""
        self._data_at += stall
        self._pulse.shift(stall)
        self._login.shift(stall)
        self.subscriptions.shift(stall)

    def _observe(self, now: int, seen: Activity) -> None:
        before, self._seen = self._seen, seen
        if seen.frames != before.frames:
            self._pulse.frame_at = now
        if seen.data != before.data:
            self._data_at = now
            self._data_since = self._data_since or now
            if now - self._data_since >= self._sustained_ns:
                self._good()
        elif self.quiet and now - self._up_at >= QUIET_FACTOR * self._sustained_ns:
            self._good()
        if seen.pongs != before.pongs:
            self._ponged(self._pulse.ws)
        for _ in range(min(seen.pongs_sent - before.pongs_sent, 64)):
            self._window.note(now)

    def _good(self) -> None:
        self._sustained = True
        self._backoff.reset()

    def _check(self, now: int) -> list[Action]:
        health = self.venue.health
        dead = self._pulse.dead(now)
        if dead:
            return self._leave(now, Do.ABORT, dead)
        within_s = self.venue.limits.subscribe_within_s
        if within_s and not self.subscriptions.asked and now - self._up_at >= within_s * SECOND_NS:
            return self._leave(now, Do.CLOSE, f"nothing subscribed within {within_s:g} s")
        if self._login.overdue(now):
            return self._locked_out(now, "no answer to the login")
        age = now - self._data_at
        if not self.quiet and age >= health.data_age_max_s * SECOND_NS:
            reason = f"no data for {health.data_age_max_s:g} s"
            return [Action(Do.STALE, text=reason), *self._leave(now, Do.CLOSE, reason)]
        if self._replace_by and now >= self._replace_by:
            return self._rotate(now)
        if self._rotate_at and now >= self._rotate_at:
            self._rotate_at = 0
            within_s = (self._rotate_end - now) / SECOND_NS
            return self._replace(now, "rotation before the venue's limit", within_s)
        out = self._settle(now, self.subscriptions.timeouts(now))
        if self.state is not State.UP:
            return out
        if self._sustained and self.subscriptions.starved(now):
            out += self._replace(now, "requests of the hour are used up", ROTATE_WITHIN_S)
        return out + self._pump(now) + self._ping(now)

    def _ping(self, now: int) -> list[Action]:
        out = []
        for probe in (self._pulse.ws, self._pulse.app):
            if probe is None or not probe.due(now, self._pulse.frame_at):
                continue
            if not self._window.room(now, urgent=True):
                break
            probe.sent(now)
            self._window.note(now)
            self.counts.pings_sent += 1
            if probe is self._pulse.ws:
                out.append(Action(Do.PING, b"feedd"))
            else:
                out.append(Action(Do.SEND, self.subscriptions.ping()))
        return out

    # -- helpers -------------------------------------------------------------------------------

    def _pump(self, now: int) -> list[Action]:
        if self._login.waiting:
            return []
        return [Action(Do.SEND, data) for data in self.subscriptions.pump(now, self._window)]

    def _logged_in(self, now: int, accepted: bool, message: Any) -> list[Action]:
        if not accepted:
            return self._locked_out(now, f"login refused: {words_of(message)}")
        self._login.done()
        return self._open(now)

    def _locked_out(self, now: int, reason: str) -> list[Action]:
        """The same key again at once would be refused again: stay away for a while."""
        self._login.done()
        self.counts.login_failures += 1
        self._stay_away_s = LOGIN_PAUSE_S
        return [Action(Do.NOTICE, text=reason), *self._leave(now, Do.CLOSE, reason)]

    def _settle(self, now: int, outcome: Outcome) -> list[Action]:
        out = [Action(Do.SUBSCRIBED, topic=name) for name in outcome.accepted]
        out += self._failed(outcome.failed)
        if outcome.opening_failed:
            out.append(Action(Do.NOTICE, text=f"opening refused: {outcome.opening_failed}"))
        if outcome.arm_failed:
            reason = f"heartbeats refused: {outcome.arm_failed}"
            out += self._leave(now, Do.CLOSE, reason)
        return out

    def _failed(self, failed: Iterable[tuple[str, str]]) -> list[Action]:
        out = []
        for topic, reason in failed:
            self.counts.subscribe_errors += 1
            out.append(Action(Do.SUBSCRIBE_FAILED, topic=topic, text=reason))
        return out

    def _ponged(self, probe: Probe | None) -> None:
        if probe is not None:
            probe.answered()

    def _notice(self, now: int, notice: Notice, data: bytes) -> list[Action]:
        action = notice.action
        if action == "ignore" or (action == "resume" and not self._distrusted):
            return []
        shown = data[:200].decode("utf-8", "backslashreplace")
        out = [Action(Do.NOTICE, text=f"{notice.name}: {shown}")]
        if action == "rotate":
            out += self._replace(now, notice.name, notice.within_s)
        elif action == "reconnect":
            out += self._leave(now, Do.CLOSE, notice.name)
        elif action == "mark_stale" and not self._distrusted:
            self._distrusted = True
            out.append(Action(Do.DISTRUST, text=notice.name))
        elif action in ("resubscribe_all", "resume"):
            self._distrusted = False
            self.subscriptions.resubscribe(now, list(self.subscriptions.topics))
            out += self._pump(now)
        return out

    def _unknown(self, data: bytes) -> list[Action]:
        if self._curious:
            return []
        self.counts.control_unknown += 1
        if self._login.waiting:  # it may repeat what we sent
            return [Action(Do.NOTICE, text="message without a meaning during the login")]
        shown = data[:200].decode("utf-8", "backslashreplace")
        return [Action(Do.NOTICE, text=f"message without a meaning here: {shown}")]

    def _replace(self, now: int, reason: str, within_s: float) -> list[Action]:
        """Ask for a connection that takes over; without one leave when ``within_s`` are over.

        Only a connection that was good may come back without a delay.
        """
        if not self._sustained:
            return self._leave(now, Do.CLOSE, reason)
        by = now + int(within_s * SECOND_NS)
        if self._replace_by:
            self._replace_by = min(by, self._replace_by)
            return []
        self._replace_by, self._replace_why = by, reason
        return [Action(Do.REPLACE, text=reason)]

    def _rotate(self, now: int) -> list[Action]:
        """Nobody took over in time: leave and come back at once."""
        self._planned = True
        self.counts.rotations += 1
        return self._leave(now, Do.CLOSE, self._replace_why, code=1000)

    def _leave(self, now: int, how: Do, reason: str, code: int = 1001) -> list[Action]:
        self.state = State.CLOSING
        self._reason = reason
        self._close_by = now + CLOSE_TIMEOUT_NS
        return [Action(how, text=reason, code=code)]

    def _wait(self, now: int, retry_after_s: float | None) -> None:
        self.state = State.BACKOFF
        self._retry_at = now + self._backoff.next_delay_ns(retry_after_s)

    @property
    def retry_at(self) -> int:
        """Monotonic ns of the next attempt while in BACKOFF."""
        return self._retry_at

    @property
    def active_topics(self) -> int:
        return self.subscriptions.count(TopicState.ACTIVE)
