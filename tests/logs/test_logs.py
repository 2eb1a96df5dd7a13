"""Log lines: forms, priorities, what is escaped and masked, what is cut short."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from feedd import logs
from feedd.logs import BURST, MESSAGE_MAX, PLACES_MAX, flush_suppressed, harmless, setup_logging

HOSTILE = 'x\x1b[2J\r\n<0>forged\x00\x7f\x9b31m\u2028\u202e"\ud800é'


class Stderr:
    """What was written to stderr so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def stream(capsys: pytest.CaptureFixture[str]) -> Iterator[Stderr]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Stderr(capsys)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_for_people(stream: Stderr) -> None:
    setup_logging("info", "text", 3)
    logging.getLogger("feedd.reader").warning("%s line %d: lost", "okx", 2)
    logging.getLogger("feedd.reader").debug("not this")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d [\d:,]+ WARNING feedd\.reader 3: okx line 2: lost\n", stream.getvalue()
    )


def test_journald_gets_a_priority_on_each_line(
    stream: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_is_journal", lambda: True)
    setup_logging("debug", "text")
    log = logging.getLogger("feedd")
    log.debug("d")
    log.info("i")
    log.warning("w")
    log.critical("c")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("e")
    lines = stream.getvalue().splitlines()
    assert lines[:4] == ["<7>feedd: d", "<6>feedd: i", "<4>feedd: w", "<2>feedd: c"]
    assert lines[4] == "<3>feedd: e"
    assert all(line.startswith("<3>    ") for line in lines[5:])
    assert "ValueError: two" in stream.getvalue()


def test_the_journal_is_known_by_device_and_inode() -> None:
    read, write = os.pipe()
    info = os.fstat(write)
    code = (
        "from feedd.logs import *; import logging; setup_logging('info', 'text');logging.error('x')"
    )

    def run(stream_id: str) -> bytes:
        subprocess.run(
            [sys.executable, "-c", code],
            stderr=write,
            env={**os.environ, "JOURNAL_STREAM": stream_id},
            timeout=20,
            check=True,
        )
        return os.read(read, 4096)

    assert run(f"{info.st_dev}:{info.st_ino}") == b"<3>root: x\n"
    assert not run("1:1").startswith(b"<")
    os.close(read)
    os.close(write)


def test_json(stream: Stderr) -> None:
    setup_logging("info", "json", 1)
    logging.getLogger("feedd.reader").info(HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logging.getLogger("feedd.reader").exception("e")
    one, two = map(json.loads, stream.getvalue().splitlines())
    assert (one["level"], one["logger"], one["reader"]) == ("info", "feedd.reader", 1)
    assert one["message"].isprintable()
    assert any("ValueError" in line for line in two["traceback"])
    assert all(line.isprintable() for line in two["traceback"])


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_that_a_venue_sends_reaches_the_terminal_raw(stream: Stderr, form: str) -> None:
    setup_logging("info", form)
    logging.getLogger("feedd").warning("venue said %s", HOSTILE)
    line = stream.getvalue()
    assert line.endswith("\n")
    assert line[:-1].isprintable(), line
    assert line.count("\n") == 1


def test_harmless_keeps_what_is_harmless() -> None:
    assert harmless("é 漢 %s {x} \\n") == "é 漢 %s {x} \\n"
    assert harmless("a\nb") == r"a\nb"
    assert len(harmless("z" * 10**6)) < MESSAGE_MAX + 40


SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"wss://user:{SECRET}@host/path",
        f'{{"apiKey": "{SECRET}", "x": 1}}',
        f"api_key={SECRET}&a=1",
        f"GET /x?signature={SECRET}",
        f"token: {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"password='{SECRET}'",
        f'{{\\"secret\\": \\"{SECRET}\\"}}',
        f"passphrase = {SECRET}, next",
        f"listenKey={SECRET}",
    ],
)
def test_secrets_are_masked(stream: Stderr, text: str) -> None:
    setup_logging("info", "text")
    logging.getLogger("feedd").info("%s", text)
    try:
        raise RuntimeError(text)
    except RuntimeError:
        logging.getLogger("feedd").exception("failed: %s", text)
    assert SECRET not in stream.getvalue()
    assert "***" in stream.getvalue()


def test_a_place_that_repeats_itself_is_cut_short(
    stream: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 10**15
    monkeypatch.setattr(logs, "monotonic_ns", lambda: now)
    setup_logging("info", "text")
    log = logging.getLogger("feedd")

    def say(venue: str, times: int) -> None:
        for n in range(times):
            log.warning("%s: bad frame %d", venue, n)

    say("okx", BURST + 7)
    say("gate", 2)  # another venue at the same place is not silenced by it
    lines = stream.getvalue().splitlines()
    assert sum("okx" in line for line in lines) == BURST
    assert sum("gate" in line for line in lines) == 2
    now += logs.WINDOW_NS
    flush_suppressed()  # also without another line
    assert "suppressed 7 lines like: okx: bad frame" in stream.getvalue().splitlines()[-1]
    flush_suppressed()
    assert stream.getvalue().count("suppressed") == 1
    say("okx", 1)
    assert stream.getvalue().splitlines()[-1].endswith("okx: bad frame 0")


def test_audit_and_critical_lines_are_never_left_out(stream: Stderr) -> None:
    setup_logging("info", "text")
    for _ in range(5 * BURST):
        logging.getLogger("feedd.audit").info("alice restarted something")
        logging.getLogger("feedd").critical("no progress")
    assert stream.getvalue().count("alice") == 5 * BURST
    assert stream.getvalue().count("no progress") == 5 * BURST


def test_places_are_bounded(stream: Stderr) -> None:
    setup_logging("info", "text")
    log = logging.getLogger("feedd")
    for n in range(PLACES_MAX + 50):
        log.info("%s", f"v{n}")
    (limiter,) = logging.getLogger().handlers[0].filters
    assert len(limiter._places) == PLACES_MAX  # type: ignore[union-attr]


def test_an_exception_that_is_none_costs_no_line(stream: Stderr) -> None:
    setup_logging("info", "text")
    wrong: tuple[type, type, object] = (type, OSError, OSError.__traceback__)  # as uvloop does it
    logging.getLogger("asyncio").error("it failed", exc_info=wrong)  # type: ignore[arg-type]
    first, second = stream.getvalue().splitlines()
    assert first.endswith("ERROR   asyncio: it failed")
    assert second == "    <class 'OSError'>"
