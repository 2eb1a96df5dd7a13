"""Bounds that several parts must agree on, or that a user may ask for; each is enforced where it is
imported. A bound of one module alone stands at its head."""

from __future__ import annotations

__all__ = [
    "BOOK_BUFFER_LEVELS_MAX",
    "BOOK_DEPTH_DEFAULT",
    "BOOK_DEPTH_OPTION",
    "BOOK_LEVELS_MAX",
    "LINE_AGREE_MS",
    "LINE_HELD_MESSAGES_MAX",
    "LINE_HOLD_NS",
    "MESSAGE_BYTES_MAX",
    "REQUESTS_MAX",
    "REST_BODY_BYTES_MAX",
    "RING_SLOTS_DEFAULT",
    "RING_SLOTS_MIN",
    "SYMBOLS_MAX",
    "TRADE_IDS_KEPT",
]

RING_SLOTS_MIN = 16_384
RING_SLOTS_DEFAULT = 65_536

BOOK_DEPTH_DEFAULT = 1_024
BOOK_DEPTH_OPTION = 128
BOOK_LEVELS_MAX = 100_000
"""Levels a side that the reader keeps before it gives the book up as broken."""
BOOK_BUFFER_LEVELS_MAX = 200_000
"""Levels buffered per instrument while a REST snapshot is awaited."""

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""What a venue file allows one message of its connections, unless it says otherwise."""
REST_BODY_BYTES_MAX = 64 * 1024 * 1024
"""An answer of a venue's REST interface, on its way to a reader too."""
TRADE_IDS_KEPT = 4_096
SYMBOLS_MAX = 200_000
"""Different symbols of one venue that a pipeline remembers, named or not."""
REQUESTS_MAX = 65_536
"""Snapshots and resubscriptions that wait to be taken by the reader."""

LINE_HOLD_NS = 250_000_000
"""How long a message that does not follow waits for a redundant connection to bring what is
missing: how far one of them may lag behind the other."""
LINE_AGREE_MS = 50
"""How long a message of a book whose losses nothing shows waits until another connection brings the
same: longer than they mostly lag, and short enough to be late when one of them is silent."""
LINE_HELD_MESSAGES_MAX = 1_024
"""Messages of one book that wait so."""
