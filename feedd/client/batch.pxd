from libc.stdint cimport int64_t, uint32_t, uint64_t

from feedd.shm.feedd cimport feedd_record


cdef class Block:
    # Memory for `room` records; arrays are made on it, and keep it.
    cdef feedd_record* records
    cdef Py_ssize_t room
    cdef feedd_record one    # what a consumer that spins mostly gets needs no other memory


cdef Block new_block(Py_ssize_t room)


cdef class Batch:
    cdef readonly int reader
    cdef readonly uint64_t lost
    cdef readonly bint restarted, alive, silent
    cdef readonly tuple broken_snapshots
    cdef readonly int64_t read_ns
    # records[start:start + n] of the block, until somebody wants an array; or an array from outside
    cdef Block block
    cdef Py_ssize_t start, n
    cdef object _records
    cdef dict _parts
    # of each ring (reader number, ring id), and the sequences: one inline, several as a tuple
    cdef tuple rings, sequences
    cdef uint64_t sequence

    cdef object _array(self, object dtype, Block block, Py_ssize_t start, Py_ssize_t n)
    cdef object _part(self, int kind)
