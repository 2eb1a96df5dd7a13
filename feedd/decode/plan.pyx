"""Compile a venue description into the tables that the native engine walks."""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from feedd.decode.engine cimport (
    FD_CONTROL_TOPIC, FD_OP_LEVELS, FD_OP_NODE, FD_OP_PAYLOAD, FD_OP_SLOT, FD_PLAN_DEPTH_MAX,
    FD_SHAPE_OBJECT, FD_SHAPE_ROWS, fd_cached_topic, fd_channel, fd_decimal_init, fd_envelope,
    fd_key, fd_key_hash, fd_node, fd_topic,
)

from feedd.errors import ConfigError

KEYS_MAX = 48
SLOTS_MAX = 60
CACHE_SLOTS = 16384          # a power of two, twice the topics remembered at most
CACHE_ARENA_BYTES = 512 * 1024

_SHIFT = {"s": 9, "ms": 6, "us": 3, "ns": 0}
_POLICY = {
    "none_full": POLICY_NONE_FULL,
    "prev_link": POLICY_PREV_LINK,
    "prev_link_rest": POLICY_PREV_LINK_REST,
    "range_plus_one_rest": POLICY_RANGE_REST,
}
_RESYNC = {"none": RESYNC_NONE, "resubscribe": RESYNC_RESUBSCRIBE, "rest": RESYNC_REST}
_DERIV = (
    "mark", "index", "last", "open_interest", "funding_rate", "predicted_funding", "settlement",
)
_GREEKS = (
    "delta", "gamma", "vega", "theta", "rho", "mark_iv", "bid_iv", "ask_iv", "underlying", "mark",
)
_IVS = frozenset(("mark_iv", "bid_iv", "ask_iv"))


class _Tree:
    """Key tables under construction: nested dicts, a leaf is (op, argument)."""

    def __init__(self, where):
        self.where = where
        self.root = {}
        self.slots = {}          # path -> slot, in the order of a walk through the tree
        self.problems = []

    def leaf(self, path, op, arg=None):
        keys = path.split(".")
        node = self.root
        for key in keys[:-1]:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                self.problems.append(f"{self.where}: {path!r} goes through a value")
                return
        old = node.setdefault(keys[-1], (op, arg if arg is not None else path))
        if old != (op, arg if arg is not None else path):
            self.problems.append(f"{self.where}: {path!r} has two meanings")

    def slot(self, path):
        if path is not None:
            self.leaf(path, FD_OP_SLOT)
        return path

    def number(self, path_or_list):
        """Number the slots depth first, so that an object's slots are one range."""
        def walk(node):
            for value in node.values():
                if isinstance(value, dict):
                    walk(value)
                elif value[0] == FD_OP_SLOT:
                    self.slots[value[1]] = len(self.slots)
        walk(path_or_list)


cdef class Plan:
    def __cinit__(self, *args, **kwargs):
        memset(&self.plan, 0, sizeof(self.plan))
        self.programs = NULL
        self._owned = []

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.plan.n_nodes):
            free(self.plan.nodes[i].keys)
        free(self.plan.nodes)
        free(self.plan.channels)
        free(self.plan.topics)
        free(self.plan.envelopes)
        free(self.plan.cache)
        free(self.plan.arena)
        free(self.programs)

    def __init__(self, venue):
        if not fd_decimal_init():
            raise MemoryError("no locale object for number conversion")
        self.venue = venue.name
        self.future_ns_max = venue.decode.future_ms_max * 1_000_000
        self.upper_case = venue.decode.symbol_case == "upper"
        names = list(venue.channels)
        rest = [n for n in names if venue.channels[n].book and venue.channels[n].book.rest]
        self.channels = tuple(names + [f"{n}/rest" for n in rest])
        only = venue.decode.only
        trees = [_channel_tree(n, venue.channels[n], only) for n in names]
        trees += [_rest_tree(n, venue.channels[n].book) for n in rest]
        envelopes = [_envelope_tree(i, e) for i, e in enumerate(venue.decode.envelopes)]
        problems = [p for tree in trees + envelopes for p in tree.problems]
        for tree in trees:
            if len(tree.slots) > SLOTS_MAX:
                problems.append(f"{tree.where}: more than {SLOTS_MAX} different fields")
        if problems:
            raise ConfigError(problems)
        self._allocate(trees, envelopes, venue)
        cdef int i
        for i, name in enumerate(names):
            self._program(i, venue.channels[name], trees[i].slots)
            if only is not None:
                self.programs[i].only = trees[i].slots[only.path]
                for text in only.values[:4]:
                    _text(&self.programs[i].only_text[self.programs[i].n_only], text)
                    self.programs[i].n_only += 1
            if name in rest:
                self.programs[i].rest_channel = len(names) + rest.index(name)
        for i, name in enumerate(rest):
            self._rest_program(len(names) + i, venue.channels[name], trees[len(names) + i].slots)
        self._topics(venue, names)

    # ---- engine tables -----------------------------------------------------------------------

    def _allocate(self, list trees, list envelopes, venue):
        cdef uint32_t n_nodes = sum(_count_nodes(t.root) for t in trees + envelopes)
        cdef fd_channel* channel
        cdef fd_envelope* envelope
        cdef uint32_t at = 0
        self.plan.nodes = <fd_node*>calloc(n_nodes, sizeof(fd_node))
        self.plan.channels = <fd_channel*>calloc(len(trees), sizeof(fd_channel))
        self.plan.envelopes = <fd_envelope*>calloc(len(envelopes), sizeof(fd_envelope))
        self.plan.cache = <fd_cached_topic*>calloc(CACHE_SLOTS, sizeof(fd_cached_topic))
        self.plan.arena = <uint8_t*>calloc(CACHE_ARENA_BYTES, 1)
        self.programs = <program_t*>calloc(len(trees), sizeof(program_t))
        if (self.plan.nodes == NULL or self.plan.channels == NULL or self.plan.envelopes == NULL
                or self.plan.cache == NULL or self.plan.arena == NULL or self.programs == NULL):
            raise MemoryError
        self.plan.n_nodes = n_nodes
        self.plan.n_channels = len(trees)
        self.plan.n_envelopes = len(envelopes)
        self.plan.cache_mask = CACHE_SLOTS - 1
        self.plan.arena_cap = CACHE_ARENA_BYTES
        for i, tree in enumerate(trees):
            channel = &self.plan.channels[i]
            channel.node = at
            channel.slots = len(tree.slots)
            channel.shapes = tree.shapes
            channel.level.price, channel.level.size = tree.level
            at = self._node(tree.root, tree.slots, at)
        for i, tree in enumerate(envelopes):
            envelope = &self.plan.envelopes[i]
            envelope.node = at
            envelope.fixed = -1
            if tree.channel is not None:
                envelope.fixed = self.channels.index(tree.channel)
            envelope.root_is_payload = tree.root_is_payload
            at = self._node(tree.root, {}, at)

    cdef uint32_t _node(self, dict members, dict slots, uint32_t at) except? 0:
        """Fill node ``at`` and those below it; returns the first free node."""
        cdef fd_node* node = &self.plan.nodes[at]
        cdef fd_key* entry
        cdef uint32_t free_node = at + 1
        cdef uint32_t h
        if len(members) > KEYS_MAX:
            raise ConfigError([f"an object has more than {KEYS_MAX} different keys"])
        node.keys = <fd_key*>calloc(len(members) + 1, sizeof(fd_key))
        if node.keys == NULL:
            raise MemoryError
        used = [slots[p] for p in _slot_paths(members) if p in slots]
        node.slot_lo = min(used, default=0)
        node.slot_hi = max(used, default=-1) + 1
        node.has_levels = _has_levels(members)
        for key, value in members.items():
            raw = key.encode() + bytes(8)
            self._owned.append(raw)
            entry = &node.keys[node.n]
            entry.key = <const uint8_t*><const char*>raw
            entry.len = len(raw) - 8
            memcpy(&entry.prefix, entry.key, 8)
            if isinstance(value, dict):
                entry.op = FD_OP_NODE
                entry.arg = free_node
                free_node = self._node(value, slots, free_node)
            else:
                entry.op = value[0]
                if value[0] == FD_OP_SLOT:
                    entry.arg = slots.get(value[1], 0)
                elif value[0] == FD_OP_LEVELS:
                    entry.arg = value[1]
            h = fd_key_hash(entry.prefix, entry.len)
            while node.table[h]:
                h = (h + 1) & 63
            node.n += 1
            node.table[h] = node.n
        return free_node

    def _topics(self, venue, list names):
        rows = []
        for e, envelope in enumerate(venue.decode.envelopes):
            if envelope.topic is None:
                continue
            events = envelope.match == "events"
            for i, name in enumerate(names):
                channel = venue.channels[name]
                rows += [(p, i, e) for p in (channel.events if events else channel.topics)]
            control = venue.decode.control_events if events else venue.decode.control_topics
            rows += [(p, FD_CONTROL_TOPIC, e) for p in control]
        self.plan.topics = <fd_topic*>calloc(len(rows) + 1, sizeof(fd_topic))
        if self.plan.topics == NULL:
            raise MemoryError
        cdef fd_topic* topic
        for pattern, channel, e in rows:
            literals, holes = _split_pattern(pattern)
            if len(literals) > FD_PLAN_DEPTH_MAX:
                raise ConfigError([f"topic {pattern!r}: too many placeholders"])
            topic = &self.plan.topics[self.plan.n_topics]
            topic.channel = channel
            topic.envelope = e
            topic.holes = len(holes)
            topic.symbol_at = holes.index("symbol") if "symbol" in holes else -1
            for k, literal in enumerate(literals):
                raw = literal.encode()
                self._owned.append(raw)
                topic.text[k] = <const uint8_t*><const char*>raw
                topic.len[k] = len(raw)
            self.plan.n_topics += 1
        for byte in venue.decode.delimiters.encode():
            self.plan.delimiter[<uint8_t>byte] = 1

    # ---- programs ----------------------------------------------------------------------------

    cdef void _blank(self, program_t* p):
        cdef int i
        p.symbol = p.id = p.trade_sequence = p.quote_sequence = p.next_funding = -1
        p.first = p.current = p.previous = p.type = p.side.slot = p.only = -1
        p.rest_channel = -1
        p.price.slot = p.size.slot = -1
        for i in range(3):
            p.flags[i] = -1
        for i in range(4):
            p.quote[i].slot = -1
        for i in range(DERIV_NUMBERS):
            p.deriv[i].slot = -1
        for i in range(GREEKS_NUMBERS):
            p.greeks[i].slot = -1

    def _common(self, int index, channel, dict slots):
        cdef program_t* p = &self.programs[index]
        p.time_shift = _SHIFT[channel.time_unit]
        for path in channel.time[:3]:
            p.time[p.n_time] = slots[path]
            p.n_time += 1

    def _program(self, int index, channel, dict slots):
        cdef program_t* p = &self.programs[index]
        cdef int i
        self._blank(p)
        self._common(index, channel, slots)
        p.symbol = slots.get(channel.symbol, -1)
        trade = channel.trade or channel.liquidation
        if trade is not None:
            p.yields |= YIELDS_TRADE if channel.trade else YIELDS_LIQUIDATION
            p.price = _field(trade.price, slots)
            p.size = _field(trade.size, slots)
            p.id = slots.get(trade.id, -1)
            p.trade_sequence = slots.get(trade.sequence, -1)
            p.block = trade.block
            for i, path in enumerate((trade.flags.liquidation, trade.flags.block,
                                      trade.flags.combo)):
                p.flags[i] = slots.get(path, -1)
            if trade.side is not None:
                _side_rule(&p.side, trade.side, slots)
        if channel.quote is not None:
            p.yields |= YIELDS_QUOTE
            quote = channel.quote
            for i, number in enumerate((quote.bid_price, quote.bid_size, quote.ask_price,
                                        quote.ask_size)):
                p.quote[i] = _field(number, slots)
            p.quote_sequence = slots.get(quote.sequence, -1)
        if channel.book is not None:
            self._book_program(p, channel.book, slots)
        if channel.deriv is not None:
            p.yields |= YIELDS_DERIV
            for i, name in enumerate(_DERIV):
                p.deriv[i] = _field(getattr(channel.deriv, name), slots)
            p.next_funding = slots.get(channel.deriv.next_funding, -1)
        if channel.greeks is not None:
            p.yields |= YIELDS_GREEKS
            for i, name in enumerate(_GREEKS):
                p.greeks[i] = _field(getattr(channel.greeks, name), slots)
                if name in _IVS:
                    p.greeks[i].zero_absent = 1

    cdef _book_program(self, program_t* p, book, dict slots):
        p.yields |= YIELDS_BOOK
        p.policy = _POLICY[book.policy]
        p.resync = _RESYNC[book.resync]
        p.rank = book.rank
        p.first = slots.get(book.first, -1)
        p.current = slots[book.current]
        p.previous = slots.get(book.previous, -1)
        p.type = slots.get(book.type, -1)
        _text(&p.snapshot_type, book.snapshot_type)
        _text(&p.delta_type, book.delta_type)
        for value in book.snapshot_previous[:4]:
            p.snapshot_previous[p.n_snapshot_previous] = value
            p.n_snapshot_previous += 1

    def _rest_program(self, int index, channel, dict slots):
        cdef program_t* p = &self.programs[index]
        rest = channel.book.rest
        self._blank(p)
        p.time_shift = _SHIFT[channel.time_unit]
        for path in rest.time[:3]:
            p.time[p.n_time] = slots[path]
            p.n_time += 1
        p.yields = YIELDS_BOOK
        p.policy = POLICY_NONE_FULL
        p.current = slots[rest.id]
        p.symbol = slots.get(rest.symbol, -1)


cdef field_t _field(number, dict slots):
    cdef field_t f
    f.slot = -1
    f.shift = 0
    f.zero_absent = 0
    if number is None:
        return f
    if isinstance(number, str):
        f.slot = slots[number]
        return f
    f.slot = slots[number.path]
    f.shift = number.shift
    f.zero_absent = number.zero_absent
    return f


cdef _text(text_t* out, value):
    raw = (value or "").encode()
    if len(raw) > TEXT_MAX:
        raise ConfigError([f"the text {value!r} is longer than {TEXT_MAX} bytes"])
    out.n = len(raw)
    memcpy(out.text, <const char*>raw, len(raw))


cdef _side_rule(side_rule_t* out, rule, dict slots):
    out.slot = slots[rule.path]
    for texts, value in ((rule.buy, 1), (rule.sell, -1)):
        for text in texts:
            if out.n == SIDE_TEXTS:
                raise ConfigError([f"more than {SIDE_TEXTS} texts for the side at {rule.path!r}"])
            _text(&out.text[out.n], text)
            out.value[out.n] = value
            out.n += 1


def _paths(record, names):
    for name in names:
        value = getattr(record, name)
        if value is not None:
            yield value if isinstance(value, str) else value.path


def _channel_tree(name, channel, only):
    tree = _Tree(f"channels.{name}")
    tree.shapes = {
        "object": FD_SHAPE_OBJECT,
        "rows": FD_SHAPE_ROWS,
        "either": FD_SHAPE_OBJECT | FD_SHAPE_ROWS,
    }[channel.payload]
    tree.level = (0, 1)
    for path in (channel.symbol, only.path if only else None, *channel.time):
        tree.slot(path)
    trade = channel.trade or channel.liquidation
    if trade is not None:
        for path in _paths(trade, ("price", "size", "id", "sequence")):
            tree.slot(path)
        if trade.side is not None:
            tree.slot(trade.side.path)
        for path in _paths(trade.flags, ("liquidation", "block", "combo")):
            tree.slot(path)
    if channel.quote is not None:
        for path in _paths(channel.quote,
                           ("bid_price", "bid_size", "ask_price", "ask_size", "sequence")):
            tree.slot(path)
    if channel.book is not None:
        for path in _paths(channel.book, ("current", "previous", "first", "type")):
            tree.slot(path)
        tree.leaf(channel.book.bids, FD_OP_LEVELS, 0)
        tree.leaf(channel.book.asks, FD_OP_LEVELS, 1)
        tree.level = (channel.book.level.price, channel.book.level.size)
    if channel.deriv is not None:
        for path in _paths(channel.deriv, (*_DERIV, "next_funding")):
            tree.slot(path)
    if channel.greeks is not None:
        for path in _paths(channel.greeks, _GREEKS):
            tree.slot(path)
    tree.number(tree.root)
    return tree


def _rest_tree(name, book):
    tree = _Tree(f"channels.{name}.book.rest")
    tree.shapes = FD_SHAPE_OBJECT
    tree.level = (0, 1)
    for path in (book.rest.id, book.rest.symbol, *book.rest.time):
        tree.slot(path)
    tree.leaf(book.rest.bids, FD_OP_LEVELS, 0)
    tree.leaf(book.rest.asks, FD_OP_LEVELS, 1)
    tree.number(tree.root)
    return tree


def _envelope_tree(index, envelope):
    tree = _Tree(f"decode.envelopes[{index}]")
    tree.channel = envelope.channel
    tree.root_is_payload = envelope.payload == ""
    if envelope.topic is not None:
        tree.leaf(envelope.topic, FD_OP_SLOT)
    if envelope.payload:
        tree.leaf(envelope.payload, FD_OP_PAYLOAD)
    return tree


def _count_nodes(members):
    return 1 + sum(_count_nodes(v) for v in members.values() if isinstance(v, dict))


def _slot_paths(members):
    for value in members.values():
        if isinstance(value, dict):
            yield from _slot_paths(value)
        elif value[0] == FD_OP_SLOT:
            yield value[1]


def _has_levels(members):
    return any(
        _has_levels(v) if isinstance(v, dict) else v[0] == FD_OP_LEVELS for v in members.values()
    )


def _split_pattern(pattern):
    """``"{symbol}@depth"`` -> (["", "@depth"], ["symbol"])."""
    literals, holes, rest = [], [], pattern
    while True:
        head, brace, rest = rest.partition("{")
        literals.append(head)
        if not brace:
            return literals, holes
        hole, _, rest = rest.partition("}")
        holes.append(hole)


def compile_plan(venue):
    """The plan of ``venue``."""
    return Plan(venue)
