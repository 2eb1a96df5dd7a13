"""What belongs to a connection and not to a message: its counter, and the topics it numbered.

Coinbase Advanced Trade and Bitfinex count all messages of a connection together, so that a jump
says that something of that connection was lost, but not what. Bitfinex numbers its channels anew on
every connection.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from feedd.decode.engine cimport FD_LEARNED_MAX, fd_learned

cdef uint32_t LINES_MAX = 65536


cdef class Connections:
    def __cinit__(self):
        self.counters = NULL
        self.learned = NULL
        self._topics = {}

    def __dealloc__(self):
        free(self.counters)
        free(self.learned)

    cdef int sequence(
        self, int32_t line, uint64_t number, uint64_t first, uint64_t* expected
    ) noexcept nogil:
        cdef counter_t* c = self._counter(line)
        if c == NULL:
            return SEQUENCE_NEXT
        expected[0] = c.next
        if not c.known or number == c.next:
            c.known = 1
            c.next = number + 1
            return SEQUENCE_NEXT
        if number == first and c.next > first + 1:
            c.next = number + 1
            return SEQUENCE_ANEW
        if number < c.next:
            return SEQUENCE_OLD
        c.next = number + 1
        return SEQUENCE_GAP

    cdef counter_t* _counter(self, int32_t line) noexcept nogil:
        cdef uint32_t n = self.n_counters
        cdef void* grown
        if line < 0 or <uint32_t>line >= LINES_MAX:
            return NULL
        if <uint32_t>line >= n:
            n = <uint32_t>line * 2 + 16
            grown = realloc(self.counters, n * sizeof(counter_t))
            if grown == NULL:
                return NULL
            self.counters = <counter_t*>grown
            memset(&self.counters[self.n_counters], 0,
                   (n - self.n_counters) * sizeof(counter_t))
            self.n_counters = n
        return &self.counters[line]

    def learn(self, int line, uint64_t number, topic):
        if topic is None:
            self._topics.pop((line, number), None)
        elif len(topic) <= FD_LEARNED_MAX:
            self._topics[line, number] = bytes(topic)
        self._build()

    def forget(self, int line):
        if 0 <= line < <int>self.n_counters:
            self.counters[line].known = 0
        gone = [key for key in self._topics if key[0] == line]
        for key in gone:
            del self._topics[key]
        if gone:
            self._build()

    cdef _build(self):
        cdef uint32_t size = 64
        cdef uint32_t i
        cdef uint64_t number
        cdef bytes topic
        while size < 2 * <uint32_t>len(self._topics) + 2:
            size *= 2
        cdef fd_learned* table = <fd_learned*>calloc(size, sizeof(fd_learned))
        if table == NULL:
            raise MemoryError
        for (line, key), topic in self._topics.items():
            number = key
            i = <uint32_t>((number * <uint64_t>0x9e3779b97f4a7c15) >> 32) & (size - 1)
            while table[i].len:
                i = (i + 1) & (size - 1)
            table[i].id = number
            table[i].line = line
            table[i].len = <unsigned short>len(topic)
            memcpy(table[i].text, <const char*>topic, len(topic))
        free(self.learned)
        self.learned = table
        self.learned_mask = size - 1
