"""Venue files: the built-in ones are good; seeded mistakes are each told once, at their line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import feedd
from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.errors import ConfigError
from feedd.venues import bounds
from feedd.venues.bounds import KEYS_MAX, SLOTS_MAX
from feedd.venues.command import group
from feedd.venues.lint import lint
from feedd.venues.lint_paths import _row_uses, _tree_problems

GOOD = """schema = 1
name = "own"
title = "Own venue"
rest_url = "https://api.example.com"

[decode]
delimiters = "@"
control_topics = ["!bye"]
envelopes = [
    { topic = "stream", payload = "data" },
    { topic = "e", match = "events" },
]

[channels.depth]
topics = ["{symbol}@depth@{rate}"]
events = ["depthUpdate"]
subscribe = "{symbol_lower}@depth@{rate}"
options = { rate = "100ms" }
symbol = "s"
time = ["E"]

[channels.depth.book]
policy = "prev_link_rest"
first = "U"
current = "u"
previous = "pu"
bids = "b"
asks = "a"
level = { price = 0, size = 1 }
resync = "rest"
rest = { url = "/depth?symbol={symbol}&limit={limit}", id = "id", bids = "bids", asks = "asks" }

[channels.trade]
topics = ["{symbol}@trade"]
events = ["trade"]
subscribe = "{symbol_lower}@trade"
symbol = "s"

[channels.trade.trade]
price = "p"
size = "q"
side = { path = "m", buy = ["false"], sell = ["true"] }

[session]
endpoints = [{ name = "main", url = "wss://example.com/stream" }]
limits = { connects_max = 10, connects_window_s = 60, messages_max = 5 }
ack = { kind = "flag" }
heartbeat = { mode = "server_ping" }
rest = { weight_max = 100 }

[session.subscribe]
request = { method = "SUBSCRIBE", params = "{topics}", id = "{id}" }
unsubscribe = { method = "UNSUBSCRIBE", params = "{topics}", id = "{id}" }

[reference]
requests = ["/instruments"]
rows = "symbols"
symbol = ["symbol"]
base = ["baseAsset", { value = "X", when = { kind = "x" } }]
tick = ["filters[filterType=PRICE_FILTER].tickSize"]
kind = [{ value = "spot" }]
"""


def line_of(text: str, piece: str) -> int:
    assert text.count(piece) == 1, piece
    return text[: text.index(piece)].count("\n") + 1


def problems(tmp_path: Path, text: str) -> list[tuple[int, str, str]]:
    path = tmp_path / "own.toml"
    path.write_text(text)
    found = lint(path)
    assert {p.file for p in found} <= {str(path)}
    return [(p.line, p.key, p.message) for p in found]


def test_the_good_file_is_good_and_compiles(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD) == []
    venue = venues.load(tmp_path / "own.toml")
    assert venue.name == "own"
    compile_plan(venue)


@pytest.mark.parametrize("name", venues.names())
def test_built_in_files_are_good(name: str) -> None:
    assert lint(venues.builtin_path(name)) == []
    venue = venues.load(name)
    assert venue.name == name
    assert venue.reference is not None
    assert venues.load(name) is venue
    compile_plan(venue)


MISTAKES: list[tuple[str, str, str, str]] = [
    # (what to replace, by what, key told, part of the message)
    ('rest_url = "https://', 'rest_url = "ftp://', "rest_url", "must start with"),
    ('size = "q"', 'size = "q"\nflags = { combo = ["c"] }', "channels.trade.trade.flags.combo",
     "at least 2 elements"),
    ('size = "q"', 'size = "q"\nflags = { combo = ["c", "p.x"] }', "channels.trade.trade.price",
     '"p.x" is inside it'),
    ('delimiters = "@"', 'delimiters = ""', "decode.delimiters", "at least one character"),
    ('{ topic = "stream", payload = "data" }', '{ topic = "stream", channel = "trade" }',
     "decode.envelopes[0]", "exactly one of"),
    ('{ topic = "stream", payload = "data" }', '{ topic = "data.stream", payload = "data" }',
     "decode.envelopes[0].topic", 'inside the payload "data"'),
    ('{ topic = "e", match = "events" }', '{ topic = "e", match = "events" }, { channel = "x" }',
     "decode.envelopes[2].channel", 'no channel "x"'),
    ('control_topics = ["!bye"]',
     'control_topics = ["!bye"]\nonly = { path = "x", values = ["a text of 20 bytes.."] }',
     "decode.only.values", "longer than 16 bytes"),
    ('control_topics = ["!bye"]', 'control_topics = ["!bye"]\nfuture_ms_max = 9223372036855',
     "decode.future_ms_max", "expected a whole number"),
    ('control_topics = ["!bye"]', 'control_topics = ["{x}@trade"]', "channels.trade.topics[0]",
     "already a pattern of decode.control_topics"),
    ('control_topics = ["!bye"]',
     'control_topics = ["!bye"]\nconnection_sequence = { path = "seq", first = 0 }',
     "decode.connection_sequence.path", "must start at the root"),
    ('topics = ["{symbol}@depth@{rate}"]',
     'topics = ["{symbol}@depth@{rate}"]\nsymbol_of_none = "s"',
     "channels.depth.symbol_of_none", "must start at the root"),
    ('control_topics = ["!bye"]',
     'control_topics = ["!bye"]\nconnection_sequence = { path = "@.data.n", first = 0 }',
     "decode.connection_sequence.path", 'and the payload "data" exclude each other'),
    ('control_topics = ["!bye"]',
     'control_topics = ["!bye"]\nconnection_sequence = { path = "@.e.n", first = 0 }',
     "decode.connection_sequence.path", 'and the topic "e" exclude each other'),
    ('time = ["E"]', 'time = ["@.a", "@.a.b"]', "channels.depth.time[0]",
     '"@.a" cannot be a value'),
    ('control_topics = ["!bye"]',
     'control_topics = ["!bye"]\nonly = { path = "@.a", values = ["A"] }\n'
     'connection_sequence = { path = "@.a.b", first = 0 }',
     "decode.only.path", '"@.a.b" is inside it'),
    ('symbol = "s"\n\n[channels.trade.trade]',
     'symbol = "^.s"\neach = "s"\n\n[channels.trade.trade]',
     "channels.trade.symbol", 'each = "s" exclude each other'),
    ('control_topics = ["!bye"]',
     'control_topics = ["!bye"]\nonly = { path = "m.x", values = ["A"] }',
     "channels.trade.trade.side", '"m.x" is inside it'),
    ('topics = ["{symbol}@depth@{rate}"]', 'topics = ["{symbol}@depth@{rate"]',
     "channels.depth.topics[0]", "a placeholder is {name}"),
    ('topics = ["{symbol}@depth@{rate}"]', 'topics = ["{symbol}@depth@{rate}", "{symbol}{x}"]',
     "channels.depth.topics[1]", "{symbol} must end at a delimiter"),
    ('topics = ["{symbol}@depth@{rate}"]', 'topics = ["{symbol}@depth@{rate}", "{s}@depth@{r}"]',
     "channels.depth.topics[1]", "is there twice"),
    ('topics = ["{symbol}@trade"]', 'topics = ["{symbol}@trade", "x@{a}@{a}"]',
     "channels.trade.topics[1]", "{a} is there twice"),
    ('topics = ["{symbol}@trade"]', 'topics = ["{symbol}@trade", "{symbol}@depth@{speed}"]',
     "channels.trade.topics[1]", "already a pattern of channels.depth"),
    ('events = ["trade"]', 'events = ["depthUpdate"]', "channels.trade.events[0]",
     "already a pattern of channels.depth"),
    ('subscribe = "{symbol_lower}@trade"', 'subscribe = "{symbol_lower}@trades"',
     "channels.trade.subscribe", '"x@trades" (of a symbol X) matches none'),
    ('subscribe = "{symbol_lower}@trade"', 'subscribe = "{symbol_lower}@{speed}"',
     "channels.trade.subscribe", "unknown placeholder {speed}"),
    ('options = { rate = "100ms" }', 'options = { rate = { USD = "100ms" } }',
     "channels.depth.options.rate", 'a table needs "by"'),
    ('options = { rate = "100ms" }', 'options = { rate = { by = "color", USD = "100ms" } }',
     "channels.depth.options.rate", "one of kind, base"),
    ('options = { rate = "100ms" }', 'options = { rate = "100ms", depth = "5" }',
     "channels.depth.options.depth", 'not a placeholder of "subscribe"'),
    ('options = { rate = "100ms" }', 'options = { rate = "100@ms" }',
     "channels.depth.subscribe", "matches none"),
    ('time = ["E"]', 'time = ["E", "T", "A", "B"]', "channels.depth.time", "at most 3"),
    ('time = ["E"]', 'time = ["E.x", "E"]', "channels.depth.time[1]", '"E.x" is inside it'),
    ('current = "u"', 'current = "b"', "channels.depth.book.bids", "list of levels at once"),
    ('asks = "a"\n', 'asks = "b"\n', "channels.depth.book.asks", "the same list"),
    ('previous = "pu"\n', "", "channels.depth.book", 'needs the key "previous"'),
    ('first = "U"', 'first = "U"\ntype = "t"', "channels.depth.book.type", "has no meaning"),
    ('policy = "prev_link_rest"', 'policy = "range_plus_one_rest"', "channels.depth.book.previous",
     "has no meaning with policy"),
    ('resync = "rest"\n', "", "channels.depth.book.resync", 'needs resync = "rest"'),
    ("level = { price = 0, size = 1 }", "level = { price = 1 }", "channels.depth.book.level",
     "same position"),
    ("symbol={symbol}&limit", "symbol=BTC&limit", "channels.depth.book.rest.url", "needs {symbol}"),
    ("limit={limit}", "limit={depth}", "channels.depth.book.rest.url", "unknown placeholder"),
    ('url = "/depth', 'url = "depth', "channels.depth.book.rest.url", 'must start with "/"'),
    ('buy = ["false"]', "buy = []", "channels.trade.trade.side.buy", "at least one text"),
    ('sell = ["true"]', 'sell = ["false"]', "channels.trade.trade.side", '"false" is in both'),
    ('sell = ["true"]', 'sell = ["a text of 20 bytes.."]', "channels.trade.trade.side",
     "longer than 16 bytes"),
    ('price = "p"', 'price = "p..x"', "channels.trade.trade.price", "an empty step"),
    ('requests = ["/instruments"]', "requests = []", "reference.requests", "at least one"),
    ('{ value = "X", when = { kind = "x" } }', '{ path = "a", value = "X" }', "reference.base[1]",
     "exactly one of"),
    ('kind = [{ value = "spot" }]', 'kind = [{ value = "spot" }, { value = "index" }]',
     "reference.kind[1]", "never reached"),
    ('[channels.trade.trade]\nprice = "p"\nsize = "q"\n'
     'side = { path = "m", buy = ["false"], sell = ["true"] }\n', "",
     "channels.trade", "yields no record"),
    ('[channels.trade.trade]', '[channels.trade.deriv]\n[channels.trade.trade]',
     "channels.trade.deriv", "names no field"),
    ('[channels.trade.trade]', '[channels.trade.liquidation]\nprice = "p"\nsize = "q"\n'
     '[channels.trade.trade]', "channels.trade.liquidation", "either"),
    ('topics = ["{symbol}@trade"]\nevents = ["trade"]\nsubscribe = "{symbol_lower}@trade"\n', "",
     "channels.trade", "never recognised"),
    ('{ name = "main", url', '{ name = "main", carries = ["trade"], url', "session.endpoints",
     "no endpoint carries the channel 'depth'"),
    ('{ name = "main", url', '{ name = "main", carries = ["*", "x"], url',
     "session.endpoints.main.carries", "no channel 'x'"),
    ('messages_max = 5', 'messages_max = 5, messages_reserved = 5',
     "session.limits.messages_reserved", "less than messages_max"),
]  # fmt: skip


STATE_MISTAKES: list[tuple[str, str, str]] = [
    ('facts = ["tick"]\nstatus = [{ value = "pre", when = { a = "b" } }]', "status", "no meaning"),
    ('word = "a"', "status", "at least one rule"),
    ("status = []", "", 'needs the key "word"'),
    (
        f'word = "a"\nstatus = [{{ value = "pre", when = {{ a = "{"x" * 17}" }} }}]',
        "status[0].when",
        "longer than 16 bytes",
    ),
    (
        'word = "a"\nstatus = [{ value = "pre", when = { a = "1", b = "1", c = "1", d = "1", '
        'e = "1" } }]',
        "status[0].when",
        "at most 4 values",
    ),
    (
        'word = "a"\nstatus = [' + '{ value = "pre", when = { a = "b" } }, ' * 13 + "]",
        "status",
        "at most 12 rules",
    ),
    (f"facts = {[f'f{i}' for i in range(9)]}", "facts", "at most 8 paths"),
    ('word = "a"\nstatus = [{ value = "pre", when = { "a.b" = "c" } }]', "word", "is inside it"),
]


@pytest.mark.parametrize(("state", "key", "message"), STATE_MISTAKES)
def test_mistakes_of_a_state_channel(tmp_path: Path, state: str, key: str, message: str) -> None:
    head = '[channels.state]\ntopics = ["!state"]\nsymbol = "s"\n\n[channels.state.state]\n'
    told = problems(tmp_path, GOOD.replace("[session]\n", f"{head}{state}\n\n[session]\n"))
    place = "channels.state.state" + (f".{key}" if key else "")
    assert [(k, message in m) for _, k, m in told] == [(place, True)], told


@pytest.mark.parametrize(
    ("old", "new", "key", "message"), MISTAKES, ids=[f"{i}-{m[2]}" for i, m in enumerate(MISTAKES)]
)
def test_one_mistake_gives_one_problem_at_its_line(
    tmp_path: Path, old: str, new: str, key: str, message: str
) -> None:
    line_of(GOOD, old)
    text = GOOD.replace(old, new)
    told = problems(tmp_path, text)
    assert [(k, message in m) for _, k, m in told] == [(key, True)], told
    line = text.splitlines()[told[0][0] - 1]
    above, last = (["", *key.split(".")])[-2:]  # a missing key is told at its table's line
    if last.endswith("]"):
        assert last.partition("[")[0] in line or new in line, (key, line)
    else:
        assert last in line or (above and above in line), (key, line)
    with pytest.raises(ConfigError, match=r"own\.toml"):
        venues.load(tmp_path / "own.toml")


def test_a_symbol_must_come_from_somewhere(tmp_path: Path) -> None:
    text = GOOD.replace('symbol = "s"\n\n[channels.trade.trade]', "[channels.trade.trade]")
    text = text.replace('topics = ["{symbol}@trade"]', 'topics = ["{symbol}@trade", "!trade"]')
    assert [(k, "symbol" in m) for _, k, m in problems(tmp_path, text)] == [
        ("channels.trade.topics[1]", True),
        ("channels.trade.events", True),
    ]


def test_many_mistakes_of_all_sorts_at_once(tmp_path: Path) -> None:
    text = GOOD
    seeded = [
        ("schema = 1", "schema = 2", "schema"),
        ('title = "Own venue"', "title = 5", "title"),
        ('{ topic = "e", match = "events" }', '{ topik = "e", match = "events" }', None),
        ('options = { rate = "100ms" }', "options = { rate = 100 }", "channels.depth.options.rate"),
        ('policy = "prev_link_rest"', 'policy = "prev_link_res"', "channels.depth.book.policy"),
        ('url = "/depth?symbol={symbol}&', 'url = "/depth?', "channels.depth.book.rest.url"),
        ('sell = ["true"]', 'sell = ["false"]', "channels.trade.trade.side"),
        ("wss://example", "https://example", "session.endpoints[0].url"),
        ("weight_max = 100", "weight_max = 0", "session.rest.weight_max"),
        ("[filterType=PRICE_FILTER]", "[filterType]", "reference.tick[0]"),
        ('value = "spot"', 'value = "spott"', "reference.kind[0].value"),
    ]
    for old, new, _ in seeded:
        line_of(GOOD, old)
        text = text.replace(old, new)
    wanted = [(line_of(text, new), key) for _, new, key in seeded if key]
    line = line_of(text, "topik")
    wanted.append((line, "decode.envelopes[1].topik"))
    told = problems(tmp_path, text)
    assert sorted((at, key) for at, key, _ in told) == sorted(wanted)


def test_a_path_may_be_called_as_a_value_of_another_key(tmp_path: Path) -> None:
    """``replay = "rows"`` is a word of its own; ``id = "rows"`` is a path like any."""
    text = GOOD.replace('price = "p"', 'price = "p"\nid = "rows"\nreplay = "rows"')
    assert problems(tmp_path, text) == []
    channel = venues.load(tmp_path / "own.toml").channels["trade"]
    assert [path for key, path, _ in _row_uses("trade", channel) if path == "rows"] == ["rows"]


def test_the_bounds_are_those_of_the_engine() -> None:
    root = Path(feedd.__file__).parent / "decode"
    text = "\n".join(
        (root / name).read_text() for name in ("plan.pyx", "plan.pxd", "src/plan.h", "src/levels.h")
    )

    same = [
        (bounds.KEYS_MAX, r"\bKEYS_MAX = (\d+)"),
        (bounds.SLOTS_MAX, r"\bSLOTS_MAX = (\d+)"),
        (bounds.POSITIONS_MAX, r"define FD_POSITIONS (\d+)"),
        (bounds.PARENT_MAX, r"define FD_PARENT_MAX (\d+)"),
        (bounds.MESSAGE_PATHS_MAX, r"define FD_ENV_MAX (\d+)"),
        (bounds.HOLES_MAX + 1, r"define FD_PLAN_DEPTH_MAX (\d+)"),
        (bounds.TOPIC_BYTES, r"define FD_TOPIC_MAX (\d+)"),
        (bounds.TEXT_BYTES, r"\b(?:FD_TEXT_MAX|TEXT_MAX =) (\d+)"),
        (bounds.SIDE_TEXTS_MAX, r"\bSIDE_TEXTS = (\d+)"),
        (bounds.LEVEL_SIDE_TEXTS_MAX, r"define FD_SIDE_TEXTS (\d+)"),
        (bounds.LEVEL_SIDE_TEXT_BYTES, r"define FD_SIDE_TEXT_MAX (\d+)"),
        (bounds.TIMES_MAX, r"\btime(?:_shift)?\[(\d+)\]"),
        (bounds.SNAPSHOT_PREVIOUS_MAX, r"\bint64_t snapshot_previous\[(\d+)\]"),
    ]
    for bound, pattern in same:
        assert {int(number) for number in re.findall(pattern, text)} == {bound}, pattern


def test_too_many_keys_of_one_object(tmp_path: Path) -> None:
    greeks = ("delta", "gamma", "vega", "theta", "rho", "mark_iv", "bid_iv", "ask_iv", "mark")
    derivs = ("mark", "index", "last", "open_interest", "funding_rate", "settlement")
    quotes = ("bid_price", "bid_size", "ask_price", "ask_size", "sequence")
    text = GOOD
    for table, names in (("greeks", greeks), ("deriv", derivs), ("quote", quotes)):
        text += f"[channels.trade.{table}]\n"
        text += "".join(f'{name} = "{table}.{name}"\n' for name in names)
    assert problems(tmp_path, text) == []
    channel = venues.load(tmp_path / "own.toml").channels["trade"]
    keys = len(list(_row_uses("trade", channel)))
    assert keys == len(greeks) + len(derivs) + len(quotes) + 4
    many = [(("x", i), f"k{i}", False) for i in range(KEYS_MAX + 1)]
    assert list(_tree_problems(("x",), many[:-1])) == []
    ((_, message),) = _tree_problems(("x",), many)
    assert message == "49 different keys of a row; at most 48"
    wide = [(("x", i), f"o{i % 4}.k{i}", False) for i in range(SLOTS_MAX + 1)]
    assert list(_tree_problems(("x",), wide[:-1])) == []
    ((_, message),) = _tree_problems(("x",), wide)
    assert message == "61 different fields; at most 60"


def test_unreadable_and_unknown_files(tmp_path: Path) -> None:
    (problem,) = lint(tmp_path / "none.toml")
    assert "cannot be read" in str(problem)
    with pytest.raises(ConfigError, match="cannot be read"):
        venues.load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match='did you mean "deribit"'):
        venues.load("derebit")
    with pytest.raises(ConfigError, match="known are"):
        venues.load("zzz")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(GOOD)
    assert venues.load(path).title == "Own venue"
    path.write_text(GOOD.replace("Own venue", "Another venue"))
    assert venues.load(path).title == "Another venue"


def test_command(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(GOOD)
    bad.write_text(GOOD.replace('price = "p"', 'pric = "p"'))
    runner = CliRunner()
    done = runner.invoke(group, ["lint", str(good)])
    assert (done.exit_code, done.output) == (0, "1 file: no mistakes\n")
    done = runner.invoke(group, ["lint", str(good), str(bad)])
    assert done.exit_code == 78
    line = line_of(bad.read_text(), 'pric = "p"')
    assert done.output == (
        f'{bad}:{line}: channels.trade.trade.pric: unknown key; did you mean "price"?\n'
    )
    done = runner.invoke(group, ["lint", "--json", str(bad)])
    assert [row["line"] for row in json.loads(done.output)] == [line]
    done = runner.invoke(group, ["list", "--json"])
    assert {row["name"] for row in json.loads(done.output)} >= {"deribit", "binance_usdm"}
    assert "Deribit" in runner.invoke(group, ["list"]).output
