"""What a venue says of an instrument itself, after the venues' documents.

Where the documents are silent:

* Only a change is a record: another status than before, or another word where the word is unknown.
  A message older than the last one by the venue's time says nothing.
* Instruments that only take some orders (post only, limit only, reduce only) are traded. Those
  whose orders can only be cancelled are not.
"""

from __future__ import annotations

from typing import Any

from .fields import Record, record

BINANCE = {
    "TRADING": "active",
    "PENDING_TRADING": "pre",
    "PRE_DELIVERING": "settling",
    "DELIVERING": "settling",
    "PRE_SETTLE": "settling",
    "SETTLING": "settling",
    "DELIVERED": "expired",
    "CLOSE": "expired",
    "HALT": "halted",
    "BREAK": "halted",
}
STATUS: dict[str, dict[str, str]] = {
    "okx": {
        "live": "active",
        "suspend": "halted",
        "rebase": "halted",
        "preopen": "pre",
        "test": "pre",
        "settling": "settling",
        "expired": "expired",
    },
    "kraken": {
        "online": "active",
        "limit_only": "active",
        "post_only": "active",
        "reduce_only": "active",
        "cancel_only": "halted",
        "maintenance": "halted",
        "work_in_progress": "pre",
        "delisted": "expired",
    },
    "deribit": {
        "created": "pre",
        "started": "active",
        "open": "active",
        "settled": "settling",
        "settlement": "settling",
        "closed": "expired",
        "delivered": "expired",
        "terminated": "expired",
        "archivized": "expired",
        "deactivated": "halted",
        "inactive": "halted",
        "locked": "halted",
        "halted": "halted",
    },
    "binance_usdm": BINANCE,
    "binance_coinm": BINANCE,
    "binance_options": BINANCE | {"EXPIRED": "expired"},
    "coinbase": {"online": "active", "offline": "expired", "delisted": "expired"},
    "coinbase_exchange": {
        "online": "active",
        "offline": "halted",
        "internal": "halted",
        "delisted": "expired",
    },
    "bitmex": {
        "Open": "active",
        "Closed": "halted",
        "Paused": "halted",
        "Clearing": "settling",
        "Settled": "expired",
        "Expired": "expired",
        "Unlisted": "pre",
    },
    "kraken_futures": {"false": "active", "true": "halted"},
}
Said = tuple[str, str, int]


class States:
    """The last word about each instrument of one venue."""

    def __init__(self, venue: str) -> None:
        self._words = STATUS.get(venue, {})
        self._last: dict[str, Said] = {}

    def say(
        self,
        name: str,
        word: Any,
        ts_event: int | None,
        ts_recv: int | None,
        status: str | None = None,
    ) -> list[Record]:
        """The record of a message, if it is news. ``status`` where the word alone does not tell."""
        if isinstance(word, bool):
            word = str(word).lower()
        if not isinstance(word, str) or not word:
            return []
        now = status or self._words.get(word, "unknown")
        before, old_word, time = self._last.get(name, ("", "", 0))
        if ts_event and ts_event < time:
            return []
        self._last[name] = (now, word, ts_event or 0)
        if now == before and (now != "unknown" or word == old_word):
            return []
        fields = {"event": "instrument_state", "state": now, "previous": before or "unknown"}
        return [record("status", name, ts_event, ts_recv, reason=word, **fields)]
