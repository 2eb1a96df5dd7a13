from libc.stdint cimport uint32_t

from feedd.shm.feedd cimport feedd_reader, feedd_writer


cdef class RingWriter:
    # `&writer.w` is what feedd_put and feedd_commit take
    cdef feedd_writer w
    cdef readonly object segment
    cdef object _lock, _wake
    cdef unsigned char[::1] _base
    cdef unsigned char[::1] _wake_base
    cdef void* _guarded
    cdef bint _closed
    cdef _open(self, segment, uint32_t* need_wake, bint carry_on)
    cdef _check(self)


cdef class RingReader:
    cdef feedd_reader r
    cdef readonly object segment
    cdef readonly object lock_path
    cdef object _source, _waiter
    cdef const unsigned char[::1] _base
    cdef unsigned char[::1] _flag
    cdef int _wake_fd
    cdef _check(self)
    cdef Py_ssize_t _fill(self, out) except -1
