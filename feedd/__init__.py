"""feedd: market data of crypto venues in shared memory.

::

    import feedd
    feed = feedd.attach()
    for batch in feed.stream(venues=["deribit"], kinds=["trade", "book"]):
        batch.trades["price"], batch.books

Names are imported when they are first used, so that ``import feedd`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feedd import records
    from feedd.client.attach import attach
    from feedd.client.batch import Batch
    from feedd.client.book import Book, BookSnapshot
    from feedd.client.feed import Feed
    from feedd.client.fold import BookBuilder, FoldedBook
    from feedd.client.instruments import Instrument, Instruments
    from feedd.client.stream import Stream
    from feedd.client.subscribe import Message, Subscriber, TooLateError, subscribe
    from feedd.errors import AttachError, FeeddError, LappedError, LayoutError, ShmError
    from feedd.records import BookReason, BookState, Event, Flag, Kind, Scope, Side, TradeFlag

_HOMES = {
    "AttachError": "feedd.errors",
    "Batch": "feedd.client.batch",
    "Book": "feedd.client.book",
    "BookBuilder": "feedd.client.fold",
    "BookReason": "feedd.records",
    "BookSnapshot": "feedd.client.book",
    "BookState": "feedd.records",
    "Event": "feedd.records",
    "Feed": "feedd.client.feed",
    "FeeddError": "feedd.errors",
    "Flag": "feedd.records",
    "FoldedBook": "feedd.client.fold",
    "Instrument": "feedd.client.instruments",
    "Instruments": "feedd.client.instruments",
    "Kind": "feedd.records",
    "LappedError": "feedd.errors",
    "LayoutError": "feedd.errors",
    "Message": "feedd.client.subscribe",
    "Scope": "feedd.records",
    "ShmError": "feedd.errors",
    "Side": "feedd.records",
    "Stream": "feedd.client.stream",
    "Subscriber": "feedd.client.subscribe",
    "TooLateError": "feedd.client.subscribe",
    "TradeFlag": "feedd.records",
    "attach": "feedd.client.attach",
    "subscribe": "feedd.client.subscribe",
}

__all__ = [
    "AttachError",
    "Batch",
    "Book",
    "BookBuilder",
    "BookReason",
    "BookSnapshot",
    "BookState",
    "Event",
    "Feed",
    "FeeddError",
    "Flag",
    "FoldedBook",
    "Instrument",
    "Instruments",
    "Kind",
    "LappedError",
    "LayoutError",
    "Message",
    "Scope",
    "ShmError",
    "Side",
    "Stream",
    "Subscriber",
    "TooLateError",
    "TradeFlag",
    "attach",
    "records",
    "subscribe",
]


def __getattr__(name: str) -> Any:
    if name == "records":
        return import_module("feedd.records")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'feedd' has no attribute {name!r}")
    try:
        value = getattr(import_module(home), name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not exc.name.startswith("feedd."):
            raise
        raise ImportError(
            f"{exc.name} is missing: the C extensions of feedd are not compiled. In a checkout run "
            "`make build`, else `pip install .`"
        ) from exc
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
