"""Values mixed into one number; not for adversaries."""

from libc.stdint cimport uint64_t

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <string.h>
    static inline uint64_t feedd_mix(uint64_t h, uint64_t v) {
        h ^= v;
        h *= 0x9e3779b97f4a7c15ull;
        return h ^ h >> 29;
    }
    static inline uint64_t feedd_mix_double(uint64_t h, double v) {
        uint64_t bits;
        memcpy(&bits, &v, sizeof bits);
        return feedd_mix(h, bits);
    }
    """
    uint64_t feedd_mix(uint64_t h, uint64_t v)
    uint64_t feedd_mix_double(uint64_t h, double v)
