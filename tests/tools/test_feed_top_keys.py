"""feed-top on a real terminal: tmux holds it, keys are typed, the screen is read."""

from __future__ import annotations

import importlib.util
import json
from importlib.machinery import SourceFileLoader
from typing import Any

import pytest

from feedd.shm import layout
from feedd.shm.connections import CONNECTION_FIELDS, LINE_STATES, venue_code
from tests.client.segments import Daemon
from tests.tools.test_tools import TOOLS, run
from tests.tools.tmux import Tmux


@pytest.fixture(scope="module")
def tool() -> Any:
    loader = SourceFileLoader("feed_top_tool", str(TOOLS / "feed-top"))
    spec = importlib.util.spec_from_loader("feed_top_tool", loader)
    assert spec is not None
    made = importlib.util.module_from_spec(spec)
    loader.exec_module(made)
    return made


@pytest.fixture
def filled(daemon: Daemon) -> Daemon:
    """Three instruments of two venues with numbers to sort by."""
    for row, (venue, symbol, gaps) in enumerate(
        [("deribit", "BTC-PERPETUAL", 3), ("deribit", "ETH-PERPETUAL", 0), ("okx", "BTC-USDT", 9)]
    ):
        number = daemon.list(venue, symbol, 0)
        daemon.share_board(0, row, instrument=number, state=2, gaps=gaps, updates=row)
    return daemon


def rows() -> list[dict[str, Any]]:
    nan = float("nan")
    return [
        {"instrument": "a:X", "state": "live", "gaps": 1, "bid": 2.5},
        {"instrument": "b:Y", "state": "gap", "gaps": 5, "bid": nan},
        {"instrument": "a:Z", "state": "live", "gaps": 3, "bid": 1.0},
    ]


def test_sorting_and_filtering(tool: Any) -> None:
    screen = tool.Screen()
    screen.press("2", [])

    def order() -> list[str]:
        return [row["instrument"] for row in screen.arrange(rows())[0]]

    assert order() == ["a:X", "a:Z", "b:Y"], "names from A to Z"
    screen.press("s", [])
    assert order() == ["b:Y", "a:X", "a:Z"], "by state"
    screen.press("s", [])
    assert screen.arrange(rows())[1] == "gaps"
    assert order() == ["b:Y", "a:Z", "a:X"], "numbers largest first"
    screen.press("r", [])
    assert order() == ["a:X", "a:Z", "b:Y"]
    screen.press("s", [])
    assert order() == ["a:Z", "a:X", "b:Y"], "what is not known comes last either way"
    for key in ("/", "L", "i", "x", "backspace", "v", "enter"):
        screen.press(key, [])
    assert screen.filter == "Liv"
    assert set(order()) == {"a:X", "a:Z"}
    screen.press("esc", [])
    assert (screen.view, screen.filter) == ("overview", "")


def test_drill_down_and_end(tool: Any) -> None:
    screen = tool.Screen()
    for key in ("down", "down", "down", "enter"):
        assert screen.press(key, ["deribit", "okx"])
    assert (screen.view, screen.venue) == ("instruments", "okx")
    screen.press("/", [])
    assert screen.press("q", []), "a letter of the filter"
    screen.press("enter", [])
    assert screen.filter == "q"
    assert not screen.press("q", [])


def test_a_screen_is_never_larger_than_the_terminal(tool: Any) -> None:
    view = {"directory": "/d", "alive": True, "readers": [], "venues": []}
    for name in ("1", "2", "3"):
        screen = tool.Screen()
        screen.press(name, [])
        for width, height in ((20, 5), (200, 60)):
            drawn = screen.draw(view, rows() * 50, width, height)
            assert len(drawn) == height
            assert all(len(line) <= width for line in drawn)


def test_keys(tool: Any) -> None:
    assert tool.keys_of("\x1b[Aq\r\x1b[6~\x1b\x7f\t") == [
        "up", "q", "enter", "pagedown", "esc", "backspace", "\t",
    ]  # fmt: skip


def test_on_a_terminal(filled: Daemon, tmux: Tmux) -> None:
    tmux.tool("feed-top", "--interval", "0.3", "--directory", str(filled.directory))
    first = tmux.until(lambda text: "> deribit" in text and "okx" in text)
    assert "1 overview  2 instruments" in first
    tmux.keys("Down", "Enter")
    drilled = tmux.until("1 instruments of okx")
    assert "okx:BTC-USDT" in drilled
    assert "deribit" not in drilled
    tmux.keys("2")
    tmux.until(lambda text: "3 instruments" in text and "instrument*" in text)
    tmux.keys("s", "s", "s", "s", "s", "s")
    by_gaps = tmux.until("gaps*")
    assert by_gaps.index("okx:BTC-USDT") < by_gaps.index("deribit:ETH-PERPETUAL")
    tmux.keys("r")
    tmux.until(lambda t: t.index("deribit:ETH-PERPETUAL") < t.index("okx:BTC-USDT"))
    tmux.keys("/", "e", "t", "h", "Enter")
    only = tmux.until("1 instruments")
    assert "okx" not in only
    tmux.keys("3")
    tmux.until(lambda text: "connections" in text.splitlines()[0])
    tmux.keys("p")
    tmux.until("PAUSED")
    tmux.keys("Escape")
    tmux.until("> deribit")
    tmux.keys("q")
    tmux.until_ended()


def connect(daemon: Daemon, venue: str, line: int, **slots: int) -> None:
    at = layout.COUNTER_SLOTS + line * layout.CONNECTION_SLOTS
    words = daemon.counters.words(0)
    for name, value in {"used": 1, "venue": venue_code(venue), **slots}.items():
        words[at + CONNECTION_FIELDS.index(name)] = value


def test_tables_without_a_terminal(filled: Daemon) -> None:
    """The same views, sorted and filtered, for scripts."""
    connect(filled, "okx", 2, state=LINE_STATES.index("up"), topics=7, topics_active=6, frames=50)
    connect(filled, "deribit", 5, state=LINE_STATES.index("backoff"), disconnects=4)
    base = ("--directory", str(filled.directory), "--once", "--interval", "0.1")
    view = json.loads(run("feed-top", *base, "--json", "--view", "instruments",
                          "--sort", "gaps").stdout)  # fmt: skip
    assert [row["gaps"] for row in view["instruments"]] == [9, 3, 0]
    assert view["instruments"][0]["bid"] is None
    lines = json.loads(run("feed-top", *base, "--json", "--view", "connections").stdout)
    assert [(row["venue"], row["line"], row["state"]) for row in lines["connections"]] == [
        ("okx", 2, "up"),
        ("deribit", 5, "backoff"),
    ]
    shown = run("feed-top", *base, "--view", "connections", "--filter", "backoff").stdout
    assert "1 connections" in shown
    assert "deribit" in shown
    assert "okx" not in shown
    text = run("feed-top", *base, "--view", "instruments", "--sort", "gaps", "--reverse").stdout
    assert text.index("ETH-PERPETUAL") < text.index("BTC-PERPETUAL") < text.index("BTC-USDT")
    assert "gaps*" in text
    refused = run("feed-top", *base, "--view", "instruments", "--sort", "gasp")
    assert refused.returncode == 2
    assert "no column 'gasp': instrument," in refused.stderr
