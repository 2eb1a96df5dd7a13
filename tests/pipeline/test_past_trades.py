"""Trades of the past that nothing marks: what is old in the first message of a connection."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipeline.rig import Rig

OLD_MS = 1500
NEWS_MS = 400


class Okx(Rig):
    """Messages of ``trades``, one trade each as the venue sends them."""

    def __init__(self) -> None:
        super().__init__("okx")
        self.id = 0

    def message(self, age_ms: int, symbol: str = "BTC-USDT", ident: int | None = None) -> Any:
        self.id += 1
        ts = self.t // 1_000_000 + 1 - age_ms  # the rig's clock goes on by a millisecond
        row = {
            "instId": symbol, "tradeId": str(ident or self.id), "px": "60000.5", "sz": "0.1",
            "side": "buy", "ts": str(ts), "count": "1", "seqId": 9000 + self.id,
        }  # fmt: skip
        return {"arg": {"channel": "trades", "instId": symbol}, "data": [row]}

    def trade(self, age_ms: int, symbol: str = "BTC-USDT", line: int = 0) -> bool:
        """Whether the trade carries the flag."""
        (event,) = self.send(self.message(age_ms, symbol), line)
        return "replay" in event["flags"]


def test_only_the_first_message_of_a_stream_on_a_connection() -> None:
    rig = Okx()
    assert rig.trade(OLD_MS)
    assert not rig.trade(OLD_MS), "late, but no repetition"
    assert rig.trade(OLD_MS, "ETH-USDT")
    assert rig.trade(OLD_MS, line=1)
    assert not rig.trade(OLD_MS, line=1)
    assert not rig.trade(NEWS_MS, "XRP-USDT"), "what came meanwhile"
    assert not rig.trade(OLD_MS, "XRP-USDT")


def test_messages_that_are_read_quickly_are_told_apart_too() -> None:
    rig = Okx()
    for _ in range(8):  # how the venue writes them is known then
        rig.trade(NEWS_MS)
    rig.send(rig.message(NEWS_MS, "ETH-USDT"))
    for line in (1, 2, 3):
        assert rig.trade(OLD_MS, line=line)
        assert not rig.trade(OLD_MS, line=line)
        assert rig.trade(OLD_MS, "ETH-USDT", line=line)


@pytest.mark.parametrize("known", [0, 8])
def test_the_first_message_only_of_those_that_arrive_at_one_time(known: int) -> None:
    rig = Okx()
    for _ in range(known):  # from some on they are read quickly
        rig.trade(NEWS_MS)
    rig.pipeline.line_forget(0)
    assert rig.trade(OLD_MS)
    for _ in range(3):
        rig.t -= 1_000_000
        assert not rig.trade(OLD_MS)


@pytest.mark.parametrize("anew", ["line_down", "line_forget"])
def test_a_connection_that_begins_anew_is_told_the_past_again(anew: str) -> None:
    rig = Okx()
    rig.trade(OLD_MS)
    rig.trade(NEWS_MS)
    if anew == "line_down":
        rig.pipeline.line_down(rig.handle, 0, rig.t)
    else:
        rig.pipeline.line_forget(0)
    assert rig.trade(OLD_MS)
    assert not rig.trade(OLD_MS)


def test_a_message_of_many_trades_some_of_which_are_known() -> None:
    rig = Rig("hyperliquid")

    def message(*trades: tuple[int, int]) -> Any:
        ts = rig.t // 1_000_000 + 1
        return {
            "channel": "trades",
            "data": [
                {"coin": "BTC", "side": "B", "px": "84143.0", "sz": "0.1", "time": ts - age,
                 "tid": ident, "hash": "0x0", "users": ["0x1", "0x2"]}
                for ident, age in trades
            ],
        }  # fmt: skip

    def flags(events: list[dict[str, Any]]) -> dict[str, bool]:
        return {e["trade_id"]: "replay" in e["flags"] for e in events if e["kind"] == "trade"}

    first = rig.send(message((11, 40_000), (12, 1_500), (13, 300)))
    assert flags(first) == {"11": True, "12": True, "13": False}
    assert flags(rig.send(message((14, 2_000)))) == {"14": False}
    other = rig.send(message((12, 2_500), (14, 3_000), (15, 1_200), (16, 200)), line=1)
    assert flags(other) == {"15": True, "16": False}


def test_without_a_time_of_receipt_nothing_is_old() -> None:
    rig = Okx()
    message = rig.message(OLD_MS)
    rig.t = -1_000_000
    (event,) = rig.send(message)
    assert rig.t == 0
    assert "replay" not in event["flags"]
