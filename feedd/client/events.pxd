from libc.stdint cimport int64_t, uint32_t, uint64_t

from feedd.client.batch cimport Batch, Block
from feedd.shm.feedd cimport feedd_record
from feedd.shm.ring cimport RingReader


cdef class EventBuffer:
    # records[start:end] are read but not handed out; records[start:cut] are whole events;
    # everything before `scan` was looked at.
    cdef Block block
    cdef feedd_record* records
    cdef Py_ssize_t room, room_min, start, cut, scan, end
    cdef uint64_t reader_lost
    cdef uint64_t lost
    cdef int epoch  # -1: no record seen yet
    cdef bint restarted, after_hole, bracket
    cdef uint32_t bracket_instrument
    cdef list broken
    cdef uint32_t kinds
    cdef const unsigned char[::1] wanted  # by instrument id; None: every instrument

    cdef bint look(self, RingReader reader, bint single) except -1
    cdef int64_t give(self, Batch batch) except -2
    cdef uint64_t place(self, RingReader reader)
    cdef _renew(self, Py_ssize_t room)
    cdef void _moved(self, Py_ssize_t held) noexcept
    cdef void _compact(self) noexcept
    cdef _hole(self, uint64_t lost, Py_ssize_t n)
    cdef _drop(self, Py_ssize_t n)
    cdef int _scan(self) except -1
    cdef bint _passes(self, const feedd_record* record) noexcept nogil
    cdef Py_ssize_t _count(self) noexcept
    cdef Block _filtered(self, Py_ssize_t kept)
