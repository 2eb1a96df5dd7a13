"""From WebSocket frames to messages: what picows leaves to its user (RFC 6455 sections 5 and 7).

picows delivers frames and checks their headers. The assembler joins fragments, refuses what the
protocol forbids, and latches: after the first violation or close frame nothing is a message any
more, whatever else the peer had already sent. It holds no Python object and needs no GIL; one
assembler belongs to one connection and one thread.

A message of one frame is passed through without a copy. Fragments are joined in a buffer that
never grows beyond ``message_max`` bytes. UTF-8 is checked only with ``check_utf8``: the JSON engine
validates every text anyway, and the hot path must not pay for it twice.
"""

from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

cdef enum:
    FRAGMENTS_MAX = 65536
    KEEP_BYTES = 1048576  # a buffer larger than this is given back after its message

NOTHING = ASM_NOTHING
MESSAGE = ASM_MESSAGE
VIOLATION = ASM_VIOLATION
CLOSE = ASM_CLOSE

REASONS = (
    "",
    "a frame after the end of the connection",
    "reserved bits are set",
    "a compressed frame, though compression was not negotiated",
    "unknown opcode",
    "a continuation frame without a message",
    "a new message inside a fragmented one",
    "text that is not UTF-8",
    "message larger than the limit",
    "message in too many fragments",
    "fragmented or oversized control frame",
    "close frame with a payload of one byte",
    "close frame with a code that must not be sent",
    "no memory for the message",
)


cdef bint _close_code_ok(int code) noexcept nogil:
    """RFC 6455 section 7.4: codes that an endpoint may send."""
    if 3000 <= code <= 4999:
        return True
    return 1000 <= code <= 1014 and code != 1004 and code != 1005 and code != 1006


cdef class Assembler:

    def __cinit__(self, size_t message_max, bint check_utf8=False):
        if message_max < 125:
            raise ValueError(f"message_max must be at least 125 bytes, not {message_max}")
        self.message_max = message_max
        self.check_utf8 = check_utf8
        self._buffer = NULL
        self._capacity = 0
        self.restart()

    def __dealloc__(self):
        free(self._buffer)

    cdef void restart(self) noexcept nogil:
        """Forget everything: a new connection begins."""
        self.data = NULL
        self.size = 0
        self.binary = False
        self.dead = False
        self.code = 0
        self.reason = ASM_OK
        self._open = False
        self._text = False
        self._fragments = 0
        self._used = 0
        self._need = 0
        if self._capacity > KEEP_BYTES:
            free(self._buffer)
            self._buffer = NULL
            self._capacity = 0

    cdef int _fail(self, int code, int reason) noexcept nogil:
        self.dead = True
        self.code = code
        self.reason = reason
        self.data = NULL
        self.size = 0
        self._open = False
        return ASM_VIOLATION

    cdef int feed(self, int opcode, bint fin, int rsv, const uint8_t* p, size_t n) noexcept nogil:
        """One frame; ``rsv`` is the three reserved bits, RSV1 = 4. Returns ASM_*."""
        if self.dead:
            if self.reason == ASM_OK:
                self.reason = ASM_DEAD
            return ASM_VIOLATION
        if rsv != 0:
            return self._fail(1002, ASM_COMPRESSED if rsv == 4 and opcode < 8 else ASM_RSV)
        if opcode >= 8:
            return self._control(opcode, fin, p, n)
        if opcode == 0:
            if not self._open:
                return self._fail(1002, ASM_ORPHAN)
        elif opcode > 2:
            return self._fail(1002, ASM_OPCODE)
        elif self._open:
            return self._fail(1002, ASM_INTERLEAVED)
        if n > self.message_max:
            return self._fail(1009, ASM_TOO_BIG)

        if opcode != 0:
            self._text = opcode == 1
            self._need = 0
        if self.check_utf8 and self._text:
            if not self._utf8(p, n) or (fin and self._need != 0):
                return self._fail(1007, ASM_UTF8)

        if opcode != 0 and fin:
            self.data = p
            self.size = n
            self.binary = opcode == 2
            return ASM_MESSAGE

        if opcode != 0:
            if self._capacity > KEEP_BYTES:
                free(self._buffer)
                self._buffer = NULL
                self._capacity = 0
            self._open = True
            self._used = 0
            self._fragments = 0
        self._fragments += 1
        if self._fragments > FRAGMENTS_MAX:
            return self._fail(1009, ASM_TOO_MANY)
        if n > self.message_max - self._used:
            return self._fail(1009, ASM_TOO_BIG)
        if self._append(p, n) != 0:
            return self._fail(1009, ASM_MEMORY)
        if not fin:
            return ASM_NOTHING
        self._open = False
        self.data = self._buffer
        self.size = self._used
        self.binary = not self._text
        return ASM_MESSAGE

    cdef int _append(self, const uint8_t* p, size_t n) noexcept nogil:
        cdef size_t need = self._used + n
        cdef size_t capacity
        cdef uint8_t* grown
        if need > self._capacity or self._buffer == NULL:
            capacity = self._capacity * 2 if self._capacity else 4096
            while capacity < need:
                capacity *= 2
            grown = <uint8_t*>realloc(self._buffer, capacity)
            if grown == NULL:
                return -1
            self._buffer = grown
            self._capacity = capacity
        if n:
            memcpy(self._buffer + self._used, p, n)
        self._used = need
        return 0

    cdef int _control(self, int opcode, bint fin, const uint8_t* p, size_t n) noexcept nogil:
        cdef int code
        if opcode > 10:
            return self._fail(1002, ASM_OPCODE)
        if not fin or n > 125:
            return self._fail(1002, ASM_CONTROL)
        if opcode != 8:
            return ASM_NOTHING
        if n == 0:
            code = 1005
        elif n == 1:
            return self._fail(1002, ASM_CLOSE_PAYLOAD)
        else:
            code = (p[0] << 8) | p[1]
            if not _close_code_ok(code):
                return self._fail(1002, ASM_CLOSE_CODE)
            self._need = 0
            if not self._utf8(p + 2, n - 2) or self._need != 0:
                return self._fail(1007, ASM_UTF8)
        self.dead = True
        self.code = code
        self._open = False
        return ASM_CLOSE

    cdef bint _utf8(self, const uint8_t* p, size_t n) noexcept nogil:
        """Go on validating; a sequence may be split anywhere, ``_need`` tells what is missing."""
        cdef size_t i = 0
        cdef uint64_t word
        cdef uint8_t c
        while i < n:
            if self._need == 0:
                while i + 8 <= n:
                    memcpy(&word, p + i, 8)
                    if word & <uint64_t>0x8080808080808080:
                        break
                    i += 8
                if i == n:
                    break
            c = p[i]
            i += 1
            if self._need:
                if c < self._low or c > self._high:
                    return False
                self._need -= 1
                self._low = 0x80
                self._high = 0xBF
                continue
            if c < 0x80:
                continue
            if c < 0xC2 or c > 0xF4:
                return False
            self._low = 0x80
            self._high = 0xBF
            if c < 0xE0:
                self._need = 1
            elif c < 0xF0:
                self._need = 2
                if c == 0xE0:
                    self._low = 0xA0  # shorter forms exist
                elif c == 0xED:
                    self._high = 0x9F  # surrogates
            else:
                self._need = 3
                if c == 0xF0:
                    self._low = 0x90
                elif c == 0xF4:
                    self._high = 0x8F  # above U+10FFFF
        return True

    # -- the same for Python: tests, tools ------------------------------------------------------

    def feed_frame(self, int opcode, bint fin, int rsv, const uint8_t[::1] payload not None):
        """One frame; returns NOTHING, MESSAGE, VIOLATION or CLOSE. ``payload`` may be reused."""
        cdef size_t n = payload.shape[0]
        cdef const uint8_t* p = &payload[0] if n else <const uint8_t*>b""
        cdef int result = self.feed(opcode, fin, rsv, p, n)
        self._last = bytes(self.data[:self.size]) if result == ASM_MESSAGE else None
        return result

    def reset(self):
        self.restart()
        self._last = None

    @property
    def message(self):
        """The bytes of the last message, or None."""
        return self._last

    @property
    def is_binary(self):
        return self.binary

    @property
    def is_dead(self):
        return self.dead

    @property
    def close_code(self):
        return self.code

    @property
    def violation(self):
        """Why the connection must be closed, for people; empty when it need not."""
        return REASONS[self.reason]
