"""C declarations of the book's text (checksums) and of levels known by an id."""

from libc.stdint cimport int16_t, int32_t, uint8_t, uint32_t, uint64_t

from feedd.decode.engine cimport fd_dec, fd_level


cdef extern from "texts.h" nogil:
    enum:
        FX_AS_SENT
        FX_DIGITS
        FX_JAVASCRIPT
        FX_LEVELS_MAX

    ctypedef struct fx_level:
        uint64_t price_m, size_m
        int32_t price_e
        int16_t size_e
        uint8_t neg, n_text

    ctypedef struct fx_side:
        fx_level* level
        uint32_t first, n, cap

    ctypedef struct fx_texts:
        fx_side side[2]

    ctypedef struct fx_rule:
        uint8_t levels, asks_first, join, format, negative_asks

    void fx_clear(fx_texts* t)
    void fx_free(fx_texts* t)
    int fx_copy(fx_texts* to, const fx_texts* source)
    int fx_apply(fx_texts* t, int side, const fd_level* levels, uint32_t n)
    int fx_set(fx_side* s, int ask, const fx_level* set, fx_level* old)
    fx_level fx_of(const fd_level* l)
    void fx_cut(fx_side* s, uint32_t depth)
    uint32_t fx_checksum(fx_texts* t, const fx_rule* r)


cdef extern from "rowmap.h" nogil:
    ctypedef struct fr_row:
        uint64_t id
        fd_dec price_dec
        double price
        uint8_t side, used

    ctypedef struct fr_map:
        fr_row* row
        uint32_t mask, n

    void fr_clear(fr_map* m)
    void fr_free(fr_map* m)
    fr_row* fr_find(const fr_map* m, uint64_t id, int side)
    fr_row* fr_add(fr_map* m, uint64_t id, int side)
    void fr_drop(fr_map* m, fr_row* row)
