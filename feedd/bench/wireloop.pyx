"""Native parts of ``feedd bench wire``: the bare listener that is the floor, sending, watching."""

from libc.stdint cimport int64_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from picows.picows cimport WSFrame, WSListener, WSTransport

from feedd.shm.feedd cimport FEEDD_QUOTE, feedd_pause, feedd_read, feedd_record
from feedd.shm.ring cimport RingReader

cdef extern from "<sys/socket.h>" nogil:
    ssize_t c_send "send"(int fd, const void* buf, size_t n, int flags)
    enum:
        MSG_NOSIGNAL


cdef inline int64_t _now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1_000_000_000 + t.tv_nsec


cdef class FloorListener(WSListener):
    """Notes when each frame came, and nothing else."""

    cdef int64_t[::1] _seen
    cdef readonly Py_ssize_t count
    cdef object _end

    def __init__(self, int64_t[::1] seen not None, end):
        self._seen = seen
        self._end = end

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        cdef int64_t now = _now()
        if self.count < self._seen.shape[0]:
            self._seen[self.count] = now
            self.count += 1

    cpdef on_ws_disconnected(self, WSTransport transport):
        self._end()


def post(int fd, const unsigned char[::1] frame not None, int64_t[::1] sent not None,
         Py_ssize_t i):
    """Stamp and send one frame on a plain socket."""
    cdef ssize_t done
    with nogil:
        sent[i] = _now()
        done = c_send(fd, &frame[0], <size_t>frame.shape[0], MSG_NOSIGNAL)
    if done != frame.shape[0]:
        raise ConnectionError("the socket did not take a whole frame")


def watch(RingReader reader, int64_t until, int64_t[::1] seen not None, uint64_t first):
    """Spin until ``until``, reading the ring; returns how many of its quotes were noted.

    ``seen[sequence - first]`` becomes the moment at which that quote was copied. Without a ring it
    only waits. It ends early when the last quote is there.
    """
    cdef feedd_record record
    cdef uint64_t at
    cdef uint64_t n = seen.shape[0]
    cdef int64_t now = 0
    cdef size_t count = 0
    with nogil:
        while True:
            if reader is not None:
                while feedd_read(&reader.r, &record) > 0:
                    at = record.sequence - first
                    if record.kind == FEEDD_QUOTE and at < n:
                        now = _now()
                        seen[at] = now
                        count += 1
                        if at == n - 1:
                            until = 0
            if _now() >= until:
                break
            feedd_pause()
    return count


def now_ns():
    """CLOCK_MONOTONIC."""
    return _now()
