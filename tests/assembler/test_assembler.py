"""The message assembler against RFC 6455 and against a plain reference."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedd.decode.assembler import CLOSE, MESSAGE, NOTHING, VIOLATION, Assembler
from tests.fixtures.effort import tries

TEXT, BINARY, CONT, CLOSE_OP, PING, PONG = 1, 2, 0, 8, 9, 10


def feed(assembler: Assembler, *frames: tuple[int, bool, bytes]) -> list[int]:
    return [assembler.feed_frame(op, fin, 0, data) for op, fin, data in frames]


def test_single_frame_is_a_message() -> None:
    a = Assembler(1000)
    assert a.feed_frame(TEXT, True, 0, b'{"a":1}') == MESSAGE
    assert a.message == b'{"a":1}'
    assert not a.is_binary
    assert a.feed_frame(BINARY, True, 0, b"\xff\x00") == MESSAGE
    assert a.is_binary
    assert a.feed_frame(TEXT, True, 0, b"") == MESSAGE
    assert a.message == b""


def test_fragments_with_control_frames_between() -> None:
    a = Assembler(1000)
    assert feed(
        a,
        (TEXT, False, b"ab"),
        (PING, True, b"x"),
        (CONT, False, b""),
        (PONG, True, b""),
        (CONT, True, b"cd"),
    ) == [NOTHING, NOTHING, NOTHING, NOTHING, MESSAGE]
    assert a.message == b"abcd"
    assert feed(a, (BINARY, False, b""), (CONT, True, b"")) == [NOTHING, MESSAGE]
    assert a.message == b""
    assert a.is_binary


@pytest.mark.parametrize(
    ("frames", "code", "word"),
    [
        ([(CONT, True, 0, b"x")], 1002, "continuation"),
        ([(TEXT, False, 0, b"x"), (TEXT, True, 0, b"y")], 1002, "inside"),
        ([(TEXT, False, 0, b"x"), (BINARY, True, 0, b"y")], 1002, "inside"),
        ([(TEXT, True, 4, b"x")], 1002, "compress"),
        ([(BINARY, True, 4, b"x")], 1002, "compress"),
        ([(TEXT, True, 2, b"x")], 1002, "reserved"),
        ([(PING, True, 4, b"")], 1002, "reserved"),
        ([(TEXT, False, 0, b"x"), (CONT, True, 1, b"")], 1002, "reserved"),
        ([(3, True, 0, b"")], 1002, "opcode"),
        ([(7, True, 0, b"")], 1002, "opcode"),
        ([(11, True, 0, b"")], 1002, "opcode"),
        ([(15, True, 0, b"")], 1002, "opcode"),
        ([(PING, False, 0, b"")], 1002, "control"),
        ([(PING, True, 0, b"x" * 126)], 1002, "control"),
        ([(CLOSE_OP, True, 0, b"\x03")], 1002, "one byte"),
        ([(CLOSE_OP, True, 0, b"\x03\xe8\xff")], 1007, "UTF-8"),
        ([(TEXT, True, 0, b"x" * 201)], 1009, "larger"),
        ([(TEXT, False, 0, b"x" * 150), (CONT, True, 0, b"x" * 51)], 1009, "larger"),
        ([(TEXT, True, 0, b"\xff")], 1007, "UTF-8"),
        ([(TEXT, True, 0, b"\xe2\x82")], 1007, "UTF-8"),
        ([(TEXT, False, 0, b"\xe2"), (CONT, True, 0, b"\x82")], 1007, "UTF-8"),
        ([(TEXT, False, 0, b"\xed"), (CONT, False, 0, b"\xa0")], 1007, "UTF-8"),
    ],
)
def test_violations_latch(frames: list[tuple[int, bool, int, bytes]], code: int, word: str) -> None:
    a = Assembler(200, True)
    results = [a.feed_frame(*frame) for frame in frames]
    assert results[-1] == VIOLATION
    assert VIOLATION not in results[:-1]
    assert a.close_code == code
    assert word in a.violation
    assert a.is_dead
    for op in (TEXT, BINARY, PING, CLOSE_OP):
        assert a.feed_frame(op, True, 0, b"") == VIOLATION
        assert a.message is None
    assert a.close_code == code, "the first violation is the one that counts"
    a.reset()
    assert a.feed_frame(TEXT, True, 0, b"ok") == MESSAGE
    assert a.violation == ""


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000])
def test_close_codes_that_must_not_be_sent(code: int) -> None:
    a = Assembler(1000)
    assert a.feed_frame(CLOSE_OP, True, 0, code.to_bytes(2, "big")) == VIOLATION
    assert a.close_code == 1002


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4000, 4999])
def test_close_ends_the_connection(code: int) -> None:
    a = Assembler(1000)
    assert a.feed_frame(CLOSE_OP, True, 0, code.to_bytes(2, "big") + "bye é".encode()) == CLOSE
    assert a.close_code == code
    assert a.feed_frame(TEXT, True, 0, b"late") == VIOLATION
    assert a.message is None


def test_close_without_a_code() -> None:
    a = Assembler(1000)
    assert a.feed_frame(CLOSE_OP, True, 0, b"") == CLOSE
    assert a.close_code == 1005


def test_close_inside_a_fragmented_message_gives_no_message() -> None:
    a = Assembler(1000)
    assert feed(a, (TEXT, False, b"ab"), (CLOSE_OP, True, b""))[-1] == CLOSE
    assert a.feed_frame(CONT, True, 0, b"cd") == VIOLATION


def test_without_check_utf8_the_parser_decides() -> None:
    a = Assembler(1000)
    assert a.feed_frame(TEXT, True, 0, b"\xff\xfe") == MESSAGE
    assert feed(a, (TEXT, False, b"\xe2"), (CONT, True, b"\x82")) == [NOTHING, MESSAGE]


def test_an_endless_run_of_empty_fragments_is_refused() -> None:
    a = Assembler(1000)
    result = a.feed_frame(TEXT, False, 0, b"")
    for _ in range(70_000):
        result = a.feed_frame(CONT, False, 0, b"")
        if result == VIOLATION:
            break
    assert result == VIOLATION
    assert a.close_code == 1009


def test_limit_is_inclusive_and_large_buffers_are_given_back() -> None:
    a = Assembler(4 << 20)
    half = b"x" * (2 << 20)
    for _ in range(3):
        assert feed(a, (TEXT, False, half), (CONT, True, half)) == [NOTHING, MESSAGE]
        assert a.message == half + half
    assert feed(a, (TEXT, False, half), (CONT, False, half), (CONT, True, b"y"))[-1] == VIOLATION


def test_constructor_refuses_a_useless_limit() -> None:
    with pytest.raises(ValueError, match="at least 125"):
        Assembler(10)


texts = st.text(max_size=60).map(lambda s: (TEXT, s.encode("utf-8")))
blobs = st.binary(max_size=60).map(lambda b: (BINARY, b))


@st.composite
def split_stream(
    draw: st.DrawFn,
) -> tuple[list[tuple[int, bytes]], list[tuple[int, bool, bytes]]]:
    """Messages, and one way to send them: any split into fragments, control frames anywhere."""
    messages = draw(st.lists(st.one_of(texts, blobs), max_size=6))
    frames: list[tuple[int, bool, bytes]] = []
    for opcode, data in messages:
        cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))
        edges = [0, *cuts, len(data)]
        for i in range(len(edges) - 1):
            if draw(st.booleans()):
                frames.append((draw(st.sampled_from([PING, PONG])), True, b"c"))
            last = i == len(edges) - 2
            frames.append((opcode if i == 0 else CONT, last, data[edges[i] : edges[i + 1]]))
    return messages, frames


@given(split_stream(), st.booleans())
@settings(max_examples=tries(120), deadline=None)
def test_any_split_gives_the_same_messages(
    stream: tuple[list[tuple[int, bytes]], list[tuple[int, bool, bytes]]], check: bool
) -> None:
    messages, frames = stream
    a = Assembler(1 << 16, check)
    got: list[tuple[int, bytes]] = []
    for op, fin, data in frames:
        result = a.feed_frame(op, fin, 0, data)
        assert result in (NOTHING, MESSAGE)
        if result == MESSAGE:
            assert a.message is not None
            got.append((BINARY if a.is_binary else TEXT, a.message))
    assert got == messages


@given(
    st.one_of(st.binary(max_size=40), st.text(max_size=20).map(lambda s: s.encode())),
    st.lists(st.integers(0, 40), max_size=6),
    st.lists(st.tuples(st.integers(0, 39), st.integers(0, 255)), max_size=2),
)
@settings(max_examples=tries(200), deadline=None)
def test_utf8_agrees_with_python_for_any_bytes_and_split(
    data: bytes, cuts: list[int], flips: list[tuple[int, int]]
) -> None:
    raw = bytearray(data)
    for at, value in flips:
        if raw:
            raw[at % len(raw)] = value
    try:
        bytes(raw).decode("utf-8")
        valid = True
    except UnicodeDecodeError:
        valid = False
    edges = [0, *sorted(min(c, len(raw)) for c in cuts), len(raw)]
    a = Assembler(1000, True)
    result = NOTHING
    for i in range(len(edges) - 1):
        opcode = TEXT if i == 0 else CONT
        piece = bytes(raw[edges[i] : edges[i + 1]])
        result = a.feed_frame(opcode, i == len(edges) - 2, 0, piece)
        if result == VIOLATION:
            break
    assert (result == MESSAGE) == valid
    if not valid:
        assert a.close_code == 1007


@given(
    st.lists(
        st.tuples(st.integers(0, 15), st.booleans(), st.integers(0, 7), st.binary(max_size=130)),
        max_size=12,
    )
)
@settings(max_examples=tries(200), deadline=None)
def test_any_frames_never_yield_a_message_after_the_end(
    frames: list[tuple[int, bool, int, bytes]],
) -> None:
    a = Assembler(200, True)
    ended = False
    for frame in frames:
        result = a.feed_frame(*frame)
        if ended:
            assert result == VIOLATION
        ended = ended or result in (VIOLATION, CLOSE)
        assert a.is_dead == ended
