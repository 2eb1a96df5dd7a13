"""What is wrong with messages: bad frames, fields that changed, checksums that never match.

Each is a record in the ring, a counter, and a sample for the log; the feed goes on.
"""

from collections import namedtuple

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from feedd.decode.engine cimport fd_val
from feedd.decode.plan cimport YIELDS_BOOK, program_t
from feedd.pipeline.drift cimport (
    DRIFT_CONSTANT, DRIFT_TYPE, DRIFT_VANISHED, drift_note, drift_t,
)
from feedd.pipeline.instrument cimport instrument_t, table_t
from feedd.pipeline.output cimport (
    EVENT_BAD_FRAME, EVENT_DRIFT, EVENT_RULE_CHANGED, SCOPE_VENUE, stamp_t,
)
from feedd.pipeline.publish cimport Publisher
from feedd.pipeline.verify cimport rule_t
from feedd.shm.feedd cimport FEEDD_NO_SEQUENCE

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_bad_frames
        FEEDD_C_drift_alarms

from feedd.decode import salvage

BadFrame = namedtuple("BadFrame", "venue line reason sample")
Alarm = namedtuple("Alarm", "venue channel field what sample")

cdef dict DRIFT_NAMES = {
    DRIFT_VANISHED: "vanished", DRIFT_TYPE: "another type", DRIFT_CONSTANT: "stands still",
}

cdef int BAD_SAMPLES = 16
cdef int BAD_SAMPLE_BYTES = 200


cdef class Alarms(Publisher):
    cdef void _watch(
        self, int venue, const program_t* program, int64_t ts_recv, int line
    ) noexcept nogil:
        """Are the fields of this channel still what they were?"""
        if drift_note(
                self.venues[venue].drift, &self.m, self.m.channel, program.symbol, ts_recv):
            with gil:
                self._drifted(venue, ts_recv, line)

    cdef _drifted(self, int venue, int64_t ts_recv, int line):
        cdef const drift_t* d = self.venues[venue].drift
        cdef const fd_val* v
        plan = self._plans[venue]
        field = plan.slot_paths[self.m.channel][d.field]
        v = self.m.slots + d.field
        sample = b"" if d.what == DRIFT_VANISHED else <bytes>self.m.base[v.off:v.off + v.len]
        self._alarm(
            EVENT_DRIFT, venue, plan.channels[self.m.channel], field, DRIFT_NAMES[d.what],
            sample[:BAD_SAMPLE_BYTES], ts_recv, line)
        self.c[FEEDD_C_drift_alarms] += 1

    cdef _rule_changed(self, int64_t ts_recv, int line):
        cdef rule_t* rule = self.books.changed_rule
        self.books.changed_rule = NULL
        self._alarm(
            EVENT_RULE_CHANGED, rule.venue, self._plans[rule.venue].channels[rule.channel],
            "checksum", "every one fails" if rule.given_up else "matches again", b"", ts_recv,
            line)

    cdef _alarm(self, int code, int venue, channel, field, what, sample, ts_recv, line):
        self.status(
            code, ts_recv, scope=SCOPE_VENUE, line=line,
            text=f"{self._plans[venue].venue} {channel} {field}: {what}")
        if len(self._alarms) < BAD_SAMPLES:
            self._alarms.append(Alarm(venue, channel, field, what, sample))

    cdef int _bad_frame(
        self, int venue, int64_t ts_recv, int line, const char* why, const uint8_t* p, size_t n
    ) noexcept nogil:
        cdef stamp_t s
        memset(&s, 0, sizeof(s))
        s.ts_recv = ts_recv
        s.sequence = FEEDD_NO_SEQUENCE
        s.line = line
        self.c[FEEDD_C_bad_frames] += 1
        self.out.status(NULL, &s, EVENT_BAD_FRAME, 0, 0, 0, why)
        with gil:
            if len(self._bad) < BAD_SAMPLES:
                self._bad.append(BadFrame(
                    venue, line, why.decode(),
                    <bytes>p[:n if n < <size_t>BAD_SAMPLE_BYTES else BAD_SAMPLE_BYTES]))
        return RESULT_BAD

    cdef int _refuse(
        self, int venue, int64_t ts_recv, int line, const char* why, const uint8_t* p, size_t n,
        const program_t* program
    ) noexcept nogil:
        cdef int result = self._bad_frame(venue, ts_recv, line, why, p, n)
        cdef const table_t* table = self.venues[venue].table
        cdef uint32_t i
        if program != NULL and not program.yields & YIELDS_BOOK:
            return result
        for i in range(table.n):
            if self.books.would_miss(table.items[i], line):
                with gil:
                    self._doubt(venue, ts_recv, line, <bytes>p[:n], program != NULL)
                break
        return result

    cdef _doubt(self, int venue, int64_t ts_recv, int line, bytes message, bint is_book):
        """Books without numbers cannot tell later whether a change was in what was refused. What
        looks like no message of a book costs none: something else may have been cut to pieces."""
        cdef const table_t* table = self.venues[venue].table
        cdef instrument_t** found
        cdef instrument_t* x
        cdef uint32_t i
        cdef uint32_t n = 0
        marks = self._plans[venue].marks
        about = True if is_book else salvage.holds_book(marks, message)
        if about is False:
            return
        rows = [i for i in range(table.n) if table.items[i].book_channel >= 0]
        symbols = []
        for i in rows:
            x = table.items[i]
            symbols.append(<bytes>x.symbol[:x.symbol_n])
        named = [
            i for i, is_in in zip(rows, salvage.named_in(marks, message, symbols), strict=True)
            if is_in
        ]
        lost = named if named or about is None else rows
        found = <instrument_t**>malloc((len(lost) + 1) * sizeof(void*))
        if found == NULL:
            return
        for i in lost:
            if self.books.would_miss(table.items[i], line):
                found[n] = table.items[i]
                n += 1
        self.books.refused(found, n, bool(named), line, ts_recv)
        free(found)
