"""JSON texts for differential tests: well-formed in every spelling, then damaged."""

from __future__ import annotations

import random
from collections.abc import Iterator

KEYS = ["a", "b", "cc", "eightkey", "ninechars", "longer_than_eight_a", "longer_than_eight_b", "é"]
SPACES = ["", "", "", "", " ", "\t", "\n", "\r\n", "  \t "]
STRINGS = [
    '""', '"x"', '"1.5"', '"-0.0"', '"\\u00e9\\n"', '"\\ud83d\\ude00"', '"\\"\\\\\\/\\b\\f\\r\\t"',
    '"é€😀"', '"\x7f\u0080\ufffd"', '"a long enough text to leave the eight byte fast path"',
    '"\\u0000"', '"1234567é"', '"12345678\\\\"', '"\\uFFFF\\uABCD"', '"[{,:}]"',
]  # fmt: skip
NUMBERS = [
    "0", "-0", "1", "-1", "10", "0.1", "-0.07", "1e5", "1E+5", "1e-5", "0e0", "0.0e9", "1.0",
    "18446744073709551615", "18446744073709551616", "9223372036854775808", "-9223372036854775808",
    "-9223372036854775809", "123456789012345678901234567890", "0.30000000000000004",
    "9007199254740993", "1.7976931348623157e308", "4.9e-324", "2.2250738585072011e-308", "1e-400",
    "0.000000000000000000000000000000000000000000001234567890123456789", "1e308", "99999e303",
    "179769313486231570000000000000000000000000000000000000e255",
]  # fmt: skip
BROKEN = [
    "", "+1", "01", "-", "1.", ".5", "1e", "1e+", "0x10", "NaN", "Infinity", "-Infinity", "nul",
    "True", "tru", "falsee", "1e400", "-1e309", "1.8e308", '"', '"\\', '"\\x"', '"\\u12"',
    '"\\ud800"', '"\\udc00"', '"\\ud800\\u0041"', '"\\ud800x"', '"\t"', '"\n"', '"\0"', "[", "]",
    "{", "}", "[,]", "[1,]", "{,}", '{"a"}', '{"a":}', '{"a":1,}', "{a:1}", "{1:1}", "[1 2]",
    "'a'", "//", "/**/1", "1 1", "[]]", "{}}", "\ufeff1", "\u00a01", "\x0b1", "1\x0c", "--1",
]  # fmt: skip
BROKEN_BYTES = [
    b'"\x80"', b'"\xc0\x80"',
    b'"\xc1\xbf"', b'"\xe0\x80\x80"', b'"\xed\xa0\x80"', b'"\xed\xbf\xbf"',
    b'"\xf0\x80\x80\x80"', b'"\xf4\x90\x80\x80"', b'"\xf5\x80\x80\x80"', b'"\xe2\x82"', b'"\xc3',
    b'"\xf0\x9f\x98', b"\xef\xbb\xbf{}", b"\xff", b"\xfe", b"1\x00", b"\x00", b'{"a":1}\x00',
    b'"1234567\xc3"', b'"1234567\x1f"', b'"1234567\xff"', b"[1]\x00\x00",
]  # fmt: skip


class Texts:
    """Random JSON texts; the same seed gives the same texts."""

    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)

    def number(self) -> str:
        r = self.r
        if r.random() < 0.3:
            return r.choice(NUMBERS)
        whole = r.choice(["0", str(r.randrange(1, 10 ** r.choice([1, 2, 5, 9, 15, 19, 20, 25])))])
        text = r.choice(["", "", "-"]) + whole
        if r.random() < 0.6:
            text += "." + "".join(r.choice("0000123456789") for _ in range(r.randint(1, 22)))
        if r.random() < 0.2:
            text += r.choice("eE") + r.choice(["", "+", "-"]) + str(r.randrange(0, 280))
        return text

    def string(self) -> str:
        r = self.r
        if r.random() < 0.6:
            return r.choice(STRINGS)
        return '"' + "".join(r.choice(["a", "1", "é", "\\n", "\\u20ac"]) for _ in range(8)) + '"'

    def value(self, depth: int) -> str:
        r = self.r
        roll = r.random() if depth else r.random() * 0.6
        if roll < 0.3:
            return self.number()
        if roll < 0.5:
            return self.string()
        if roll < 0.6:
            return r.choice(["true", "false", "null"])
        items = [self.value(depth - 1) for _ in range(r.choice([0, 1, 1, 2, 3, 5]))]
        if roll < 0.75:
            return self.joined("[", items, "]")
        return self.object(items)

    def object(self, items: list[str]) -> str:
        pairs = [self.key() + self.space() + ":" + self.space() + item for item in items]
        return self.joined("{", pairs, "}")

    def key(self) -> str:
        key = self.r.choice(KEYS)
        if self.r.random() < 0.1:
            return '"' + "".join(f"\\u{ord(c):04X}" for c in key) + '"'
        return f'"{key}"'

    def joined(self, left: str, items: list[str], right: str) -> str:
        comma = self.space() + "," + self.space()
        return left + self.space() + comma.join(items) + self.space() + right

    def space(self) -> str:
        return self.r.choice(SPACES)

    def document(self) -> bytes:
        """A well-formed document, most often an object."""
        if self.r.random() < 0.85:
            text = self.object([self.value(3) for _ in range(self.r.randint(0, 6))])
        else:
            text = self.value(3)
        return (self.space() + text + self.space()).encode()

    def level(self) -> str:
        r = self.r
        items = [self.number().lstrip("-") for _ in range(2)]
        items = [r.choice([item, f'"{item}"']) for item in items]
        if r.random() < 0.2:
            items += [self.value(1)]
        if r.random() < 0.03:
            items[r.randrange(2)] = r.choice(['"x"', "null", "[]", "true", '""', '" 1"', '"1 "'])
        return self.joined("[", items, "]")

    def levels(self) -> str:
        r = self.r
        if r.random() < 0.05:
            return self.value(2)
        return self.joined("[", [self.level() for _ in range(r.choice([0, 1, 2, 4]))], "]")

    def book_row(self) -> str:
        """An object with the lists ``b`` and ``a`` and some other keys, any of them repeated."""
        r = self.r
        pairs = []
        for _ in range(r.randint(1, 5)):
            key = r.choice(["b", "a", "u", "o"])
            item = self.levels() if key in "ba" else self.value(1)
            pairs.append(f'"{key}":{self.space()}{item}')
        return self.joined("{", pairs, "}")

    def damaged(self, data: bytes) -> bytes:
        """``data`` with one to three random changes."""
        r = self.r
        out = bytearray(data)
        for _ in range(r.choice([1, 1, 2, 3])):
            at = r.randrange(len(out) + 1)
            self._damage(out, at)
        return bytes(out)

    def _damage(self, out: bytearray, at: int) -> None:
        r = self.r
        roll = r.randrange(8)
        if roll == 0:
            out[at : at + 1] = bytes([r.randrange(256)])
        elif roll == 1:
            out[at : at + r.choice([1, 2, 5])] = b""
        elif roll == 2:
            out[at:] = b""
        else:
            out[at:at] = (
                bytes([r.randrange(256)]),
                r.choice('[]{}",:\\ 0-.eE+').encode(),
                bytes(out[at // 2 : at]),
                self.value(1).encode(),
                r.choice(BROKEN_BYTES),
            )[roll - 3]


def fragments() -> Iterator[bytes]:
    """Every well-formed and every broken fragment, alone and inside containers."""
    pieces = [text.encode() for text in (*STRINGS, *NUMBERS, *BROKEN)] + BROKEN_BYTES
    for piece in pieces:
        yield piece
        yield b" " + piece + b"\n"
        yield b"[" + piece + b"]"
        yield b'{"a":' + piece + b"}"
        yield b'{"a":1,"skipped":[0,' + piece + b"]}"
        yield b"{" + piece + b":1}"
        yield b'{"a":{"b":' + piece + b'},"cc":2}'


def nested(depth: int, brackets: str) -> bytes:
    """``depth`` containers, one in the other; ``brackets`` is ``"[]"``, ``"{}"`` or ``"[{}]"``."""
    opening = {"[]": ["["], "{}": ['{"a":'], "[{}]": ["[", '{"a":']}[brackets]
    closing = {"[": "]", '{"a":': "}"}
    parts = [opening[i % len(opening)] for i in range(depth)]
    return ("".join(parts) + "1" + "".join(closing[p] for p in reversed(parts))).encode()
