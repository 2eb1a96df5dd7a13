"""C declarations of the order book (feedd/book/src)."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from feedd.decode.engine cimport fd_dec, fd_level


cdef extern from "side.h" nogil:
    ctypedef struct fb_side:
        int64_t base, best
        uint32_t bits, in_window, levels, moves

    ctypedef struct fb_iter:
        int32_t chunk, at
        int64_t window

    const int64_t FB_NO_KEY
    int fb_iterate(const fb_side* s, fb_iter* it, int64_t* key, double* size)
    void fb_side_clear(fb_side* s)
    int fb_fit(fb_side* s)


cdef extern from "book.h" nogil:
    enum:
        FB_BID
        FB_ASK
        FB_OK
        FB_PRICE
        FB_FULL
        FB_MEMORY

    ctypedef struct fb_pair:
        double price, size

    ctypedef struct fb_top:
        fb_pair pair[32]
        uint8_t order[65]
        uint32_t n, valid

    ctypedef struct fb_book:
        fb_side side[2]
        int32_t decimals
        uint32_t levels_max
        fb_top top[2]

    int fb_book_init(fb_book* b, uint32_t levels_max)
    void fb_book_free(fb_book* b)
    void fb_book_clear(fb_book* b)
    double fb_price(const fb_book* b, int64_t key, int side)
    int fb_key(fb_book* b, fd_dec d, int side, int64_t* key)
    uint32_t fb_best(const fb_book* b, int side, int64_t* keys, fb_pair* out, uint32_t n)


cdef extern from "apply.h" nogil:
    int fb_apply(fb_book* b, int side, const fd_level* levels, uint32_t n, uint8_t* inexact)


cdef extern from "top.h" nogil:
    void fb_top_update(fb_book* b, int side, uint32_t* start, uint32_t* end)
