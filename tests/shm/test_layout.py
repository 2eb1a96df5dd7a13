"""The C header and the Python dtypes and constants state the same bytes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from feedd import records
from feedd.shm import layout
from feedd.shm.layout import Offset
from feedd.shm.rows import BOARD
from feedd.shm.segment import dtype_json

PAYLOADS = {
    records.Kind.TRADE: "trade",
    records.Kind.LIQUIDATION: "trade",
    records.Kind.QUOTE: "quote",
    records.Kind.BOOK: None,
    records.Kind.BOOK_CONTROL: "control",
    records.Kind.DERIV: "deriv",
    records.Kind.GREEKS: "greeks",
    records.Kind.STATUS: "status",
}
HEADER_NAMES = {
    "LAYOUT_MAJOR": "layout_major", "LAYOUT_MINOR": "layout_minor", "HEADER_BYTES": "header_bytes",
    "SLOT_BYTES": "slot_bytes", "SLOT_HEADER_BYTES": "slot_header_bytes",
    "DTYPE_BYTES": "dtype_bytes", "HEADER_CRC32C": "header_crc32c",
}  # fmt: skip
CONSTANTS = {
    "FEEDD_LAYOUT_MAJOR": layout.LAYOUT_MAJOR,
    "FEEDD_LAYOUT_MINOR": layout.LAYOUT_MINOR,
    "FEEDD_BYTE_ORDER": layout.BYTE_ORDER,
    "FEEDD_HEADER_BYTES": layout.HEADER_BYTES,
    "FEEDD_MAGIC": int.from_bytes(layout.MAGIC, "little"),
    "FEEDD_TOP": layout.BOOK_TOP_LEVELS,
    "FEEDD_COUNTER_SLOTS": layout.COUNTER_SLOTS,
    "FEEDD_CONNECTIONS": layout.CONNECTIONS,
    "FEEDD_CONNECTION_SLOTS": layout.CONNECTION_SLOTS,
    "FEEDD_HISTOGRAMS": layout.HISTOGRAMS,
    "FEEDD_HISTOGRAM_BUCKETS": layout.HISTOGRAM_BUCKETS,
    "FEEDD_ROW_SLOTS": layout.ROW_SLOTS,
    "FEEDD_BOARD_ROW_BYTES": layout.BOARD_ROW_BYTES,
    "sizeof(feedd_book)": layout.BOOK_HEAD_BYTES,
    "sizeof(feedd_book_index)": layout.BOOK_INDEX_BYTES,
    "sizeof(feedd_level)": layout.LEVEL_BYTES,
    "sizeof(feedd_record)": records.RECORD_BYTES,
    **{f"FEEDD_{kind.name}": kind.value for kind in records.Kind},
    **{f"FEEDD_{flag.name}": flag.value for flag in records.Flag},
    **{f"FEEDD_TRADE_{flag.name}": flag.value for flag in records.TradeFlag},
    **{f"FEEDD_BOOK_{state.name}": state.value for state in records.BookState},
    **{f"FEEDD_REASON_{reason.name}": reason.value for reason in records.BookReason},
    **{f"FEEDD_SEGMENT_{kind.name}": kind.value for kind in layout.SegmentKind},
    **{f"FEEDD_STATE_{state.name}": state.value for state in layout.SegmentState},
}


def expected_offsets() -> dict[str, int]:
    """C expression -> the byte offset (or value) that Python believes in."""
    expected = dict(CONSTANTS)
    for offset in Offset:
        field = HEADER_NAMES.get(offset.name, offset.name.lower())
        expected[f"offsetof(feedd_header, {field})"] = offset.value
    for kind, member in PAYLOADS.items():
        dtype = records.KIND_DTYPES[kind]
        assert dtype.fields is not None
        for name, entry in dtype.fields.items():
            if name in records.HEADER_FIELDS:
                path = name
            elif member is None:
                path = "p.levels"
            else:
                path = f"p.{member}.{name}"
            expected[f"offsetof(feedd_record, {path})"] = int(entry[1])
            expected[f"sizeof(((feedd_record *)0)->{path})"] = entry[0].itemsize
    assert BOARD.fields is not None
    for name, entry in BOARD.fields.items():
        expected[f"offsetof(feedd_board_row, {name})"] = int(entry[1])
        expected[f"sizeof(((feedd_board_row *)0)->{name})"] = entry[0].itemsize
    return expected


def test_every_offset_and_constant_is_that_of_the_c_header(compile_c: Callable[..., Path]) -> None:
    expected = expected_offsets()
    lines = "".join(
        f'printf("%llu\\n", (unsigned long long)({expression}));\n' for expression in expected
    )
    program = compile_c(
        "offsets",
        text=f"#include <stdio.h>\n#include <feedd/feedd.h>\nint main(void) {{\n{lines}}}\n",
    )
    out = subprocess.run([program], capture_output=True, text=True, check=True, timeout=20).stdout
    found = dict(zip(expected, map(int, out.split()), strict=True))
    assert found == expected
    assert len(found) > 250


@pytest.mark.parametrize(("compiler", "standard"), [("gcc", "-std=c11"), ("g++", "-std=c++17")])
def test_the_header_compiles_as_strict_c_and_as_cpp(
    compiler: str, standard: str, tmp_path: Path
) -> None:
    source = tmp_path / ("t.c" if compiler == "gcc" else "t.cpp")
    source.write_text("#include <feedd/feedd.h>\nint main() { return 0; }\n")
    include = Path(layout.__file__).parent / "include"
    try:
        done = subprocess.run(
            [compiler, standard, "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{include}",
             "-c", str(source), "-o", str(tmp_path / "t.o")],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip(f"{compiler} is not installed")
    assert done.returncode == 0, done.stderr


def test_a_dtype_describes_itself_as_json() -> None:
    text = json.loads(dtype_json(records.BOOK))
    assert text["itemsize"] == 128
    assert text["fields"][0] == ["ring_seq", "<u8", 0]
    assert text["fields"][-1] == ["levels", [["price", "<f8", 0], ["size", "<f8", 8]], 48, [5]]
    assert len(dtype_json(BOARD)) < layout.DTYPE_BYTES_MAX


def test_checksums_match_published_vectors() -> None:
    assert layout.crc32c(b"123456789") == 0xE3069283
    assert layout.crc32c(bytes(32)) == 0x8A9136AA
    assert layout.fnv1a64(b"") == 0xCBF29CE484222325
    assert layout.fnv1a64(b"foobar") == 0x85944171F73967E8


def test_record_dtypes_fill_exactly_one_slot() -> None:
    for dtype in records.KIND_DTYPES.values():
        assert dtype.itemsize == records.RAW.itemsize == 128
    assert np.zeros(1, dtype=records.RAW).tobytes() == bytes(128)
