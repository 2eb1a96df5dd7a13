from libc.stdint cimport uint32_t

from feedd.shm.feedd cimport feedd_board_row


cdef class BoardWriter:
    # rows[i] is written between feedd_seq_begin(&rows[i].lock) and feedd_seq_end
    cdef feedd_board_row* rows
    cdef readonly uint32_t n_rows
    cdef readonly object segment
    cdef unsigned char[::1] _base
    cdef _attach(self, segment)
