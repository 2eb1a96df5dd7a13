"""A window on the native engine for tests: what it accepts and what it reads, value by value."""

from libc.math cimport isinf
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from feedd.decode.engine cimport (
    FD_ABSENT, FD_BAD_JSON, FD_FALSE, FD_NULL, FD_NUM, FD_OP_LEVELS, FD_OP_NODE, FD_OP_SLOT,
    FD_PADDING, FD_SHAPE_OBJECT, FD_SHAPE_ROWS, FD_STR, FD_TRUE, fd_channel, fd_dec,
    fd_decimal_init, fd_is_padded, fd_key, fd_key_hash, fd_level, fd_levels, fd_msg,
    fd_msg_free, fd_node,
    fd_plan, fd_rfc3339, fd_scan_dec, fd_text_u64, fd_to_double, fd_unescape, fd_val,
)
from feedd.decode.native cimport decode_as

KEYS_MAX = 48

if not fd_decimal_init():
    raise MemoryError("no locale object for number conversion")


cdef uint8_t* _padded(const uint8_t[::1] data) except NULL:
    """A copy that ends exactly at the engine's padding, so that a sanitizer sees reads behind."""
    cdef size_t n = data.shape[0]
    cdef uint8_t* copy = <uint8_t*>calloc(n + FD_PADDING, 1)
    if copy == NULL:
        raise MemoryError
    if n:
        memcpy(copy, &data[0], n)
    return copy


cdef class _Probe:
    """A plan of one channel whose rows have the given dotted paths, and one message."""

    cdef fd_plan plan
    cdef fd_msg msg
    cdef uint8_t* text
    cdef list owned
    cdef list paths

    def __cinit__(self, list paths, dict levels):
        memset(&self.plan, 0, sizeof(self.plan))
        memset(&self.msg, 0, sizeof(self.msg))
        self.owned = []
        tree = {}
        for path in paths:
            self._leaf(tree, path, FD_OP_SLOT)
        for path, side in levels.items():
            self._leaf(tree, path, FD_OP_LEVELS + 100 * side)
        self.paths = []
        self.plan.nodes = <fd_node*>calloc(self._count(tree), sizeof(fd_node))
        self.plan.channels = <fd_channel*>calloc(1, sizeof(fd_channel))
        if self.plan.nodes == NULL or self.plan.channels == NULL:
            raise MemoryError
        self._node(tree, "")
        self.plan.n_channels = 1
        self.plan.channels[0].slots = <uint16_t>len(self.paths)
        self.plan.channels[0].shapes = FD_SHAPE_OBJECT | FD_SHAPE_ROWS
        self.plan.channels[0].each_node = -1
        self.plan.channels[0].level.price = 0
        self.plan.channels[0].level.size = 1
        self.msg.plan = &self.plan

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.plan.n_nodes):
            free(self.plan.nodes[i].keys)
        free(self.plan.nodes)
        free(self.plan.channels)
        fd_msg_free(&self.msg)
        free(self.text)

    def _leaf(self, tree, path, op):
        node = tree
        *above, last = path.split(".")
        for key in above:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise ValueError(f"{path!r} goes through a value")
        if last in node:
            raise ValueError(f"{path!r} is there twice, or is an object")
        node[last] = op

    def _count(self, tree):
        return 1 + sum(self._count(v) for v in tree.values() if isinstance(v, dict))

    def _node(self, tree, prefix):
        cdef uint32_t at = self.plan.n_nodes
        cdef fd_node* node = &self.plan.nodes[at]
        cdef fd_key* entry
        cdef uint32_t h
        if len(tree) > KEYS_MAX:
            raise ValueError(f"more than {KEYS_MAX} keys in one object")
        self.plan.n_nodes += 1
        node.keys = <fd_key*>calloc(len(tree) + 1, sizeof(fd_key))
        if node.keys == NULL:
            raise MemoryError
        node.slot_lo = <uint16_t>len(self.paths)
        for key, value in tree.items():
            raw = key.encode() + bytes(8)
            self.owned.append(raw)
            entry = &node.keys[node.n]
            entry.key = <const uint8_t*><const char*>raw
            entry.len = <uint32_t>(len(raw) - 8)
            memcpy(&entry.prefix, entry.key, 8)
            if isinstance(value, dict):
                entry.op = FD_OP_NODE
                entry.arg = self.plan.n_nodes
                node.has_levels |= self._node(value, f"{prefix}{key}.")
            elif value == FD_OP_SLOT:
                entry.op = FD_OP_SLOT
                entry.arg = <uint16_t>len(self.paths)
                self.paths.append(f"{prefix}{key}")
            else:
                entry.op = FD_OP_LEVELS
                entry.arg = value // 100
                node.has_levels = 1
            h = fd_key_hash(entry.prefix, entry.len)
            while node.table[h]:
                h = (h + 1) & 63
            node.n += 1
            node.table[h] = node.n
        node.slot_hi = <uint16_t>len(self.paths)
        return node.has_levels

    def decode(self, const uint8_t[::1] data):
        self.text = _padded(data)
        return decode_as(&self.msg, self.text, data.shape[0], 0)

    cdef object _value(self, fd_val v):
        cdef const uint8_t* p = self.text + v.off
        cdef uint8_t inexact = 0
        cdef uint64_t whole
        cdef fd_dec d
        cdef bytearray out
        cdef size_t n
        if v.type == FD_NULL:
            return None
        if v.type == FD_TRUE or v.type == FD_FALSE:
            return v.type == FD_TRUE
        if v.type == FD_STR:
            if not v.escaped:
                return p[:v.len].decode("utf-8")
            out = bytearray(v.len)
            n = fd_unescape(p, v.len, <uint8_t*><char*>out)
            return bytes(out[:n]).decode("utf-8")
        if v.type == FD_NUM:
            if fd_text_u64(p, v.len, &whole):
                return whole
            fd_scan_dec(p, &d)
            return fd_to_double(d, 0, p, v.len, &inexact)
        return bytes(p[:v.len])

    def row(self, uint32_t row):
        cdef uint32_t slots = self.plan.channels[0].slots
        found = {}
        for i, path in enumerate(self.paths):
            if self.msg.slots[row * slots + <uint32_t>i].type != FD_ABSENT:
                found[path] = self._value(self.msg.slots[row * slots + <uint32_t>i])
        return found

    def side(self, uint32_t row, uint32_t side):
        cdef fd_levels range_ = self.msg.sides[row * 2 + side]
        cdef fd_level* level
        if range_.seen != 1:
            return None
        found = []
        for i in range(range_.start, range_.start + range_.count):
            level = &self.msg.levels[i]
            found.append((level.price, level.size, bool(level.inexact)))
        return found

    @property
    def rows(self):
        return self.msg.rows


def valid(data):
    """Does the engine accept the bytes as one JSON document?"""
    return _Probe([], {}).decode(data) != FD_BAD_JSON


def number(text, int shift=0):
    """``text * 10**shift`` as ``(float64, inexact)``."""
    cdef const uint8_t[::1] data = text
    cdef uint8_t* copy = _padded(data)
    cdef uint8_t inexact = 0
    cdef fd_dec d
    cdef double value
    cdef const uint8_t* end
    try:
        end = fd_scan_dec(copy, &d)
        if end == NULL or end != copy + data.shape[0]:
            return None
        value = fd_to_double(d, shift, copy, data.shape[0], &inexact)
        return None if isinf(value) else (value, bool(inexact))
    finally:
        free(copy)


def time(text):
    """Nanoseconds of an RFC 3339 text; None: not one; "beyond": more than 64 bits of them hold."""
    cdef const uint8_t[::1] data = text
    cdef uint8_t* copy = _padded(data)
    cdef int64_t out
    cdef int found
    try:
        found = fd_rfc3339(copy, data.shape[0], &out)
        return (None, out, "beyond")[found]
    finally:
        free(copy)


def is_padded(size_t start, size_t n):
    """May what is behind ``n`` bytes at this address be read? Nothing is."""
    return bool(fd_is_padded(<const uint8_t*>start, n))


def extract(list paths, data):
    """Values at dotted paths of an object; None when the engine rejects the bytes."""
    probe = _Probe(paths, {})
    if probe.decode(data) == FD_BAD_JSON:
        return None
    return probe.row(0) if probe.rows == 1 and bytes(data).lstrip()[:1] == b"{" else {}


def extract_rows(list paths, str bids, str asks, data):
    """Every row of an object or of a list of objects, with its two level lists."""
    probe = _Probe(paths, {bids: 0, asks: 1})
    if probe.decode(data) == FD_BAD_JSON:
        return None
    return [(probe.row(i), probe.side(i, 0), probe.side(i, 1)) for i in range(probe.rows)]
