"""What a venue says of an instrument itself: frames of the venues' documents, and the rules."""

from __future__ import annotations

from typing import Any

import pytest

from feedd.pipeline.core import DATA
from feedd.shm.rows import InstrumentStatus
from tests.acceptance import compare
from tests.fixtures import states
from tests.fixtures.states import T
from tests.pipeline.rig import Rig
from tests.reference.session import decode_rows

ACTIVE, HALTED = InstrumentStatus.ACTIVE, InstrumentStatus.HALTED


def okx(*rows: tuple[str, str], tick: str = "0.1") -> dict[str, Any]:
    """Several instruments in one message."""
    frames = [states.okx(symbol, state, tick) for symbol, state in rows]
    return {**frames[0], "data": [row for frame in frames for row in frame["data"]]}


@pytest.mark.parametrize("venue", sorted(states.SESSIONS))
def test_a_life_of_instruments_is_what_the_reference_says(venue: str) -> None:
    scenario = states.SESSIONS[venue](5)
    rig = Rig(venue)
    got = [event for frame in states.frames(venue) for event in rig.send(frame)]
    expected = decode_rows(venue, scenario.rows)
    assert compare.states(got) == compare.states(expected.records)
    assert len(compare.states(got)) >= 3
    assert compare.events(got, "bad_frame") == compare.events(expected.records, "bad_frame") == []
    told = {f"{venue}:{said.symbol}": said for said in rig.pipeline.take_states()}
    last = {name: (state, word) for name, _, state, _, word in compare.states(got)}
    for name, (state, word) in last.items():
        assert (told[name].status, told[name].word) == (InstrumentStatus[state.upper()], word)
    assert rig.pipeline.take_states() == [], "told once, as it is last"


def test_most_instruments_are_nobodys_and_take_no_id() -> None:
    rig = Rig("okx", name_at_once=False)
    assert rig.send(okx(("A", "live"), ("NEW", "preopen"))) == []
    assert rig.pipeline.take_requests() == [], "no id is asked for"
    assert [(s.symbol, s.status) for s in rig.pipeline.take_states()] == [
        ("A", ACTIVE),
        ("NEW", InstrumentStatus.PRE),
    ]
    rig.symbols = ["A"]
    rig.pipeline.add_instrument(rig.handle, "A", 0)
    (event,) = rig.drain()
    assert (event["event"], event["state"]) == ("instrument_state", "active"), "with its id"
    (event,) = rig.send(okx(("A", "suspend"), ("NEW", "live")))
    assert (event["instrument"], event["previous"]) == ("okx:A", "active")


def test_many_states_are_taken_in_parts() -> None:
    rig = Rig("okx", name_at_once=False)
    rig.send(okx(*((f"S{i}", "live") for i in range(700))))
    parts = [len(rig.pipeline.take_states(300)) for _ in range(4)]
    assert parts == [300, 300, 100, 0]


def test_words_that_the_file_does_not_know_are_counted_and_not_guessed() -> None:
    rig = Rig("okx")
    rig.send(okx(("A", "live")))
    (event,) = rig.send(okx(("A", "rotating")))
    assert (event["state"], event["reason"], event["previous"]) == ("unknown", "rotating", "active")
    assert rig.send(okx(("A", "rotating"))) == []
    (event,) = rig.send(okx(("A", "turning")))
    assert event["reason"] == "turning"
    counters = rig.pipeline.counters()
    assert (counters["unknown_states"], counters["instrument_states"]) == (2, 3)
    (event,) = rig.send(okx(("A", "live")))
    assert (event["state"], event["previous"]) == ("active", "unknown")


def test_other_facts_that_change_are_told_without_a_record() -> None:
    rig = Rig("okx")
    rig.send(okx(("A", "live"), tick="0.1"))
    assert [s.facts_changed for s in rig.pipeline.take_states()] == [False]
    assert rig.send(okx(("A", "live"), tick="0.01")) == []
    assert [(s.status, s.facts_changed) for s in rig.pipeline.take_states()] == [(ACTIVE, True)]
    assert rig.send(okx(("A", "live"), tick="0.01")) == []
    assert rig.pipeline.take_states() == []


def test_a_channel_of_facts_alone() -> None:
    def info(event: str, tick: str) -> dict[str, Any]:
        result = {"contract": "BTC_USDT", "quanto_multiplier": "0.0001", "order_price_round": tick}
        result["mark_price_round"] = "0.01"
        return {"channel": "futures.contract_info", "event": event, "time_ms": T, "result": result}

    rig = Rig("gate_futures")
    assert rig.send(info("all", "0.1")) == []
    assert rig.pipeline.take_states() == []
    assert rig.send(info("update", "0.5")) == []
    (said,) = rig.pipeline.take_states()
    assert (said.symbol, said.status, said.word, said.facts_changed) == ("BTC_USDT", 0, "", True)


def test_the_slower_of_two_lines_changes_nothing() -> None:
    rig = Rig("deribit")
    rig.send(states.deribit("A", "started", T), line=0)
    rig.send(states.deribit("A", "locked", T + 5), line=0)
    assert rig.send(states.deribit("A", "started", T), line=1) == []
    assert rig.send(states.deribit("A", "locked", T + 5), line=1) == []
    far = rig.send(states.deribit("A", "started", T + 10**9))
    assert [e["state"] for e in far] == ["active"]
    assert [e["state"] for e in rig.send(states.deribit("A", "locked", T + 6))] == ["halted"], (
        "a time in the future orders nothing"
    )


def test_rows_without_a_word_and_words_that_are_none() -> None:
    rig = Rig("bitmex")
    row = {"symbol": "A", "lastPrice": 1.5, "timestamp": "2023-11-14T22:13:20.000Z"}
    assert [
        e["kind"] for e in rig.send({"table": "instrument", "action": "update", "data": [row]})
    ] == ["deriv"]
    assert rig.pipeline.take_states() == []
    rig = Rig("okx")
    rig.send(
        {"arg": {"channel": "instruments"}, "data": [{"instId": "A", "state": {"is": "live"}}]}
    )
    assert rig.result == DATA, "the message may say more than this"
    assert [(s.status, s.word) for s in rig.pipeline.take_states()] == [(0, "(no word)")]
    rig.send({"arg": {"channel": "instruments"}, "data": [{"instId": "A", "state": None}]})
    assert rig.result == DATA
    assert rig.pipeline.take_states() == []


def test_a_state_is_no_data_of_the_instrument() -> None:
    rig = Rig("okx")
    rig.send(okx(("A", "live")))
    rig.send(okx(("A", "suspend")))
    assert int(rig.shared_board()[0]["last_data"]) == 0
    channels = rig.pipeline.channel_numbers(rig.handle, ["instruments"])
    assert rig.pipeline.seen_at(rig.handle, "A", channels) == rig.t, "but the stream lives"
