"""Who folds the records learns from them what the board shows: also of a book that ends, or that
another stream takes over."""

from __future__ import annotations

from feedd.client.fold import BookBuilder
from feedd.records import BookState
from feedd.shm.ring import RingReader
from tests.pipeline.rig import Rig, binance_depth, deribit_book, rest_depth

BIDS, ASKS = [(10.0, 1.0)], [(11.0, 1.0)]


def folded(rig: Rig) -> BookState:
    rig.pipeline.commit()
    builder = BookBuilder()
    with RingReader(rig.ring, start="oldest") as reader:
        builder.apply(reader.read(4096))
    return builder[0].state


def test_a_dropped_instrument() -> None:
    rig = Rig("deribit")
    rig.send(deribit_book("X", 100, None, BIDS, ASKS))
    assert folded(rig) is BookState.LIVE
    rig.pipeline.drop_instrument(rig.handle, "X", rig.t)
    assert folded(rig) is BookState.INIT


def test_a_better_stream_that_takes_the_book_over() -> None:
    """Until its snapshot is there, what the other one showed is not the book any more."""
    rig = Rig("binance_usdm")
    message = binance_depth("AB", 90, 100, BIDS, ASKS, previous=89)
    rig.send({**message, "stream": "ab@depth5@100ms"})
    assert folded(rig) is BookState.LIVE
    rig.send(binance_depth("AB", 101, 102, BIDS, [], previous=100))
    assert rig.state("AB")[0] != BookState.LIVE
    assert folded(rig) is BookState.INIT
    rig.rest("AB", rest_depth(101, BIDS, ASKS))
    assert rig.state("AB")[0] == BookState.LIVE
    assert folded(rig) is BookState.LIVE
