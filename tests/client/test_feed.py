"""attach, instruments, books and boards over real segments."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import feedd
from feedd.client.attach import candidates, usual_directory
from feedd.client.feed import Feed
from feedd.client.fold import BookBuilder
from feedd.client.life import SILENT_NS
from feedd.clock import monotonic_ns
from feedd.errors import AttachError, ShmError
from feedd.records import BookState, Kind
from feedd.shm.rows import Contract, InstrumentKind, SizeUnit
from tests.client.segments import Daemon, book_records, ladder, record


@pytest.fixture
def feed(daemon: Daemon) -> Feed:
    daemon.list("deribit", "BTC-PERPETUAL", 0)
    for strike in (90_000.0, 80_000.0):
        for option_type, letter in ((1, "C"), (-1, "P")):
            daemon.list(
                "deribit",
                f"BTC-27MAR26-{strike:.0f}-{letter}",
                1,
                kind=InstrumentKind.OPTION,
                strike=strike,
                option_type=option_type,
                expiry=1_774_598_400_000_000_000,
                underlying="BTC-27MAR26",
            )
    daemon.list("binance_spot", "ETHUSDT", -1, row=-1, kind=InstrumentKind.SPOT)
    return feedd.attach(daemon.directory)


class TestAttach:
    def test_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FEEDD_DIR", raising=False)
        defaults = [Path("/run/feedd"), Path(f"/dev/shm/feedd-{os.getuid()}/default")]
        assert candidates() == (defaults, [])
        monkeypatch.setenv("FEEDD_DIR", "/from/env")
        assert candidates() == ([Path("/from/env")], defaults)
        assert candidates("/given")[0] == [Path("/given")]

    def test_usual_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FEEDD_DIR", raising=False)
        assert usual_directory(tmp_path / "named") == tmp_path / "named", "is what was asked for"
        there = tmp_path / "there"
        there.mkdir()
        places = [tmp_path / "not", there, tmp_path]
        monkeypatch.setattr("feedd.client.attach.candidates", lambda _: (places, []))
        assert usual_directory() == there
        there.rmdir()
        places.pop()
        with pytest.raises(AttachError, match=r"not, .*there\).*FEEDD_DIR"):
            usual_directory()

    def test_error_names_every_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FEEDD_DIR", str(tmp_path / "nowhere"))
        with pytest.raises(AttachError) as info:
            feedd.attach()
        text = str(info.value)
        assert str(tmp_path / "nowhere") in text
        assert "/run/feedd" in text
        assert "feedd run" in text

    def test_by_environment(self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FEEDD_DIR", str(daemon.directory))
        assert feedd.attach().alive

    def test_directory_that_others_can_write_is_refused(self, daemon: Daemon) -> None:
        daemon.directory.chmod(0o777)
        with pytest.raises(AttachError, match="can be written by others"):
            feedd.attach(daemon.directory)

    def test_foreign_directory_is_refused(
        self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if os.getuid() != 0:
            pytest.skip("needs root to give a directory away")
        os.chown(daemon.directory, 12_345, -1)
        with pytest.raises(AttachError, match="uid 12345, not to you, root or the user feedd"):
            feedd.attach(daemon.directory)

    def test_waits_for_a_daemon_that_starts(self, directory: Path) -> None:
        with pytest.raises(AttachError):
            feedd.attach(directory, timeout=0.1)

    def test_import_is_light(self) -> None:
        code = (
            "import sys, feedd; light = set(sys.modules); feedd.attach; feedd.BookBuilder\n"
            "heavy = {'asyncio', 'zmq', 'aiohttp', 'uvloop', 'picows', 'msgspec', 'ssl'}\n"
            "assert 'numpy' not in light, 'import feedd alone loads numpy'\n"
            "print(sorted(heavy & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout.strip() == "[]"

    def test_every_exported_name_exists(self) -> None:
        for name in feedd.__all__:
            assert getattr(feedd, name) is not None
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            feedd.nothing  # noqa: B018


class TestInstruments:
    def test_lookup(self, feed: Feed) -> None:
        perpetual = feed.instrument("deribit:BTC-PERPETUAL")
        assert perpetual.id == 0
        assert perpetual.kind is InstrumentKind.PERPETUAL
        assert feed.instrument(0) == perpetual
        assert "deribit:BTC-PERPETUAL" in feed.instruments
        assert "deribit:NONE" not in feed.instruments
        assert len(feed.instruments) == 6
        assert [i.id for i in feed.instruments] == list(range(6))
        assert feed.instruments.array["name"][0] == b"deribit:BTC-PERPETUAL"
        assert repr(feed.instruments) == "<Instruments: 6 (binance_spot 1, deribit 5)>"

    def test_to_base(self, daemon: Daemon, feed: Feed) -> None:
        def instrument(symbol: str, **fields: object) -> feedd.Instrument:
            daemon.list("venue", symbol, **fields)
            return feed.instrument(f"venue:{symbol}")

        base = instrument("A", size_unit=SizeUnit.BASE)
        quote = instrument("B", size_unit=SizeUnit.QUOTE)
        linear = instrument(
            "C", size_unit=SizeUnit.CONTRACTS, contract=Contract.LINEAR, contract_size=0.01
        )
        inverse = instrument(
            "D", size_unit=SizeUnit.CONTRACTS, contract=Contract.INVERSE, contract_size=100.0
        )
        quanto = instrument(
            "E", size_unit=SizeUnit.CONTRACTS, contract=Contract.QUANTO, contract_size=1.0
        )
        unknown = instrument("F", size_unit=SizeUnit.UNKNOWN)
        option = instrument(
            "G",
            kind=InstrumentKind.OPTION,
            size_unit=SizeUnit.CONTRACTS,
            contract=Contract.INVERSE,
            contract_size=0.01,
        )
        assert base.to_base(3.0) == 3.0
        assert quote.to_base(100.0, 50.0) == 2.0
        assert linear.to_base(np.array([2.0, 3.0])).tolist() == [0.02, 0.03]
        assert inverse.to_base(5, 50_000.0) == 0.01
        assert option.to_base(5) == 0.05
        with pytest.raises(ValueError, match="pass the price"):
            inverse.to_base(5)
        with pytest.raises(ValueError, match="quanto contract has no fixed worth"):
            quanto.to_base(5, 1.0)
        with pytest.raises(ValueError, match="unit of its sizes"):
            unknown.to_base(5)


class TestBook:
    def test_top(self, daemon: Daemon, feed: Feed) -> None:
        bids, asks = ladder(40)
        daemon.share_book(0, 0, 0, bids, asks, ring_pos=99, sequence=1234)
        book = feed.book("deribit:BTC-PERPETUAL")
        assert book.bids[:5].tolist() == bids[:5]
        assert len(book.asks) == 32
        assert book.best == (999.0, 1.0, 1001.0, 1.0)
        assert (book.mid, book.spread) == (1000.0, 2.0)
        assert book.state is BookState.LIVE
        assert (book.sequence, book.ring_pos) == (1234, 99)
        assert book.refresh().truncated
        assert "deribit:BTC-PERPETUAL LIVE sequence 1234" in repr(book)
        daemon.share_book(0, 0, 0, [], asks, ring_pos=100, state=BookState.GAP)
        assert math.isnan(book.mid)
        assert not book.live

    def test_deep_is_rolled_forward(self, daemon: Daemon, feed: Feed) -> None:
        bids, asks = ladder(60)
        daemon.put(record(Kind.TRADE, 0))
        deep_pos = daemon.put(book_records(0, [], asks, sequence=5))
        last = daemon.put(
            book_records(0, [(999.0, 7.0), (990.0, 0.0)], [(1001.5, 2.0)], sequence=6),
            book_records(3, [(999.0, 9.0)], [], sequence=7),
        )
        top_bids = [(p, 7.0 if p == 999.0 else s) for p, s in bids if p != 990.0]
        top_asks = sorted([*asks, (1001.5, 2.0)])
        daemon.share_book(
            0, 0, 0, top_bids, top_asks, ring_pos=last - 1, deep_ring_pos=deep_pos,
            deep=(bids, asks), sequence=6,
        )  # fmt: skip
        book = feed.book("deribit:BTC-PERPETUAL", depth=None)
        snapshot = book.refresh()
        assert snapshot.bids.tolist() == top_bids
        assert snapshot.asks.tolist() == top_asks
        assert (snapshot.sequence, snapshot.ring_pos) == (6, last - 1)
        daemon.put(book_records(0, [(999.0, 8.0)], [], sequence=8))
        assert book.bids[0].tolist() == (999.0, 8.0)
        assert len(feed.book("deribit:BTC-PERPETUAL", depth=40).refresh().asks) == 40

    def test_deep_copies_again_after_a_lap(self, daemon: Daemon, feed: Feed) -> None:
        bids, asks = ladder(50)
        position = daemon.put(book_records(0, bids, asks, snapshot=True))
        daemon.share_book(0, 0, 0, bids, asks, ring_pos=position)
        book = feed.book("deribit:BTC-PERPETUAL", depth=64)
        assert len(book.bids) == 50
        filler = np.concatenate([record(Kind.TRADE, 3)] * 1000)
        for _ in range(40):
            position = daemon.put(filler)
        daemon.share_book(0, 0, 0, bids[1:], asks, ring_pos=position)
        assert book.bids.tolist() == bids[1:]

    def test_deep_of_a_book_that_waits_longer_than_the_ring(
        self, daemon: Daemon, feed: Feed
    ) -> None:
        bids, asks = ladder(50)
        filler = np.concatenate([record(Kind.TRADE, 3)] * 1000)
        for _ in range(40):
            position = daemon.put(filler)
        nothing = feed.book("deribit:BTC-PERPETUAL", depth=64).refresh()
        assert (nothing.state, len(nothing.bids)) == (BookState.INIT, 0)
        daemon.share_book(0, 0, 0, bids, asks, ring_pos=position, state=BookState.GAP)
        for _ in range(40):
            daemon.put(filler)
        book = feed.book("deribit:BTC-PERPETUAL", depth=64)
        assert book.state is BookState.GAP
        assert book.bids.tolist() == bids, "the last known levels"
        position = daemon.put(book_records(0, bids[1:], asks, snapshot=True))
        daemon.share_book(0, 0, 0, bids[1:], asks, ring_pos=position, deep_ring_pos=position)
        assert book.live
        assert book.bids.tolist() == bids[1:]

    @pytest.mark.parametrize("depth", [32, 64])
    def test_what_nobody_keeps_up_to_date_is_not_live(
        self, daemon: Daemon, feed: Feed, depth: int
    ) -> None:
        bids, asks = ladder(3)
        position = daemon.put(book_records(0, bids, asks, snapshot=True))
        daemon.share_book(0, 0, 0, bids, asks, ring_pos=position)
        book = feed.book("deribit:BTC-PERPETUAL", depth=depth)
        assert book.live
        now = monotonic_ns()
        daemon.rings[0].heartbeat(now)
        assert book.live
        daemon.rings[0].heartbeat(now - SILENT_NS - 1)  # its process hangs, or was stopped
        assert book.state is BookState.STALE
        daemon.rings[0].heartbeat(now - SILENT_NS // 2)
        assert book.live
        daemon.kill(0)
        assert book.state is BookState.STALE
        assert book.bids.tolist() == bids, "the last known levels stay readable"
        daemon.share_book(0, 0, 0, bids, asks, ring_pos=position, state=BookState.GAP)
        assert book.state is BookState.GAP, "what the writer said is not made better"

    def test_unsubscribed_says_so(self, feed: Feed) -> None:
        with pytest.raises(ShmError, match="not subscribed"):
            feed.book("binance_spot:ETHUSDT")

    def test_join(self, daemon: Daemon, feed: Feed) -> None:
        bids, asks = ladder(40)
        position = daemon.put(book_records(0, bids, asks, snapshot=True, sequence=10))
        daemon.share_book(0, 0, 0, bids, asks, ring_pos=position, sequence=10)
        daemon.put(book_records(0, [(999.0, 0.0)], [], sequence=11))
        joined = feed.join("deribit:BTC-PERPETUAL", kinds=["book"])
        builder = BookBuilder()
        book = builder.seed(
            0,
            joined.book.bids,
            joined.book.asks,
            sequence=joined.book.sequence,
            ring_pos=joined.book.ring_pos,
        )
        daemon.put(book_records(0, [(998.0, 0.0)], [], sequence=12))
        while (batch := joined.stream.poll()) is not None:
            builder.apply(batch)
        assert book.bids.tolist() == bids[2:]
        assert book.sequence == 12
        joined.stream.close()

    def test_join_without_a_book_yet(self, daemon: Daemon, feed: Feed) -> None:
        joined = feed.join("deribit:BTC-PERPETUAL")
        assert joined.book.state is BookState.INIT
        daemon.put(record(Kind.TRADE, 0))
        batch = joined.stream.poll()
        assert batch is not None
        assert len(batch.trades) == 1
        joined.stream.close()


class TestBoard:
    def test_surface_is_sorted_and_joined(self, daemon: Daemon, feed: Feed) -> None:
        for row, instrument in enumerate(range(1, 5), start=1):
            daemon.share_board(
                1, row, instrument=instrument, mark_iv=0.5 + row, underlying=95_000.0,
                state=BookState.LIVE,
            )  # fmt: skip
        chain = feed.board(kind="option", underlying="BTC")
        assert chain["strike"].tolist() == [80_000.0, 80_000.0, 90_000.0, 90_000.0]
        assert chain["option_type"].tolist() == [-1, 1, -1, 1]
        assert chain["name"][0] == "deribit:BTC-27MAR26-80000-P"
        assert chain["mark_iv"].tolist() == [4.5, 3.5, 2.5, 1.5]
        assert chain["underlying"][0] == "BTC-27MAR26"
        assert chain["underlying_price"][0] == 95_000.0
        assert np.isnan(chain["delta"]).all()

    def test_unpublished_rows_are_absent_values(self, daemon: Daemon, feed: Feed) -> None:
        board = feed.board()
        assert len(board) == 6
        assert set(board["state"].tolist()) == {BookState.INIT}
        assert np.isnan(board["mark"]).all()
        # a row that still belongs to another instrument is not shown as this one's
        daemon.share_board(0, 0, instrument=3, mark=1.0)
        row = feed.board(instruments=["deribit:BTC-PERPETUAL"])
        assert row.shape == (1,)
        assert math.isnan(row["mark"][0])

    def test_rows_of_a_dead_reader_are_stale(self, daemon: Daemon, feed: Feed) -> None:
        for reader, row, instrument in ((0, 0, 0), (1, 1, 1), (1, 2, 2)):
            state = BookState.GAP if instrument == 2 else BookState.LIVE
            daemon.share_board(reader, row, instrument=instrument, state=state)
        chosen = [0, 1, 2]
        states = {r["instrument"]: r["state"] for r in feed.board(instruments=chosen)}
        assert states == {0: BookState.LIVE, 1: BookState.LIVE, 2: BookState.GAP}
        daemon.rings[1].heartbeat(monotonic_ns() - SILENT_NS // 2)
        daemon.kill(1)
        states = {r["instrument"]: r["state"] for r in feed.board(instruments=chosen)}
        assert states == {0: BookState.LIVE, 1: BookState.STALE, 2: BookState.GAP}

    def test_conditions(self, feed: Feed) -> None:
        assert len(feed.board(venue="binance_spot")) == 1
        assert len(feed.board(kind="option", venue="binance_spot")) == 0
        with pytest.raises(ValueError, match="use one of unknown, spot"):
            feed.board(kind="options")


def test_readers(daemon: Daemon, feed: Feed) -> None:
    daemon.counters.words(1)[0] = 42
    daemon.put(record(Kind.TRADE, 0))
    first, second = feed.readers
    assert (first.number, first.alive, first.epoch) == (0, True, 1)
    assert first.head == first.capacity + 1
    assert second.counters["frames"] == 42
    assert first.latency("total") == 0
    assert first.heartbeat_age >= 0
