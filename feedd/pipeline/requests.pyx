"""What a book needs from the outside to become whole, asked for within reason.

A book that needs one resync after the other is left alone for a while, longer each time: it costs
the venue's patience, and the other books of the connection theirs.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from feedd.decode.plan cimport (
    RESYNC_NONE, RESYNC_RECONNECT, RESYNC_REST, program_t,
)
from feedd.pipeline.instrument cimport instrument_t
from feedd.pipeline.output cimport EVENT_QUARANTINED, EVENT_RESYNC, Output, stamp_t

from feedd import limits

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_resyncs
        FEEDD_C_requests_dropped
        FEEDD_C_quarantines
        FEEDD_C_books_quarantined

cdef uint32_t REQUESTS_MAX = limits.REQUESTS_MAX
cdef int64_t PAUSE_FIRST_NS = 30_000_000_000
cdef uint32_t PAUSE_DOUBLINGS_MAX = 5        # 16 minutes


cdef class Requests:
    def __cinit__(self, Output out):
        self.out = out
        self.c = out.c

    def __dealloc__(self):
        free(self.requests)
        free(self.quarantined)

    cdef void ask(
        self, instrument_t* x, uint8_t kind, int32_t channel, int32_t line
    ) noexcept nogil:
        """Queue a request for the cold side (the reader's session or the capture driver)."""
        cdef uint32_t cap
        cdef void* grown
        if self.n_requests == self.cap_requests:
            cap = self.cap_requests * 2 if self.cap_requests else 64
            grown = realloc(self.requests, cap * sizeof(request_t))
            if grown == NULL or cap > REQUESTS_MAX:
                if grown != NULL:
                    self.requests = <request_t*>grown
                self.c[FEEDD_C_requests_dropped] += 1
                return
            self.requests = <request_t*>grown
            self.cap_requests = cap
        self.requests[self.n_requests].kind = kind
        self.requests[self.n_requests].instrument = x
        self.requests[self.n_requests].channel = channel
        self.requests[self.n_requests].line = line
        self.n_requests += 1

    cdef void resync(
        self, instrument_t* x, const program_t* p, const stamp_t* s
    ) noexcept nogil:
        """Ask for what makes the book whole again, once until it comes."""
        cdef uint8_t kind = REQUEST_RESUBSCRIBE
        cdef const char* what = b"resubscribe"
        if p.resync == RESYNC_NONE or x.wanted or self._pause(x, s):
            return
        if p.resync == RESYNC_REST:
            kind = REQUEST_SNAPSHOT
            what = b"REST snapshot"
        elif p.resync == RESYNC_RECONNECT:
            kind = REQUEST_RECONNECT
            what = b"reconnect"
        x.wanted = 1
        x.resyncs += 1
        self.c[FEEDD_C_resyncs] += 1
        self.ask(x, kind, x.book_channel, s.line)
        self.out.status(x, s, EVENT_RESYNC, x.state, 0, 0, what)

    cdef bint _pause(self, instrument_t* x, const stamp_t* s) noexcept nogil:
        """A book that needs one resync after the other: is it to be left alone for a while?"""
        cdef uint32_t cap
        cdef int64_t pause
        cdef void* grown
        if self.resyncs_max == 0:
            return False
        if x.quarantined_until:
            return True
        if s.ts_recv - x.resyncs_since > self.window_ns:
            x.resyncs_since = s.ts_recv
            x.resyncs_in = 0
            x.quarantines = 0
        x.resyncs_in += 1
        if x.resyncs_in <= self.resyncs_max:
            return False
        if self.n_quarantined == self.cap_quarantined:
            cap = self.cap_quarantined * 2 if self.cap_quarantined else 64
            grown = realloc(self.quarantined, cap * sizeof(void*))
            if grown == NULL:
                return False
            self.quarantined = <instrument_t**>grown
            self.cap_quarantined = cap
        pause = PAUSE_FIRST_NS << (
            x.quarantines if x.quarantines < PAUSE_DOUBLINGS_MAX else PAUSE_DOUBLINGS_MAX)
        x.quarantines += 1
        x.quarantined_until = s.ts_recv + pause
        x.resyncs_since = x.quarantined_until    # the window goes on behind the pause
        x.resyncs_in = self.resyncs_max - 1      # one try, then the next pause
        self.quarantined[self.n_quarantined] = x
        self.n_quarantined += 1
        self.c[FEEDD_C_quarantines] += 1
        self.c[FEEDD_C_books_quarantined] = self.n_quarantined
        self.out.status(x, s, EVENT_QUARANTINED, x.state, self.resyncs_max, <uint64_t>pause,
                        b"does not heal: no resync for a while")
        return True

    cdef instrument_t* released(self, int64_t now) noexcept nogil:
        """A book whose pause is over and that is still not whole; NULL when there is none."""
        cdef uint32_t i = 0
        cdef instrument_t* x
        while i < self.n_quarantined:
            x = self.quarantined[i]
            if now < x.quarantined_until:
                i += 1
                continue
            x.quarantined_until = 0
            self.n_quarantined -= 1
            self.quarantined[i] = self.quarantined[self.n_quarantined]
            self.c[FEEDD_C_books_quarantined] = self.n_quarantined
            if not x.up and x.book_channel >= 0:
                return x
        return NULL
