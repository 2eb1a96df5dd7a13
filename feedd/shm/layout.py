"""Constants of the shared layout; ``include/feedd/layout.h`` states the same for C.

A test compares every value and offset here with the C header.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "HEADER_BYTES",
    "LAYOUT_MAJOR",
    "LAYOUT_MINOR",
    "MAGIC",
    "Offset",
    "SegmentKind",
    "SegmentState",
    "crc32c",
    "fnv1a64",
]

MAGIC = b"FRB1\r\n\x1a\n"
LAYOUT_MAJOR = 1
LAYOUT_MINOR = 0
BYTE_ORDER = 0x0102
HEADER_BYTES = 4096
DTYPE_BYTES_MAX = HEADER_BYTES - 0x288
WAKE_LINE_BYTES = 64
WAKE_LINES = 64
"""Readers that one wake file serves."""

SLOT_BYTES = 128
SLOT_HEADER_BYTES = 48
BOARD_ROW_BYTES = 512
BOOK_INDEX_BYTES = 16
BOOK_HEAD_BYTES = 0x4C0
BOOK_TOP_LEVELS = 32
LEVEL_BYTES = 16

COUNTER_SLOTS = 256
CONNECTIONS = 64
CONNECTION_SLOTS = 64
HISTOGRAMS = 8
HISTOGRAM_BUCKETS = 256
ROW_SLOTS = 16


class SegmentKind(IntEnum):
    RING = 1
    BOARD = 2
    BOOKS = 3
    INSTRUMENTS = 4
    COUNTERS = 5
    WAKE = 6
    RAW = 7


class SegmentState(IntEnum):
    """``state`` of a segment."""

    NEW = 0  # created, no writer yet
    RUN = 1
    CLOSED = 2  # its writer ended properly
    SUPERSEDED = 3  # a new file lies at the same path: map that


class Offset(IntEnum):
    """Byte offsets of the header page."""

    MAGIC = 0x000
    LAYOUT_MAJOR = 0x008
    LAYOUT_MINOR = 0x00A
    HEADER_BYTES = 0x00C
    FEAT_INCOMPAT = 0x010
    FEAT_COMPAT = 0x014
    SLOT_BYTES = 0x018
    SLOT_HEADER_BYTES = 0x01C
    BYTE_ORDER = 0x01E
    CAPACITY = 0x020
    FIRST_SEQ = 0x028
    EPOCH = 0x030
    FILE_SIZE = 0x038
    SCHEMA_HASH = 0x040
    SCHEMA_VERSION = 0x048
    HEADER_CRC32C = 0x04C
    PREV_EPOCH = 0x050
    PREV_LAST_SEQ = 0x058
    PID = 0x060
    PID_STARTTIME = 0x068
    BOOT_ID = 0x070
    NAME = 0x080
    FILE_ID = 0x0C0
    HEAD = 0x100
    VERSION = 0x108
    HEARTBEAT_NS = 0x180
    STATE = 0x188
    UPSTREAM = 0x18C
    NEXT_EPOCH = 0x190
    WAKE_SEQ = 0x200
    KIND = 0x280
    DTYPE_BYTES = 0x284
    DTYPE = 0x288


NAME_BYTES = 64


def fnv1a64(data: bytes) -> int:
    """FNV-1a, 64 bits: the schema hash of a segment's dtype JSON."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC32C = _crc32c_table()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of ``data``."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
