from libc.stdint cimport uint32_t


cdef class InstrumentsWriter:
    cdef readonly object segment
    cdef readonly uint32_t capacity
    cdef unsigned char[::1] _base
    cdef object _names
    cdef _attach(self, segment)
    cdef _store(self, uint32_t row, data)
    cdef _changed(self)
