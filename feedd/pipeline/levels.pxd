"""From the levels of a message to what they do to a book: ids resolved, the rest cut off."""

from libc.stdint cimport uint32_t

from feedd.book.book cimport fb_book
from feedd.book.checksum cimport fr_map
from feedd.pipeline.books cimport scratch_t, update_t

cdef enum:
    ROWS_OK = 0
    ROWS_UNKNOWN_ID = 1
    ROWS_MEMORY = 2

# Levels of rows that are known by an id; ``out`` points into the scratch. ROWS_*.
cdef int rows_resolve(
    fr_map* rows, scratch_t* s, const update_t* u, bint snapshot, update_t* out) noexcept nogil
# Take what is behind the best ``depth`` levels out of the book; ``out`` is u with these deletes
# behind its own levels. False when memory is out.
cdef bint book_cut(
    fb_book* book, scratch_t* s, const update_t* u, uint32_t depth, update_t* out) noexcept nogil
