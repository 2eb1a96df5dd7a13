"""Where each key of a TOML text stands: ``tomllib`` gives values without positions.

Only texts that ``tomllib`` accepted are scanned, so this knows TOML's structure and checks nothing.
"""

from __future__ import annotations

import re
from typing import TypeAlias

__all__ = ["KeyPath", "key_lines"]

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys, and indexes of array elements: ``("session", "endpoints", 0, "url")``."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_STRINGS = (
    re.compile(r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}', re.S),
    re.compile(r"'''.*?'{3,5}(?!')", re.S),
    re.compile(r'"(?:[^"\\]|\\.)*"'),
    re.compile(r"'[^']*'"),
)
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(["\\bfnrte/]))')
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "e": "\x1b"}


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        return chr(int(code, 16)) if code else _SHORT.get(match[3], match[3])

    return _ESCAPE.sub(one, text)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.counted = 0
        self.lines: dict[KeyPath, int] = {}
        self.tables: dict[KeyPath, int] = {}  # arrays of tables: elements so far

    def skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()

    def here(self) -> int:
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        return self.line

    def note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self.here())

    def string(self) -> str | None:
        """Skip a string of any form; the text of one that may be a key, else None."""
        for pattern in _STRINGS:
            match = pattern.match(self.text, self.at)
            if match is not None:
                self.at = match.end()
                body = match[0][1:-1]
                return _unescape(body) if match[0][0] == '"' else body
        return None

    def key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self.skip(_BLANK)
            bare = _BARE.match(self.text, self.at)
            if bare is not None:
                self.at = bare.end()
                parts.append(bare[0])
            else:
                parts.append(self.string() or "")
            self.skip(_BLANK)
            if self.text[self.at : self.at + 1] != ".":
                return parts
            self.at += 1

    def header(self) -> KeyPath:
        array = self.text.startswith("[[", self.at)
        self.at += 1 + array
        line = self.here()
        path: KeyPath = ()
        parts = self.key()
        for i, part in enumerate(parts):
            path += (part,)
            self.lines.setdefault(path, line)
            if array and i == len(parts) - 1:
                self.tables[path] = self.tables.get(path, 0) + 1
            if path in self.tables:
                path += (self.tables[path] - 1,)
                self.lines.setdefault(path, line)
        self.at += 1 + array
        return path

    def pair(self, table: KeyPath) -> None:
        line = self.here()
        path = table
        for part in self.key():
            path += (part,)
            self.lines.setdefault(path, line)
        self.at += 1  # the equals sign
        self.skip(_BLANK)
        self.value(path)

    def value(self, path: KeyPath) -> None:
        first = self.text[self.at : self.at + 1]
        if first == "[":
            self.array(path)
        elif first == "{":
            self.inline(path)
        elif first not in "\"'" or self.string() is None:
            self.skip(_SCALAR)

    def array(self, path: KeyPath) -> None:
        self.at += 1
        index = 0
        while self.at < len(self.text):
            self.skip(_SPACE)
            if self.text[self.at] == "]":
                break
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self.note((*path, index))
            self.value((*path, index))
            index += 1
        self.at += 1

    def inline(self, path: KeyPath) -> None:
        self.at += 1
        while self.at < len(self.text):
            self.skip(_SPACE)
            if self.text[self.at] == "}":
                break
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self.pair(path)
        self.at += 1

    def run(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while True:
            self.skip(_SPACE)
            if self.at >= len(self.text):
                return self.lines
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Line (from 1) of every key and array element of a valid TOML text; the first mention counts.

    O(length); tables that only a dotted key or a sub-table implies have the line of that.
    """
    return _Scanner(text.replace("\r\n", "\n")).run()
