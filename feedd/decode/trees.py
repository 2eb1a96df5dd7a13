"""From a venue's paths to key trees: which objects there are, and which value gets which slot.

A *tree* is nested dicts; a leaf is ``(kind, argument)``. Slots of a row are numbered depth first,
so that those of one object are a range; behind a row's own slots come those of the row around it
(``^.`` paths) and those of the message (``@.`` paths).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from feedd.records import DERIV_FIELDS, GREEKS_FIELDS
from feedd.venues.schema import (
    Book,
    Channel,
    Field,
    RowFilter,
    SideRule,
    State,
    TimeField,
    Trade,
    Venue,
)

__all__ = ["ChannelTree", "EnvelopeTree", "Node", "channel_trees", "envelope_trees", "is_position"]

Node = dict[str, Any]
"""Key -> node, or a leaf: ``("slot", path)``, ``("levels", side)``, ``("each", None)``,
``("topic", path or None)`` or ``("payload", None)``."""

BIDS, ASKS, BOTH = 0, 1, 2


def is_position(node: Node) -> bool:
    """Every step into this node is a number: an array is meant."""
    return bool(node) and all(key.isdecimal() for key in node)


def path_of(value: Any) -> str | None:
    """The path of a field of any form."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (Field, SideRule, RowFilter, TimeField)):
        return value.path
    raise TypeError(type(value).__name__)


def _insert(root: Node, path: str, leaf: tuple[str, Any], problems: list[str], where: str) -> None:
    keys = path.split(".") if path != "." else ["."]
    node = root
    for key in keys[:-1]:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            problems.append(f"{where}: {path!r} goes through a value")
            return
    if node.setdefault(keys[-1], leaf) != leaf:
        problems.append(f"{where}: {path!r} has two meanings")


def _slots(node: Node) -> Iterator[str]:
    """Paths of the slots below a node, in the order in which they are numbered."""
    for value in node.values():
        if isinstance(value, dict):
            yield from _slots(value)
        elif value[0] == "slot":
            yield value[1]


@dataclass(slots=True)
class ChannelTree:
    """Tables of one channel; ``slots`` maps every path of the venue file to its slot."""

    where: str
    shape: str
    row: Node = field(default_factory=dict)
    parent: Node | None = None
    slots: dict[str, int] = field(default_factory=dict)
    own: int = 0
    parents: int = 0
    env: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def slot(self, path: str | None) -> None:
        """The value at ``path`` is wanted."""
        if path is None:
            return
        if path.startswith("@."):
            if path not in self.env:
                self.env.append(path)
        elif path.startswith("^."):
            if self.parent is None:
                self.problems.append(f"{self.where}: {path!r} needs the key 'each'")
            else:
                _insert(self.parent, path[2:], ("slot", path), self.problems, self.where)
        else:
            _insert(self.row, path, ("slot", path), self.problems, self.where)

    def levels(self, path: str | None, side: int) -> None:
        """A list of levels is at ``path``."""
        if path is not None:
            _insert(self.row, path, ("levels", side), self.problems, self.where)

    def number(self) -> None:
        """Give every path its slot."""
        own = list(_slots(self.row))
        parents = list(_slots(self.parent)) if self.parent is not None else []
        self.own, self.parents = len(own), len(parents)
        self.slots = {path: i for i, path in enumerate([*own, *parents, *self.env])}


def _trade_paths(trade: Trade) -> Iterator[str | None]:
    for value in (trade.price, trade.size, trade.id, trade.sequence, trade.side):
        yield path_of(value)
    for rules in trade.flags.rules():
        yield from map(path_of, rules)
    if isinstance(trade.replay, RowFilter):
        yield trade.replay.path


def _state_paths(state: State) -> Iterator[str]:
    if state.word is not None:
        yield state.word
    for rule in state.status:
        yield from rule.when
    yield from state.facts


def _book(tree: ChannelTree, book: Book) -> None:
    for path in (book.current, book.previous, book.first, book.type):
        tree.slot(path)
    if book.checksum is not None:
        tree.slot(book.checksum.path)
    tree.levels(book.bids, BIDS)
    tree.levels(book.asks, ASKS)
    tree.levels(book.levels, BOTH)
    if book.rows:
        level = book.level
        for member in (level.price, level.size, level.count, level.id):
            tree.slot(None if member is None else str(member))
        if level.side is not None:
            tree.slot(str(level.side.at))


def _channel(name: str, channel: Channel, venue: Venue) -> ChannelTree:
    tree = ChannelTree(f"channels.{name}", channel.payload)
    if channel.each is not None:
        tree.parent = {}
        _insert(tree.parent, channel.each, ("each", None), tree.problems, tree.where)
    tree.slot(channel.symbol)
    tree.slot(path_of(venue.decode.only))
    tree.slot(path_of(channel.only))
    for time in channel.time:
        tree.slot(path_of(time))
    for trade in (channel.trade, channel.liquidation):
        for path in _trade_paths(trade) if trade is not None else ():
            tree.slot(path)
    if channel.quote is not None:
        quote = channel.quote
        for value in (quote.bid_price, quote.bid_size, quote.ask_price, quote.ask_size):
            tree.slot(path_of(value))
        tree.slot(quote.sequence)
    if channel.book is not None:
        _book(tree, channel.book)
    if channel.deriv is not None:
        for field_name in DERIV_FIELDS:
            tree.slot(path_of(getattr(channel.deriv, field_name)))
    if channel.greeks is not None:
        for field_name in GREEKS_FIELDS:
            tree.slot(path_of(getattr(channel.greeks, field_name)))
    if channel.checksum is not None:
        tree.slot(channel.checksum.path)
    for path in _state_paths(channel.state) if channel.state is not None else ():
        tree.slot(path)
    tree.number()
    return tree


def _rest(name: str, book: Book) -> ChannelTree:
    rest = book.rest
    tree = ChannelTree(f"channels.{name}.book.rest", "object")
    if rest is not None:
        for path in (rest.id, rest.symbol, *rest.time):
            tree.slot(path)
        tree.levels(rest.bids, BIDS)
        tree.levels(rest.asks, ASKS)
    tree.number()
    return tree


def channel_trees(venue: Venue) -> dict[str, ChannelTree]:
    """The trees of all channels, then those of their REST bodies as ``<channel>/rest``."""
    trees = {name: _channel(name, channel, venue) for name, channel in venue.channels.items()}
    for name, channel in venue.channels.items():
        if channel.book is not None and channel.book.rest is not None:
            trees[f"{name}/rest"] = _rest(name, channel.book)
    return trees


@dataclass(slots=True)
class EnvelopeTree:
    where: str
    root: Node = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def envelope_trees(venue: Venue, env: list[str]) -> list[EnvelopeTree]:
    """One tree per envelope; each reads all of the ``@.`` paths in ``env``."""
    trees = []
    for index, envelope in enumerate(venue.decode.envelopes):
        tree = EnvelopeTree(f"decode.envelopes[{index}]")
        topic = envelope.topic
        if topic is not None:
            wanted = f"@.{topic}" if f"@.{topic}" in env else None
            _insert(tree.root, topic, ("topic", wanted), tree.problems, tree.where)
        if envelope.payload:
            _insert(tree.root, envelope.payload, ("payload", None), tree.problems, tree.where)
        for path in env:
            if path != f"@.{topic}":
                _insert(tree.root, path[2:], ("slot", path), tree.problems, tree.where)
        trees.append(tree)
    return trees
