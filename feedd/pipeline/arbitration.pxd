"""Books fed by several connections: the first copy of each message wins."""

from libc.stdint cimport uint32_t, uint64_t

from feedd.decode.plan cimport program_t
from feedd.pipeline.books cimport scratch_t, update_t
from feedd.pipeline.instrument cimport instrument_t, rowkey_t
from feedd.pipeline.lanes cimport lane_t
from feedd.pipeline.numbered cimport Numbered


cdef class Arbiter(Numbered):
    cdef uint64_t* keys
    cdef uint32_t cap_keys
    cdef scratch_t late
    cdef rowkey_t* late_keys

    cdef void _unnumbered(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef bint _is_refused(self, const instrument_t* x, const lane_t* lane) noexcept nogil
    cdef void _refuse(
        self, instrument_t* x, const program_t* p, const update_t* u,
        uint64_t content) noexcept nogil
    cdef void _retry(self, instrument_t* x, const program_t* p) noexcept nogil
    cdef void _nobody(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef void _lost_place(
        self, instrument_t* x, const program_t* p, const update_t* u,
        const char* why) noexcept nogil
    cdef void _unnumbered_snapshot(
        self, instrument_t* x, const program_t* p, const update_t* u,
        uint64_t content) noexcept nogil
    cdef bint _recognise(
        self, instrument_t* x, const update_t* u, uint64_t content) noexcept nogil
    cdef void _lead(
        self, instrument_t* x, const program_t* p, const update_t* u,
        uint64_t content) noexcept nogil
    cdef void _insert_missed(
        self, instrument_t* x, const program_t* p, lane_t* lane, uint32_t end) noexcept nogil
    cdef void _insert(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t content,
        uint64_t at) noexcept nogil
    cdef void _align(self, instrument_t* x, const program_t* p) noexcept nogil
    cdef void _take_over(
        self, instrument_t* x, const program_t* p, lane_t* lane, uint32_t start) noexcept nogil
    cdef bint _promote(
        self, instrument_t* x, const program_t* p, lane_t* lane) noexcept nogil
    cdef void _log(
        self, instrument_t* x, const update_t* u, uint64_t content) noexcept nogil
    cdef uint32_t _keys_of(self, const update_t* u) noexcept nogil
