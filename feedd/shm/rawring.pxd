from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "feedd/rawring.h" nogil:
    enum:
        FEEDD_RAW_PAGE
        FEEDD_RAW_IN
        FEEDD_RAW_OUT
        FEEDD_RAW_REST
        FEEDD_RAW_OP
        FEEDD_RAW_HEAD
        FEEDD_RAW_SEQ
        FEEDD_RAW_DROPPED
        FEEDD_RAW_DROPPED_BYTES
        FEEDD_RAW_TAIL

    ctypedef struct feedd_raw_entry:
        uint32_t total
        uint8_t kind, venue
        uint16_t line
        int64_t t
        uint64_t seq
        uint32_t size, dropped

    ctypedef struct feedd_raw:
        uint8_t* page
        uint8_t* data
        uint64_t capacity, head, tail, seq
        uint32_t dropped

    void feedd_raw_init(feedd_raw* r, void* body, uint64_t capacity)
    int feedd_raw_put(
        feedd_raw* r, unsigned kind, unsigned venue, unsigned line, int64_t t,
        const void* p, size_t n, const void* more, size_t extra)
    int feedd_raw_next(
        feedd_raw* r, uint64_t* at, feedd_raw_entry* e, const uint8_t** payload)


cdef class RawWriter:
    # `&writer.r` is what feedd_raw_put takes
    cdef feedd_raw r
    cdef readonly object segment
    cdef unsigned char[::1] _base
