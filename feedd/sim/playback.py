"""A recorded session as the source: its frames go to whoever is subscribed to their stream."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import zstandard

from feedd.clock import monotonic_ns
from feedd.errors import CaptureError
from feedd.sim.config import SimConfig
from feedd.sim.exchange import Exchange
from feedd.sim.hub import UNKNOWN, Hub, Stream
from feedd.sim.instruments import DERIBIT, RECORDED, USDM
from feedd.sim.source import Params, RefusalError, check_instrument_query

BURST = 500
"""Frames sent per turn of the event loop when played as fast as possible."""
FULL = 4 << 20
"""Bytes a client may leave unread before a capture played as fast as possible waits for it."""


@dataclass(slots=True)
class Row:
    """One frame of the capture: recorded time (ns, 0 unknown), stream and Binance ``data``."""

    t: int
    stream: Stream
    body: str


@dataclass(slots=True)
class RestRow:
    """One REST body of the capture."""

    t: int
    url: str
    raw: str
    symbol: str


def read_rows(path: Path) -> Iterator[dict[str, object]]:
    """Rows of a capture: JSON lines or one JSON array, plain, gzip or zstd."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".zst":
            with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)) as reader:
                data = reader.read()
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise CaptureError(f"cannot read the capture {path}: {error}") from error
    try:
        if data.lstrip()[:1] == b"[":
            for row in orjson.loads(data):
                yield {"dir": "rest", **row}
            return
        for line in data.splitlines():
            if line.strip():
                yield orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CaptureError(f"the capture {path} is not JSON lines: {error}") from error


class Playback:
    """Plays captures of one venue; timing starts after the clients have subscribed."""

    allow_raw = True

    def __init__(self, config: SimConfig, hub: Hub) -> None:
        if config.venue not in RECORDED:
            raise CaptureError(
                f"a capture needs --venue, one of {', '.join(RECORDED)}; not {config.venue!r}"
            )
        self.venue = config.venue
        self.hub = hub
        self.exchanges: Mapping[str, Exchange] = {}
        self._speed = config.speed
        self._settle_ns = int(config.settle_s * 1e9)
        self._rows: list[Row] = []
        self._rest: list[RestRow] = []
        self._symbols: dict[str, None] = {}
        self._next = 0
        self._begin_ns = 0
        self._elapsed_ns = 0
        self._running = False
        self._wanted = False
        self._served: dict[str, int] = {}
        for path in config.captures:
            for row in read_rows(path):
                self._load(row)

    # -- loading ---------------------------------------------------------------------------

    def _load(self, row: dict[str, object]) -> None:
        raw = row.get("raw")
        if not isinstance(raw, str):
            return
        t = row.get("t")
        at = t if isinstance(t, int) else 0
        if row.get("dir") == "rest":
            self._rest.append(RestRow(at, str(row.get("url", "")), raw, _rest_symbol(row, raw)))
        elif row.get("dir") == "in":
            self._load_frame(at, raw)

    def _load_frame(self, t: int, raw: str) -> None:
        try:
            message = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return
        if not isinstance(message, dict):
            return
        if self.venue == DERIBIT:
            params = message.get("params")
            name = params.get("channel") if isinstance(params, dict) else None
            body = raw
            parts = str(name).split(".")
            symbol = parts[1] if len(parts) > 2 and "-" in parts[1] else ""
        else:
            name, body = _binance_stream(message, raw)
            symbol = str(name).split("@")[0].upper() if name and "@" in name else ""
        if not isinstance(name, str):
            return
        if symbol and not symbol.startswith("!"):
            self._symbols[symbol] = None
        stream = self.hub.stream(self.venue, name, symbol or "*")
        self._rows.append(Row(t, stream, body))

    # -- playing ---------------------------------------------------------------------------

    def subscribed(self) -> None:
        if not self._next:
            self._wanted = True
            self._begin_ns = monotonic_ns() + self._settle_ns

    def start(self) -> None:
        self._running = True
        self._begin_ns = monotonic_ns() - int(self._elapsed_ns)

    def stop(self) -> None:
        self._running = False

    def run_due(self, now_ns: int) -> None:
        if not self._running or not self._wanted or now_ns < self._begin_ns:
            return
        self._elapsed_ns = now_ns - self._begin_ns
        rows = self._rows
        first = rows[0].t if rows else 0
        if not self._speed and any(
            connection.backlog > FULL for connection in self.hub.connections.values()
        ):
            return
        limit = min(len(rows), self._next + BURST)
        while self._next < limit:
            row = rows[self._next]
            if self._speed and row.t and (row.t - first) / self._speed > self._elapsed_ns:
                return
            self._next += 1
            row.stream.count += 1
            self.hub.publish(row.stream, row.body, UNKNOWN)

    def status(self) -> dict[str, object]:
        return {
            "source": "capture",
            "running": self._running and self._next < len(self._rows),
            "rows": len(self._rows),
            "played": self._next,
        }

    # -- REST ------------------------------------------------------------------------------

    def symbols(self, venue: str) -> list[str]:
        return list(self._symbols) if venue == self.venue else []

    def binance_depth(self, venue: str, symbol: str, limit: int) -> tuple[str, str]:
        if venue != self.venue or symbol not in self._symbols:
            raise RefusalError(-1121, "Invalid symbol.")
        only = len(self._symbols) == 1
        found = [
            row.raw
            for row in self._rest
            if (row.symbol == symbol or (only and not row.symbol)) and '"lastUpdateId"' in row.raw
        ]
        if not found:
            raise RefusalError(-1000, "The capture holds no snapshot of this symbol.", status=503)
        turn = self._served.get(symbol, 0)
        self._served[symbol] = turn + 1
        return found[min(turn, len(found) - 1)], ""

    def deribit_order_book(self, params: Params) -> tuple[str, str]:
        raise RefusalError(13028, "temporarily_unavailable", status=503)

    def deribit_instruments(self, params: Params) -> list[dict[str, object]]:
        currency, kind = check_instrument_query(params)
        found: dict[str, dict[str, object]] = {}
        for row in self._rest:
            if "get_instruments" in row.url:
                for info in orjson.loads(row.raw).get("result", []):
                    found[info["instrument_name"]] = info
        for symbol in self._symbols:
            found.setdefault(symbol, _named_instrument(symbol))
        return [
            info
            for info in found.values()
            if currency in ("any", info.get("base_currency")) and kind in ("any", info.get("kind"))
        ]

    def exchange_info(self, venue: str) -> str:
        if venue == self.venue:
            for row in self._rest:
                if "exchangeInfo" in row.url:
                    return row.raw
        symbols = [_named_pair(symbol, venue) for symbol in self.symbols(venue)]
        return json.dumps({"timezone": "UTC", "serverTime": 0, "symbols": symbols})


def _binance_stream(message: dict[str, object], raw: str) -> tuple[str | None, str]:
    """Stream name and the text of the data of a combined or a bare message."""
    name = message.get("stream")
    if isinstance(name, str):
        at = raw.index('"data"')
        start = raw.index(":", at) + 1
        return name, raw[start:].strip()[:-1].rstrip()
    event, symbol = message.get("e"), message.get("s")
    suffix = {"depthUpdate": "depth@100ms", "markPriceUpdate": "markPrice@1s"}.get(
        str(event), str(event)
    )
    if isinstance(symbol, str) and (event or "B" in message):
        return f"{symbol.lower()}@{suffix if event else 'bookTicker'}", raw
    order = message.get("o")
    if event == "forceOrder" and isinstance(order, dict):
        return f"{str(order.get('s')).lower()}@forceOrder", raw
    return None, raw


def _rest_symbol(row: dict[str, object], raw: str) -> str:
    url = str(row.get("url", ""))
    if "symbol=" in url:
        return url.split("symbol=")[1].split("&")[0].upper()
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return ""
    symbol = body.get("symbol") if isinstance(body, dict) else None
    return symbol if isinstance(symbol, str) else ""


def _named_instrument(symbol: str) -> dict[str, object]:
    """Reference data of a Deribit instrument as far as its name tells."""
    parts = symbol.split("-")
    option = len(parts) == 4 and parts[3] in ("C", "P")
    info: dict[str, object] = {
        "instrument_name": symbol,
        "kind": "option" if option else "future",
        "base_currency": parts[0].split("_")[0],
        "quote_currency": parts[0] if option else "USD",
        "is_active": True,
        "state": "open",
    }
    if option:
        info |= {"option_type": "call" if parts[3] == "C" else "put"}
        info["strike"] = float(parts[2].replace("d", "."))
    return info


def _named_pair(symbol: str, venue: str) -> dict[str, object]:
    """Reference data of a Binance symbol as far as its name tells."""
    quotes = ("USDT", "USDC", "BUSD", "FDUSD", "BTC", "ETH", "BNB", "EUR", "BRL", "AUD")
    quote = next((q for q in quotes if symbol.endswith(q) and symbol != q), "")
    info: dict[str, object] = {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": symbol.removesuffix(quote),
        "quoteAsset": quote,
        "filters": [],
    }
    if venue == USDM:
        info |= {"contractType": "PERPETUAL", "marginAsset": quote, "pair": symbol}
    return info
