"""Data that is too old, books that do not heal, fields that drift."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from feedd.clock import SECOND_NS
from feedd.records import BookState
from tests.pipeline.lab import BOOKS, lab, lab_venue, message
from tests.pipeline.rig import Rig, kinds

B = [("10", "1")]
A = [("11", "2")]


def live() -> Rig:
    rig = lab("plus_one")
    rig.send(message(B, A, snapshot=True, u=1, ms=0))
    rig.pipeline.take_requests()
    return rig


# ---- staleness ----


def stale() -> Rig:
    rig = live()
    assert rig.pipeline.mark_stale(rig.handle, "X", rig.t, 31 * SECOND_NS)
    return rig


def test_a_stale_book_is_flagged_and_data_revives_it() -> None:
    rig = stale()
    (event,) = rig.drain()
    assert (event["event"], event["state"], event["previous"]) == ("stale", "stale", "live")
    assert "maybe_bad_book" in event["flags"]
    assert rig.state("X")[0] == rig.shared_board()["state"][0] == BookState.STALE
    assert not rig.pipeline.mark_stale(rig.handle, "X", rig.t, 32 * SECOND_NS)  # said once
    assert rig.drain() == []
    assert kinds(rig.send(message([("9", "1")], u=2, ms=40_000))) == ["status:live", "book:delta"]
    assert rig.state("X") == (BookState.LIVE, 2)
    assert rig.counters["stale_books"] == 1


def test_a_stale_book_that_missed_something_is_a_gap() -> None:
    rig = stale()
    rig.drain()
    events = rig.send(message([("9", "1")], u=5, ms=40_000))
    assert kinds(events) == ["status:gap", "status:resync"]
    assert events[0]["previous"] == "stale"


def test_a_repeat_does_not_revive() -> None:
    rig = stale()
    rig.drain()
    assert rig.send(message(B, u=1, ms=0)) == []
    assert rig.state("X")[0] == BookState.STALE


def test_a_stale_book_leaves_with_its_connection() -> None:
    rig = stale()
    assert rig.pipeline.line_down(rig.handle, 0, rig.t) == 1
    assert rig.state("X")[0] == BookState.GAP


def test_only_live_books_become_stale() -> None:
    rig = lab("plus_one")
    rig.send(message(B, u=5, ms=0))
    assert not rig.pipeline.mark_stale(rig.handle, "X", rig.t, SECOND_NS)
    with pytest.raises(KeyError):
        rig.pipeline.mark_stale(rig.handle, "NOBODY", rig.t, SECOND_NS)


# ---- quarantine ----


def break_and_heal(rig: Rig, times: int) -> list[str]:
    out: list[str] = []
    for _ in range(times):
        u = rig.state("X")[1]
        out += kinds(rig.send(message(B, u=u + 5, ms=u * 10 + 50)))
        out += kinds(rig.send(message(B, A, snapshot=True, u=u + 6, ms=u * 10 + 60)))
    return out


def test_a_book_that_does_not_heal_is_left_alone_longer_each_time() -> None:
    rig = live()
    rig.pipeline.set_quarantine(3, 300)
    assert break_and_heal(rig, 3).count("status:resync") == 3
    rig.pipeline.take_requests()
    u = rig.state("X")[1]
    events = rig.send(message(B, u=u + 9, ms=90_000))
    assert kinds(events) == ["status:gap", "status:quarantined"]
    assert rig.pipeline.take_requests() == []
    assert rig.counters["books_quarantined"] == rig.counters["quarantines"] == 1
    assert rig.send(message(B, u=u + 12, ms=90_001)) == []
    # a snapshot that comes all the same heals it
    heal = message(B, A, snapshot=True, u=u + 20, ms=95_000)
    assert kinds(rig.send(heal)) == ["book:snapshot", "status:live"]
    assert rig.state("X")[0] == BookState.LIVE


def test_a_book_in_quarantine_tries_again() -> None:
    """The pause is over by the wall clock: these messages are of long ago."""
    rig = live()
    rig.pipeline.set_quarantine(1, 300)
    u = rig.state("X")[1]
    rig.send(message(B, u=u + 9, ms=10))
    rig.send(message(B, A, snapshot=True, u=u + 10, ms=11))
    assert kinds(rig.send(message(B, u=u + 19, ms=12))) == ["status:gap", "status:quarantined"]
    rig.pipeline.take_requests()
    rig.pipeline.tick()
    assert kinds(rig.drain()) == ["status:resync"]
    assert [r.kind for r in rig.pipeline.take_requests()] == ["resubscribe"]
    assert rig.counters["books_quarantined"] == 0


def test_other_books_are_not_held_back() -> None:
    rig = live()
    rig.pipeline.set_quarantine(1, 300)
    rig.send(message(B, A, snapshot=True, symbol="Y", u=1, ms=0))
    break_and_heal(rig, 2)
    assert kinds(rig.send(message(B, symbol="Y", u=9, ms=99))) == ["status:gap", "status:resync"]


# ---- drift ----

TICKER = {
    "ticker": {
        "topics": ["ticker.{symbol}"],
        "time": ["ts"],
        "deriv": {"mark": "m", "index": "i", "open_interest": "oi"},
    }
}


def ticking() -> Rig:
    rig = Rig(lab_venue({"policy": "plus_one", **BOOKS["plus_one"]}, **TICKER))
    for n in range(300):
        tick(rig, n, m=f"{n}.5", i=n, **({"oi": n} if n % 2 else {}))
    assert rig.pipeline.take_alarms() == []
    return rig


def tick(rig: Rig, n: int, **fields: Any) -> list[dict[str, Any]]:
    rig.t += 10_000_000
    return rig.send({"t": f"ticker.S{n % 3}", "d": {"ts": 1_700_000_000_000 + n, **fields}})


def alarm_after(rig: Rig, count: int, make: Any) -> tuple[Any, list[str]]:
    events: list[str] = []
    for n in range(1000, 1000 + count):
        events += [kind for kind in kinds(tick(rig, n, **make(n))) if kind != "deriv"]
    alarms = rig.pipeline.take_alarms()
    assert len(alarms) == len(events) <= 1
    return (alarms[0] if alarms else None), events


def test_a_field_that_vanishes_is_an_alarm_with_its_name() -> None:
    rig = ticking()
    alarm, events = alarm_after(rig, 40, lambda n: {"i": n, "oi": n})
    assert (alarm.channel, alarm.field, alarm.what) == ("ticker", "m", "vanished")
    assert events == ["status:drift"]
    assert rig.counters["drift_alarms"] == 1
    assert alarm_after(rig, 100, lambda n: {"i": n, "oi": n})[0] is None  # said once


def test_fields_are_watched_without_receive_times_too() -> None:
    rig = Rig(lab_venue({"policy": "plus_one", **BOOKS["plus_one"]}, **TICKER))
    for n in range(340):
        values = {"i": n, "oi": n} | ({"m": n} if n < 300 else {})
        raw = orjson.dumps({"t": "ticker.X", "d": {"ts": 1_700_000_000_000 + n, **values}})
        rig.pipeline.on_message(rig.handle, raw, 0)
    (alarm,) = rig.pipeline.take_alarms()
    assert (alarm.field, alarm.what) == ("m", "vanished")


def test_a_field_of_another_type_is_an_alarm_with_a_sample() -> None:
    rig = ticking()
    alarm, _ = alarm_after(rig, 40, lambda n: {"m": f"{n}.5", "i": f"{n}", "oi": n})
    assert (alarm.field, alarm.what) == ("i", "another type")
    assert alarm.sample.isdigit()


def test_a_number_that_stands_still_for_all_instruments_is_an_alarm() -> None:
    rig = ticking()
    alarm, _ = alarm_after(rig, 600, lambda n: {"m": "0", "i": n, "oi": n})
    assert (alarm.field, alarm.what, alarm.sample) == ("m", "stands still", b"0")


def test_a_field_that_is_there_now_and_then_is_none() -> None:
    rig = ticking()
    make = lambda n: {"m": f"{n}.5", "i": n, **({"oi": n} if n % 20 == 0 else {})}  # noqa: E731
    assert alarm_after(rig, 400, make)[0] is None


def test_messages_that_are_rejected_are_looked_at_too() -> None:
    rig = ticking()
    alarm, events = alarm_after_bad(rig)
    assert (alarm.field, alarm.what) == ("m", "another type")
    assert "status:drift" in events


def alarm_after_bad(rig: Rig) -> tuple[Any, list[str]]:
    events: list[str] = []
    for n in range(1000, 1040):
        events += kinds(tick(rig, n, m={"value": n}, i=n, oi=n))
    (alarm,) = rig.pipeline.take_alarms()
    return alarm, events
