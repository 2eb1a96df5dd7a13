"""What a venue's answer says about our requests: acks and errors in all their forms.

A message is tried as an answer in the way that the venue's ``[session.ack]`` describes: by the
number of its request, by values that it repeats, by the stream that it names, or as the list of
everything that is subscribed. An error that names nobody belongs to the oldest open request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from feedd.clock import SECOND_NS
from feedd.reader.topics import Ledger, Outcome, Request, Topic, TopicState
from feedd.venues.session_schema import FullSet, Match
from feedd.venues.templates import arg_key, covers, path_get, text_of

__all__ = ["Answers", "matches"]

_ABSENT = object()
_REQUESTS = ("subscribe", "unsubscribe")


def matches(message: Any, match: Match) -> bool:
    """True when the value at the path is (as text) what the match wants."""
    value = path_get(message, match.path)
    if match.value is None:
        return value is not None
    text = text_of(value)
    if text is None:
        return False
    return text == match.value if isinstance(match.value, str) else text in match.value


class Answers:
    """Reads answers of one connection into its ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ack = ledger.venue.ack
        self._group = ledger.venue.subscribe.group or ""

    def read(self, now: int, message: Any) -> Outcome | None:
        """Settle what ``message`` answers; None when it answers none of our requests."""
        if not isinstance(message, Mapping):
            return None
        request = self._request_of(message)
        error = self._error(message)
        if request is not None and request.kind not in _REQUESTS:
            return self._other(request, error)
        if error:
            return self._refused(now, message, request, error)
        if not all(matches(message, match) for match in self._ack.when):
            return None
        kind = self._ack.kind
        if kind == "list":
            return self._listed(now, message, request)
        if kind == "flag":
            return None if request is None else self._whole(now, request)
        if kind == "per_arg":
            return self._single(now, message, request)
        if kind == "full_set":
            return self._set(now, message)
        return None

    # -- whose answer --------------------------------------------------------------------------

    def _request_of(self, message: Mapping[str, Any]) -> Request | None:
        ack, requests = self._ack, self._ledger.requests
        if ack.id:
            number = path_get(message, ack.id)
            wanted = str if self._ledger.venue.subscribe.id_text else int
            if isinstance(number, wanted) and not isinstance(number, bool):
                return requests.get(str(number))
        if not ack.echo:
            return None
        found: Request | None = None
        for request in requests.values():
            if self._echoes(message, request) and (found is None or found.expired):
                found = request
                if not found.expired:
                    break
        return found

    def _echoes(self, message: Mapping[str, Any], request: Request) -> bool:
        """Every value that the answer repeats is that of the request, and one at least is."""
        there = 0
        for answer, path in self._ack.echo.items():
            value = path_get(message, answer, _ABSENT)
            if value is _ABSENT:
                continue
            if not covers(value, path_get(request.message, path)):
                return False
            there += 1
        return there > 0

    def _oldest(self) -> Request | None:
        return next(
            (
                request
                for request in self._ledger.requests.values()
                if request.kind in _REQUESTS
                and not request.expired
                and not request.error
                and self._waits(request)
            ),
            None,
        )

    def _named(self, message: Mapping[str, Any], request: Request | None) -> list[Topic]:
        """Topics that the message names by their argument or by the venue's handle."""
        waiting = (TopicState.SENT, TopicState.LEFT)
        topics = self._ledger.topics
        if request is not None:
            candidates = [topics[name] for name in request.topics if name in topics]
        else:
            candidates = [topic for topic in topics.values() if topic.state in waiting]
        for path in self._ack.arg:
            there = path_get(message, path, _ABSENT)
            if isinstance(there, str):
                found = [topic for topic in candidates if topic.name == there]
            else:
                found = self._covered(there, candidates)
            if found:
                return found
        if self._ack.handle is not None:
            handle = path_get(message, self._ack.handle)
            if handle is not None:
                return [topic for topic in candidates if topic.handle == handle]
        return []

    def _covered(self, there: Any, candidates: list[Topic]) -> list[Topic]:
        """Topics whose argument the answer repeats; when it leaves something out, the only one
        that it can mean."""
        group = self._group
        found = [topic for topic in candidates if covers(there, topic.arg, group)]
        if found:
            return found
        found = [topic for topic in candidates if covers(there, topic.arg, group, partly=True)]
        return found if len(found) == 1 else []

    def _blamed(self, message: Mapping[str, Any], request: Request | None) -> list[Topic]:
        """Topics that an error names."""
        rules = self._ack.error_arg
        if rules:
            values = {key: text_of(path_get(message, path)) for key, path in rules.items()}
            if all(value is not None for value in values.values()):
                topics = self._ledger.topics.values()
                return [
                    topic
                    for topic in topics
                    if topic.state is TopicState.SENT
                    and (request is None or topic.name in request.topics)
                    and all(text_of(path_get(topic.arg, k)) == v for k, v in values.items())
                ]
        return self._named(message, request)

    # -- errors --------------------------------------------------------------------------------

    def _error(self, message: Mapping[str, Any]) -> str:
        for path in self._ack.errors:
            value = path_get(message, path)
            if value is not None:
                shown = value if isinstance(value, dict) else message
                return orjson.dumps(shown).decode()[:200]
        if any(matches(message, match) for match in self._ack.failed):
            return orjson.dumps(message).decode()[:200]
        return ""

    def _refused(
        self, now: int, message: Mapping[str, Any], request: Request | None, error: str
    ) -> Outcome | None:
        outcome = Outcome()
        blamed = self._blamed(message, request)
        if request is None and not blamed:
            numbered = bool(self._ack.id) and path_get(message, self._ack.id) is not None
            declared = not self._ack.id or any(matches(message, m) for m in self._ack.failed)
            request = self._oldest() if declared and not numbered else None
            if request is None:
                return None
        if any(part in error for part in self._ack.duplicate):
            whole = () if request is None else self._ledger.of(request, TopicState.SENT)
            for topic in blamed or whole:
                self._ledger.accept(topic, outcome)
        elif blamed:
            self._ledger.refuse(now, blamed, error, outcome)
            for topic in blamed:
                self._ledger.left(now, topic)
        elif request is not None:
            self._refuse_request(now, request, error, outcome)
        self._tidy(request)
        return outcome

    def _refuse_request(self, now: int, request: Request, error: str, outcome: Outcome) -> None:
        for topic in self._ledger.of(request, TopicState.LEFT):
            self._ledger.left(now, topic)
        if self._ack.kind == "per_arg" and len(request.topics) > 1:
            # the good ones may still be answered one by one
            request.error = error
            request.judge_at = now + int(self._ack.grace_s * SECOND_NS)
            return
        self.judge(now, request, error, outcome)

    def judge(self, now: int, request: Request, error: str, outcome: Outcome) -> None:
        """Whoever is still without an answer is refused; several are halved to find the one."""
        topics = self._ledger.of(request, TopicState.SENT)
        if len(topics) > 1:
            self._ledger.halve(topics)
        else:
            self._ledger.refuse(now, topics, error, outcome)
        self._ledger.settle(request)

    def _other(self, request: Request, error: str) -> Outcome:
        outcome = Outcome()
        if request.kind == "arm":
            outcome.arm_failed = error
        elif request.kind == "opening":
            outcome.opening_failed = error
        elif request.kind == "login":
            outcome.login = not error
        self._ledger.settle(request)
        return outcome

    # -- acks ----------------------------------------------------------------------------------

    def _listed(
        self, now: int, message: Mapping[str, Any], request: Request | None
    ) -> Outcome | None:
        ack, outcome = self._ack, Outcome()
        if request is None and ack.id:
            return None
        listed = _names(path_get(message, ack.result))
        refused = _names(path_get(message, ack.refused)) if ack.refused is not None else set()
        if request is None:
            if not listed and not refused:
                return None
            topics = self._ledger.topics
            mine = [topics[name] for name in listed | refused if name in topics]
            for topic in mine:
                self._ledger.left(now, topic)
            asked = [topic for topic in mine if topic.state is TopicState.SENT]
        else:
            if request.kind == "unsubscribe":
                return self._whole(now, request)
            found = (self._ledger.topics.get(name) for name in request.topics)
            asked = [topic for topic in found if topic is not None]
        for topic in asked:
            if topic.name in listed:
                self._ledger.accept(topic, outcome)
        missing = [topic for topic in asked if topic.name not in listed]
        self._ledger.refuse(now, missing, "the venue left it out of its answer", outcome)
        self._tidy(request)
        return outcome

    def _whole(self, now: int, request: Request) -> Outcome:
        outcome = Outcome()
        for name in request.topics:
            topic = self._ledger.topics.get(name)
            if topic is None:
                continue
            if request.kind == "subscribe":
                self._ledger.accept(topic, outcome)
            else:
                self._ledger.left(now, topic)
        self._ledger.settle(request)
        return outcome

    def _single(
        self, now: int, message: Mapping[str, Any], request: Request | None
    ) -> Outcome | None:
        named = self._named(message, request)
        if not named and request is None and not self._ack.when:
            return None
        outcome = Outcome()
        handle = path_get(message, self._ack.handle) if self._ack.handle is not None else None
        for topic in named:
            if topic.state is TopicState.LEFT:
                self._ledger.left(now, topic)
            else:
                self._ledger.accept(topic, outcome, handle)
        self._tidy(request)
        return outcome

    def _set(self, now: int, message: Mapping[str, Any]) -> Outcome | None:
        rule = self._ack.full
        if rule is None:
            return None
        there = _pairs(rule, path_get(message, rule.path))
        if there is None:
            return None
        outcome = Outcome()
        for topic in list(self._ledger.topics.values()):
            name = text_of(path_get(topic.arg, rule.stream_name))
            listed = (name, text_of(path_get(topic.arg, rule.stream_symbol))) in there
            if listed:
                self._ledger.accept(topic, outcome)
            elif topic.state is TopicState.LEFT:
                self._ledger.left(now, topic)
            elif topic.state is TopicState.ACTIVE:
                topic.state = TopicState.SENT
                reason = "the venue does not list it any more"
                self._ledger.refuse(now, [topic], reason, outcome)
        return outcome

    def _tidy(self, request: Request | None) -> None:
        """A request whose topics all have their answer is done."""
        if request is None or request.judge_at:
            return
        if not self._waits(request):
            self._ledger.settle(request)

    def _waits(self, request: Request) -> bool:
        waiting = (TopicState.SENT, TopicState.LEFT)
        return any(self._ledger.of(request, state) for state in waiting)


def _names(value: Any) -> set[str]:
    """Topics of a list in an answer, by the names that they have here."""
    if not isinstance(value, list):
        return set()
    return {arg_key(item) for item in value if isinstance(item, str | dict)}


def _pairs(rule: FullSet, value: Any) -> set[tuple[str | None, str | None]] | None:
    """(channel name, symbol) of everything that a full set lists; None when there is none."""
    entries: Iterable[tuple[Any, Any]]
    if rule.name is not None and rule.symbols is not None and isinstance(value, list):
        entries = [(path_get(e, rule.name), path_get(e, rule.symbols)) for e in value]
    elif rule.name is None and isinstance(value, Mapping):
        entries = value.items()
    else:
        return None
    return {
        (text_of(name), text_of(symbol))
        for name, symbols in entries
        # a channel of the whole venue is listed without symbols
        for symbol in (symbols if isinstance(symbols, list) and symbols else [None])
    }
