"""One connection takes over from another: its books stay, and what is missing still shows."""

from __future__ import annotations

from typing import Any

from feedd.records import NO_INSTRUMENT, BookState
from tests.pipeline.rig import Rig, binance_depth, deribit_book, kinds, rest_depth


def delta(first: int, last: int, previous: int) -> dict[str, Any]:
    return binance_depth("BTCUSDT", first, last, [(10, last)], [], previous=previous)


def live_usdm() -> Rig:
    rig = Rig("binance_usdm")
    rig.send(delta(11, 12, 10), line=2)
    rig.rest("BTCUSDT", rest_depth(11, [(10, 1)], [(11, 1)]))
    assert rig.state("BTCUSDT")[0] == BookState.LIVE
    return rig


def test_books_move_to_the_connection_that_takes_over() -> None:
    rig = live_usdm()
    assert rig.pipeline.carried(rig.handle, "BTCUSDT", 2)
    assert not rig.pipeline.carried(rig.handle, "BTCUSDT", 9)
    assert not rig.pipeline.carried(rig.handle, "NOBODY", 2)
    assert rig.pipeline.line_moved(rig.handle, 2, 9) == 1
    assert rig.pipeline.line_down(rig.handle, 2, rig.t) == 0
    assert rig.drain() == []
    assert kinds(rig.send(delta(13, 14, 12), line=9)) == ["book:delta"]
    assert rig.pipeline.line_down(rig.handle, 9, rig.t) == 1


def test_what_the_new_connection_missed_is_a_gap() -> None:
    rig = live_usdm()
    rig.pipeline.line_moved(rig.handle, 2, 9)
    assert "status:gap" in kinds(rig.send(delta(15, 16, 14), line=9))


def test_a_subscribed_line_keeps_a_quiet_book_when_the_other_ends() -> None:
    rig = live_usdm()
    rig.pipeline.line_carries(rig.handle, 7, "BTCUSDT")
    rig.pipeline.line_carries(rig.handle, 7, "NOBODY")
    assert rig.pipeline.line_down(rig.handle, 2, rig.t) == 0
    assert kinds(rig.send(delta(13, 14, 12), line=7)) == ["book:delta"]
    assert rig.pipeline.line_down(rig.handle, 7, rig.t) == 1


def test_an_instrument_that_nobody_wants_frees_its_row_and_its_book() -> None:
    rig = live_usdm()
    assert rig.shared_board()["instrument"][0] == 0
    assert rig.pipeline.counters()["books_live"] == 1
    rig.pipeline.drop_instrument(rig.handle, "BTCUSDT", rig.t)
    rig.pipeline.drop_instrument(rig.handle, "NOBODY", rig.t)
    assert rig.shared_board()["instrument"][0] == NO_INSTRUMENT
    assert rig.shared_books().top(0).instrument == NO_INSTRUMENT
    assert rig.pipeline.counters()["books_live"] == rig.pipeline.counters()["books_total"] == 0
    assert rig.pipeline.line_down(rig.handle, 2, rig.t) == 0
    # what is under way touches nothing that another instrument has by now
    rig.pipeline.add_instrument(rig.handle, "ETHUSDT", 7, 0, 64)
    rig.send(delta(13, 14, 12), line=2)
    assert rig.shared_books().top(0).instrument == 7
    # and it may come back
    rig.pipeline.add_instrument(rig.handle, "BTCUSDT", 0, 1, 64)
    rig.rest("BTCUSDT", rest_depth(14, [(10, 1)], [(11, 1)]))
    assert rig.state("BTCUSDT")[0] == BookState.LIVE
    assert rig.shared_books().top(1).instrument == 0


def test_a_book_that_waits_has_no_second_line() -> None:
    rig = Rig("deribit")
    rig.send(deribit_book("X", 101, 100, [(10, 1)], []), line=0)
    assert rig.state("X")[0] != BookState.LIVE
    rig.pipeline.line_carries(rig.handle, 5, "X")
    assert not rig.pipeline.carried(rig.handle, "X", 5)
