"""Compile a venue description into the tables that the native engine walks."""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from feedd.decode.engine cimport (
    FD_CONTROL_TOPIC, FD_COUNT, FD_ENV_MAX, FD_NO_SLOT, FD_OP_EACH, FD_OP_LEVELS,
    FD_OP_NODE, FD_OP_PAYLOAD, FD_OP_SLOT, FD_OP_TOPIC, FD_PARENT_MAX, FD_PLAN_DEPTH_MAX,
    FD_POSITIONS, FD_PRICE, FD_SHAPE_OBJECT, FD_SHAPE_ROWS, FD_SHAPE_VALUE, FD_SIDE,
    FD_SIDE_TEXT_MAX, FD_SIZE, FD_TEXT_MAX, fd_cached_topic, fd_channel, fd_decimal_init,
    fd_envelope, fd_key, fd_key_hash, fd_level_shape, fd_node, fd_templates_free, fd_templates_new,
    fd_text, fd_topic,
)

from feedd.decode import salvage
from feedd.decode import trees as key_trees
from feedd.errors import ConfigError
from feedd.records import DERIV_FIELDS, GREEKS_FIELDS
from feedd.shm.rows import InstrumentStatus
from feedd.venues.schema import RowFilter, TimeField

KEYS_MAX = 48
SLOTS_MAX = 60
CACHE_SLOTS = 16384          # a power of two, twice the topics remembered at most
CACHE_ARENA_BYTES = 512 * 1024

_SHIFT = {"s": 9, "ms": 6, "us": 3, "ns": 0, "rfc3339": TIME_RFC3339}
_POLICY = {
    "none_full": POLICY_NONE_FULL,
    "prev_link": POLICY_PREV_LINK,
    "prev_link_rest": POLICY_PREV_LINK_REST,
    "range_plus_one": POLICY_RANGE,
    "range_plus_one_rest": POLICY_RANGE_REST,
    "plus_one": POLICY_PLUS_ONE,
    "checksum_only": POLICY_CHECKSUM,
    "keyed_rows": POLICY_KEYED_ROWS,
    "trust_tcp": POLICY_TRUST,
}
_RESYNC = {
    "none": RESYNC_NONE, "resubscribe": RESYNC_RESUBSCRIBE, "rest": RESYNC_REST,
    "reconnect": RESYNC_RECONNECT,
}
_SNAPSHOT = {"type": SNAPSHOT_TYPE, "always": SNAPSHOT_ALWAYS, "rows": SNAPSHOT_ROWS}
_SHAPES = {
    "object": FD_SHAPE_OBJECT,
    "rows": FD_SHAPE_ROWS,
    "either": FD_SHAPE_OBJECT | FD_SHAPE_ROWS,
    "value": FD_SHAPE_VALUE,
}
_IVS = frozenset(("mark_iv", "bid_iv", "ask_iv"))


cdef class Plan:
    def __cinit__(self, *args, **kwargs):
        memset(&self.plan, 0, sizeof(self.plan))
        self.programs = NULL
        self._owned = []

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.plan.n_nodes):
            free(self.plan.nodes[i].keys)
        for i in range(self.plan.n_channels if self.programs != NULL else 0):
            free(self.programs[i].state)
        free(self.plan.nodes)
        free(self.plan.channels)
        free(self.plan.topics)
        free(self.plan.envelopes)
        free(self.plan.cache)
        free(self.plan.arena)
        fd_templates_free(self.plan.templates)
        free(self.programs)

    def __init__(self, venue):
        if not fd_decimal_init():
            raise MemoryError("no locale object for number conversion")
        decode = venue.decode
        self.venue = venue.name
        self.future_ns_max = decode.future_ms_max * 1_000_000
        self.upper_case = decode.symbol_case == "upper"
        self.learn = decode.learn
        self.marks = salvage.marks_of(venue)
        self.depth_rules = {
            name: channel.book.depth for name, channel in venue.channels.items()
            if channel.book is not None and channel.book.depth is not None
        }
        trees = key_trees.channel_trees(venue)
        self.channels = tuple(trees)
        self.slot_paths = tuple(tuple(tree.slots) for tree in trees.values())
        # the counter of the connection is value 0 of the message
        env = []
        if decode.connection_sequence is not None:
            self.has_connection_sequence = True
            self.connection_first = decode.connection_sequence.first
            env.append(decode.connection_sequence.path)
        env += [e.when.path for e in decode.envelopes if e.when is not None]
        env += [e.control_if for e in decode.envelopes if e.control_if is not None]
        env += [c.symbol_of_none for c in venue.channels.values() if c.symbol_of_none is not None]
        for tree in trees.values():
            env += tree.env
        env = list(dict.fromkeys(env))
        envelopes = key_trees.envelope_trees(venue, env)
        problems = [p for tree in (*trees.values(), *envelopes) for p in tree.problems]
        problems += [
            f"{tree.where}: more than {SLOTS_MAX} different fields"
            for tree in trees.values() if len(tree.slots) > SLOTS_MAX
        ]
        problems += [
            f"{tree.where}: more than {FD_PARENT_MAX} different '^.' fields"
            for tree in trees.values() if tree.parents > FD_PARENT_MAX
        ]
        if len(env) > FD_ENV_MAX:
            problems.append(f"decode: more than {FD_ENV_MAX} different '@.' fields")
        if problems:
            raise ConfigError(problems)
        self._allocate(list(trees.values()), envelopes, venue, env)
        names = list(venue.channels)
        cdef int i
        for i, name in enumerate(names):
            self._program(i, venue, venue.channels[name], trees[name].slots)
            if venue.channels[name].symbol_of_none is not None:
                self.programs[i].symbol_of_none = env.index(venue.channels[name].symbol_of_none)
            if f"{name}/rest" in trees:
                self.programs[i].rest_channel = self.channels.index(f"{name}/rest")
        for i, name in enumerate(self.channels[len(names):], len(names)):
            self._rest_program(i, venue.channels[name.removesuffix("/rest")], trees[name].slots)
        for i, name in enumerate(names):
            alias = venue.channels[name].same_stream_as
            if alias is not None:
                self.programs[i].stream = names.index(alias)
                self.programs[i].one_stream = self.programs[names.index(alias)].one_stream = 1
        self._topics(venue, names)

    # ---- engine tables -----------------------------------------------------------------------

    def _allocate(self, list trees, list envelopes, venue, list env):
        roots = [t.row for t in trees] + [t.parent for t in trees if t.parent is not None]
        roots += [e.root for e in envelopes]
        cdef uint32_t n_nodes = sum(_count_nodes(root) for root in roots)
        cdef uint32_t at = 0
        self.plan.nodes = <fd_node*>calloc(n_nodes, sizeof(fd_node))
        self.plan.channels = <fd_channel*>calloc(len(trees), sizeof(fd_channel))
        self.plan.envelopes = <fd_envelope*>calloc(len(envelopes) + 1, sizeof(fd_envelope))
        self.plan.cache = <fd_cached_topic*>calloc(CACHE_SLOTS, sizeof(fd_cached_topic))
        self.plan.arena = <uint8_t*>calloc(CACHE_ARENA_BYTES, 1)
        self.programs = <program_t*>calloc(len(trees), sizeof(program_t))
        self.plan.templates = fd_templates_new()
        if (self.plan.nodes == NULL or self.plan.channels == NULL or self.plan.envelopes == NULL
                or self.plan.cache == NULL or self.plan.arena == NULL or self.programs == NULL
                or self.plan.templates == NULL):
            raise MemoryError
        self.plan.n_nodes = n_nodes
        self.plan.n_channels = len(trees)
        self.plan.n_envelopes = len(envelopes)
        self.plan.n_env = len(env)
        self.plan.cache_mask = CACHE_SLOTS - 1
        self.plan.arena_cap = CACHE_ARENA_BYTES
        for i, tree in enumerate(trees):
            at = self._channel(i, tree, env, at)
            # a REST body writes its levels like the channel that it starts
            book = venue.channels[self.channels[i].removesuffix("/rest")].book
            if book is not None and not book.rows:
                self._level(&self.plan.channels[i].level, book.level)
            else:
                self.plan.channels[i].level.size = 1
        for i, tree in enumerate(envelopes):
            self._envelope(i, venue.decode.envelopes[i], venue, env)
            self.plan.envelopes[i].node = at
            at = self._node(tree.root, {path: k for k, path in enumerate(env)}, at)

    cdef uint32_t _channel(self, int index, tree, list env, uint32_t at) except? 0:
        cdef fd_channel* channel = &self.plan.channels[index]
        channel.slots = len(tree.slots)
        channel.shapes = _SHAPES[tree.shape]
        channel.value_slot = tree.slots.get(".", 0)
        channel.n_parent = tree.parents
        channel.parent_base = tree.own
        channel.n_env = len(tree.env)
        channel.env_base = tree.own + tree.parents
        for k, path in enumerate(tree.env):
            channel.env[k] = env.index(path)
        channel.each_node = -1
        channel.node = at
        if tree.parent is not None:
            bank = {path: slot - tree.own for path, slot in tree.slots.items()}
            at = self._node(tree.parent, bank, at)
            channel.each_node = at
        return self._node(tree.row, tree.slots, at)

    cdef _level(self, fd_level_shape* out, level):
        members = [level.price, level.size, level.side.at if level.side else None, level.count]
        if (isinstance(level.price, int) and isinstance(level.size, int)
                and members[2] is None and members[3] is None):
            out.price, out.size = level.price, level.size
            return
        out.general = 1
        out.is_object = isinstance(level.price, str)
        if members[2] == members[1]:
            members[2] = None      # the sign of the size
        cdef int k
        for k, member in zip((FD_PRICE, FD_SIZE, FD_SIDE, FD_COUNT), members, strict=True):
            if member is None:
                continue
            out.used[k] = 1
            if isinstance(member, int):
                out.at[k] = member
                continue
            raw = member.encode()
            self._owned.append(raw)
            out.key[k] = <const uint8_t*><const char*>raw
            out.key_len[k] = len(raw)
        if level.side is None:
            return
        out.side_sign = level.side.sign
        for texts, value in ((level.side.bid, 0), (level.side.ask, 1)):
            for text in texts:
                raw = text.encode()
                if out.n_side == 4 or len(raw) > FD_SIDE_TEXT_MAX:
                    raise ConfigError([f"level.side: {text!r} is too long or one too many"])
                out.side_value[out.n_side] = value
                out.side_len[out.n_side] = len(raw)
                memcpy(out.side_text[out.n_side], <const char*>raw, len(raw))
                out.n_side += 1

    cdef _envelope(self, int index, envelope, venue, list env):
        cdef fd_envelope* out = &self.plan.envelopes[index]
        out.fixed = -1
        if envelope.channel is not None:
            out.fixed = self.channels.index(envelope.channel)
        out.root_is_payload = envelope.payload == ""
        out.tagged = envelope.tagged
        out.missing_is_control = envelope.without_payload == "control"
        out.separator = <uint8_t>ord(venue.decode.delimiters[0])
        out.control_if = FD_NO_SLOT
        if envelope.control_if is not None:
            out.control_if = env.index(envelope.control_if)
        if envelope.when is not None:
            out.when = env.index(envelope.when.path)
            for text in envelope.when.values:
                _text(&out.when_text[out.n_when], text)
                out.n_when += 1
        for text in envelope.bare_tags:
            _text(&out.bare[out.n_bare], text)
            out.n_bare += 1

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
        used = [slots[p] for p in _leaves(members, "slot") if p in slots]
        node.slot_lo = min(used, default=0)
        node.slot_hi = max(used, default=-1) + 1
        node.has_levels = any(True for _ in _leaves(members, "levels"))
        node.has_topic = any(True for _ in _leaves(members, "topic"))
        node.has_payload = any(True for _ in _leaves(members, "payload"))
        node.positional = key_trees.is_position(members)
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
                kind, arg = value
                entry.op = _OPS[kind]
                entry.arg = 0
                if kind == "levels":
                    entry.arg = arg
                elif kind == "slot" or kind == "topic":
                    entry.arg = slots.get(arg, FD_NO_SLOT)
            h = fd_key_hash(entry.prefix, entry.len)
            while node.table[h]:
                h = (h + 1) & 63
            node.n += 1
            node.table[h] = node.n
            if key.isdecimal() and int(key) < FD_POSITIONS:
                node.at[int(key)] = node.n
        return free_node

    def _topics(self, venue, list names):
        rows = []
        for e, envelope in enumerate(venue.decode.envelopes):
            if envelope.topic is None:
                continue
            for i, name in enumerate(names):
                rows += [(p, i, e) for p in getattr(venue.channels[name], envelope.match)]
            control = {
                "topics": venue.decode.control_topics,
                "events": venue.decode.control_events,
                "names": (),
            }[envelope.match]
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
            topic.to_end = (venue.decode.symbol_to_end and holes[-1:] == ["symbol"]
                            and not literals[-1])
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
        p.symbol = p.symbol_of_none = p.id = p.trade_sequence = p.quote_sequence = -1
        p.next_funding = -1
        p.first = p.current = p.previous = p.type = p.side.slot = -1
        p.foreign.slot = p.only.slot = p.replay_when.slot = -1
        p.rest_channel = -1
        p.price.slot = p.size.slot = -1
        p.checksum.slot = p.checksum_slot = -1
        p.level_price = p.level_size = p.level_count = p.level_id = p.level_side.slot = -1
        for i in range(FLAGS_MAX):
            p.flags[i].slot = -1
        for i in range(4):
            p.quote[i].slot = -1
        for i in range(DERIV_NUMBERS):
            p.deriv[i].slot = -1
        for i in range(GREEKS_NUMBERS):
            p.greeks[i].slot = -1

    cdef _times(self, program_t* p, paths, unit, dict slots):
        for time in paths[:3]:
            p.time[p.n_time] = slots[key_trees.path_of(time)]
            p.time_shift[p.n_time] = _SHIFT[time.unit if isinstance(time, TimeField) else unit]
            p.n_time += 1

    def _program(self, int index, venue, channel, dict slots):
        cdef program_t* p = &self.programs[index]
        cdef int i
        self._blank(p)
        p.stream = index
        self._times(p, channel.time, channel.time_unit, slots)
        p.symbol = slots.get(channel.symbol, -1)
        if channel.symbol_pattern is not None:
            before, _, after = channel.symbol_pattern.partition("{symbol}")
            _text(&p.symbol_prefix, before)
            p.symbol_cut = 1
            p.symbol_end = <uint8_t>ord(after[0]) if after else 0
        if venue.decode.only is not None:
            _filter(&p.foreign, venue.decode.only, slots)
        if channel.only is not None:
            _filter(&p.only, channel.only, slots)
        if channel.trade is not None:
            p.yields |= YIELDS_TRADE
            self._trade_program(p, channel.trade, slots)
        elif channel.liquidation is not None:
            p.yields |= YIELDS_LIQUIDATION
            self._trade_program(p, channel.liquidation, slots)
        if channel.quote is not None:
            p.yields |= YIELDS_QUOTE
            quote = channel.quote
            for i, number in enumerate((quote.bid_price, quote.bid_size, quote.ask_price,
                                        quote.ask_size)):
                p.quote[i] = _field(number, slots)
            p.quote_sequence = slots.get(quote.sequence, -1)
            counter = venue.decode.connection_sequence
            p.quote_ordered = counter is None or quote.sequence != counter.path
            p.quote_optional = quote.optional
        if channel.book is not None:
            self._book_program(p, channel.book, slots)
        if channel.checksum is not None:
            p.yields |= YIELDS_CHECKSUM
            p.checksum_slot = slots[channel.checksum.path]
        if channel.deriv is not None:
            p.yields |= YIELDS_DERIV
            for i, name in enumerate(DERIV_FIELDS[:DERIV_NUMBERS]):
                p.deriv[i] = _field(getattr(channel.deriv, name), slots)
            time = channel.deriv.next_funding
            p.next_funding = slots.get(key_trees.path_of(time), -1)
            p.next_funding_shift = _SHIFT[
                time.unit if isinstance(time, TimeField) else channel.time_unit]
        if channel.greeks is not None:
            p.yields |= YIELDS_GREEKS
            for i, name in enumerate(GREEKS_FIELDS):
                p.greeks[i] = _field(getattr(channel.greeks, name), slots)
                if name in _IVS:
                    p.greeks[i].zero_absent = 1

        if channel.state is not None:
            self._state_program(p, channel.state, slots)

    cdef _state_program(self, program_t* p, state, dict slots):
        cdef state_rule_t* rule
        p.yields |= YIELDS_STATE
        p.state = <state_rules_t*>calloc(1, sizeof(state_rules_t))
        if p.state == NULL:
            raise MemoryError
        p.state.word = slots.get(state.word, -1)
        for path in state.facts[:STATE_FACTS]:
            p.state.facts[p.state.n_facts] = slots[path]
            p.state.n_facts += 1
        for given in state.status[:STATE_RULES]:
            rule = &p.state.rule[p.state.n]
            p.state.n += 1
            rule.status = InstrumentStatus[given.value.upper()]
            for path, texts in list(given.when.items())[:STATE_CONDITIONS]:
                values = (texts,) if isinstance(texts, str) else texts
                _filter(&rule.when[rule.n], RowFilter(path=path, values=values), slots)
                rule.n += 1

    cdef _trade_program(self, program_t* p, trade, dict slots):
        p.price = _field(trade.price, slots)
        p.size = _field(trade.size, slots)
        p.id = slots.get(trade.id, -1)
        p.trade_sequence = slots.get(trade.sequence, -1)
        p.block = trade.block
        for i, rules in enumerate(trade.flags.rules()):
            for j, rule in enumerate(rules):
                _filter(&p.flags[i + 3 * j], rule, slots)
        if trade.side is not None:
            _side_rule(&p.side, trade.side.path, trade.side.buy, trade.side.sell,
                       -1 if trade.side.inverted else trade.side.sign, slots)
        if isinstance(trade.replay, RowFilter):
            p.replay = REPLAY_FILTER
            _filter(&p.replay_when, trade.replay, slots)
        elif trade.replay == "rows":
            p.replay = REPLAY_ROWS
        elif trade.replay == "first":
            p.replay = REPLAY_FIRST
        elif trade.replay:
            p.replay = REPLAY_ALWAYS

    cdef _book_program(self, program_t* p, book, dict slots):
        p.yields |= YIELDS_BOOK
        p.policy = _POLICY[book.policy]
        p.resync = _RESYNC[book.resync]
        p.rank = book.rank
        p.snapshot_by = _SNAPSHOT[book.snapshot]
        p.snapshot_reset = book.snapshot_reset
        p.sides_optional = book.sides_optional
        p.type_optional = book.type_optional
        p.rows = book.rows
        p.first = slots.get(book.first, -1)
        p.current = slots.get(book.current, -1)
        p.previous = slots.get(book.previous, -1)
        p.type = slots.get(book.type, -1)
        _texts(&p.snapshot_type, book.snapshot_type)
        _texts(&p.delta_type, book.delta_type)
        _texts(&p.insert_type, book.insert_type)
        _texts(&p.delete_type, book.delete_type)
        for value in book.snapshot_previous[:4]:
            p.snapshot_previous[p.n_snapshot_previous] = value
            p.n_snapshot_previous += 1
        if book.depth is not None:
            for value in sorted(book.depth.values):
                p.depths[p.n_depths] = value
                p.n_depths += 1
        level = book.level
        if book.rows:
            p.level_price = slots[str(level.price)]
            p.level_size = slots[str(level.size)]
            p.level_count = -1 if level.count is None else slots[str(level.count)]
            p.level_id = -1 if level.id is None else slots[level.id]
            if level.side is not None:
                _side_rule(&p.level_side, str(level.side.at), level.side.bid, level.side.ask,
                           level.side.sign, slots)
        if book.checksum is not None:
            rule = book.checksum
            p.checksum.used = 1
            p.checksum.slot = slots.get(rule.path, -1)
            p.checksum.is_signed = rule.signed
            p.checksum.levels = rule.levels
            p.checksum.order = (
                CHECKSUM_INTERLEAVED if rule.order == "interleaved" else CHECKSUM_ASKS_THEN_BIDS)
            p.checksum.join = <uint8_t>ord(rule.join) if rule.join else 0
            p.checksum.digits_only = rule.digits_only
            p.checksum.javascript = rule.number == "javascript"
            p.checksum.negative_asks = rule.negative_asks
            p.checksum.zero_is_none = rule.zero_is_none

    def _rest_program(self, int index, channel, dict slots):
        cdef program_t* p = &self.programs[index]
        rest = channel.book.rest
        self._blank(p)
        p.stream = index
        self._times(p, rest.time, channel.time_unit, slots)
        p.yields = YIELDS_BOOK
        p.policy = POLICY_NONE_FULL
        p.current = slots[rest.id]
        p.symbol = slots.get(rest.symbol, -1)


cdef dict _OPS = {
    "slot": FD_OP_SLOT, "levels": FD_OP_LEVELS, "each": FD_OP_EACH, "topic": FD_OP_TOPIC,
    "payload": FD_OP_PAYLOAD,
}


cdef field_t _field(number, dict slots):
    cdef field_t f
    f.slot = -1
    f.shift = 0
    f.zero_absent = f.negative_absent = f.magnitude = 0
    if number is None:
        return f
    if isinstance(number, str):
        f.slot = slots[number]
        return f
    f.slot = slots[number.path]
    f.shift = number.shift
    f.zero_absent = number.zero_absent
    f.negative_absent = number.negative_absent
    f.magnitude = number.magnitude
    return f


cdef _text(fd_text* out, value):
    raw = (value or "").encode()
    if len(raw) > FD_TEXT_MAX:
        raise ConfigError([f"the text {value!r} is longer than {FD_TEXT_MAX} bytes"])
    out.n = len(raw)
    memcpy(out.text, <const char*>raw, len(raw))


cdef _texts(texts_t* out, value):
    for text in (value,) if isinstance(value, str) else value or ():
        if out.n == TEXTS_MAX:
            raise ConfigError([f"more than {TEXTS_MAX} texts: {value!r}"])
        _text(&out.text[out.n], text)
        out.n += 1


cdef _filter(filter_t* out, rule, dict slots):
    """A ``RowFilter``, or a path whose value has to be there."""
    out.slot = slots[key_trees.path_of(rule)]
    for text in rule.values if isinstance(rule, RowFilter) else ():
        _text(&out.text[out.n], text)
        out.n += 1


cdef _side_rule(side_rule_t* out, path, positive, negative, sign, dict slots):
    out.slot = slots[path]
    out.sign = sign
    for texts, value in ((positive, 1), (negative, -1)):
        for text in texts:
            if out.n == SIDE_TEXTS:
                raise ConfigError([f"more than {SIDE_TEXTS} texts for the side at {path!r}"])
            _text(&out.text[out.n], text)
            out.value[out.n] = value
            out.n += 1


def _count_nodes(members):
    return 1 + sum(_count_nodes(v) for v in members.values() if isinstance(v, dict))


def _leaves(members, kind):
    """Arguments of the leaves of a kind below a node."""
    for value in members.values():
        if isinstance(value, dict):
            yield from _leaves(value, kind)
        elif value[0] == kind:
            yield value[1]


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
