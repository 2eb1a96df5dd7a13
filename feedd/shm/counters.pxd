from libc.stdint cimport uint64_t


cdef class CountersWriter:
    cdef readonly object segment
    cdef readonly int readers
    cdef readonly int rows
    cdef unsigned char[::1] _base
    cdef _attach(self, segment)
    # the block of reader n: FEEDD_COUNTER_SLOTS counters, then connections at
    # FEEDD_AT_CONNECTIONS, histograms at FEEDD_AT_HISTOGRAMS, rows at FEEDD_AT_ROWS
    cdef uint64_t* block(self, int n) noexcept nogil
