from libc.stdint cimport uint8_t, uint64_t

cdef enum:
    # what feed() found
    ASM_NOTHING = 0      # a fragment, a ping or a pong: no message yet
    ASM_MESSAGE = 1      # data, size and binary describe a whole message
    ASM_VIOLATION = 2    # close the connection with `code`; the latch is set
    ASM_CLOSE = 3        # a valid close frame; `code` is what it said (1005: nothing); latch set

cdef enum:
    # why a frame was refused; the texts are in assembler.pyx, in this order
    ASM_OK = 0
    ASM_DEAD = 1
    ASM_RSV = 2
    ASM_COMPRESSED = 3
    ASM_OPCODE = 4
    ASM_ORPHAN = 5
    ASM_INTERLEAVED = 6
    ASM_UTF8 = 7
    ASM_TOO_BIG = 8
    ASM_TOO_MANY = 9
    ASM_CONTROL = 10
    ASM_CLOSE_PAYLOAD = 11
    ASM_CLOSE_CODE = 12
    ASM_MEMORY = 13

cdef class Assembler:
    cdef const uint8_t* data      # the message; valid until the next feed()
    cdef size_t size
    cdef bint binary              # the message came in binary frames
    cdef bint dead                # latch: a violation or a close frame was seen
    cdef int code                 # RFC 6455 close code of a violation or close frame
    cdef int reason               # ASM_*: why
    cdef bint check_utf8
    cdef size_t message_max
    cdef bint _open               # inside a fragmented message
    cdef bint _text
    cdef uint64_t _fragments
    cdef uint8_t* _buffer
    cdef size_t _capacity
    cdef size_t _used
    cdef int _need                # continuation bytes that the UTF-8 sequence still wants
    cdef uint8_t _low
    cdef uint8_t _high
    cdef bytes _last              # copy for Python callers only

    cdef int feed(self, int opcode, bint fin, int rsv, const uint8_t* p, size_t n) noexcept nogil
    cdef void restart(self) noexcept nogil
    cdef int _fail(self, int code, int reason) noexcept nogil
    cdef int _control(self, int opcode, bint fin, const uint8_t* p, size_t n) noexcept nogil
    cdef int _append(self, const uint8_t* p, size_t n) noexcept nogil
    cdef bint _utf8(self, const uint8_t* p, size_t n) noexcept nogil
