"""How much of everything a venue file may have: the sizes of the native engine's tables.

The tables are in ``feedd/decode/src/plan.h``, ``levels.h`` and ``feedd/decode/plan.pxd``; the lint
tells what does not fit with its line. A test compares the two.
"""

from __future__ import annotations

__all__ = [
    "HOLES_MAX",
    "KEYS_MAX",
    "LEVEL_SIDE_TEXTS_MAX",
    "LEVEL_SIDE_TEXT_BYTES",
    "MESSAGE_PATHS_MAX",
    "PARENT_MAX",
    "POSITIONS_MAX",
    "SIDE_TEXTS_MAX",
    "SLOTS_MAX",
    "SNAPSHOT_PREVIOUS_MAX",
    "STATE_CONDITIONS_MAX",
    "STATE_FACTS_MAX",
    "STATE_RULES_MAX",
    "TEXT_BYTES",
    "TIMES_MAX",
    "TOPIC_BYTES",
]

KEYS_MAX = 48
"""Different keys of one object that the engine's key tables hold."""
SLOTS_MAX = 60
"""Different fields of one channel."""
POSITIONS_MAX = 32
"""Array elements that a path can name."""
PARENT_MAX = 16
"""Different fields of the row around nested rows."""
MESSAGE_PATHS_MAX = 24
"""Different fields of a message outside of its payload."""
HOLES_MAX = 7
"""Placeholders of a topic pattern."""
TOPIC_BYTES = 256
TEXT_BYTES = 16
"""A text that a value is compared with."""
SIDE_TEXTS_MAX = 8
"""Texts that name the side of a trade."""
LEVEL_SIDE_TEXTS_MAX = 4
"""Texts that name the side of a level, shorter ones."""
LEVEL_SIDE_TEXT_BYTES = 12
TIMES_MAX = 3
"""Paths of the event time."""
SNAPSHOT_PREVIOUS_MAX = 4
"""Previous numbers that mark a snapshot."""
STATE_RULES_MAX = 12
"""Rules that tell an instrument's status."""
STATE_CONDITIONS_MAX = 4
"""Values that one of them looks at."""
STATE_FACTS_MAX = 8
"""Values of an instrument whose change is noticed."""
