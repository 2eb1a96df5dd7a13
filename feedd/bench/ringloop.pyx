"""Native loops of ``feedd bench ring``: a writer that keeps time, consumers in C, the floor.

Every loop stamps with CLOCK_MONOTONIC, which one boot shares between its cores. The two processes
of a run share a control page of words: ``READY``, ``POSITION``, and two for the floor of a wake.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from feedd.shm.feedd cimport (
    FEEDD_LAST, FEEDD_TRADE, FEEDD_WAIT_SLICE_NS, feedd_commit, feedd_load_acquire, feedd_pause,
    feedd_put, feedd_read, feedd_read_batch, feedd_record, feedd_store_release, feedd_wait_futex,
)
from feedd.shm.ring cimport RingReader, RingWriter

cdef extern from "floor_ring.h" nogil:
    ctypedef struct feedd_floor_ring:
        uint64_t* slots
        uint64_t mask, next
    void feedd_floor_put(feedd_floor_ring* r, const uint64_t* word)
    int feedd_floor_get(feedd_floor_ring* r, uint64_t* word)

cdef extern from "floor_wake.h" nogil:
    void feedd_floor_wake(void* word, uint32_t value)
    void feedd_floor_sleep(void* word, uint32_t value)

cdef enum:
    CHUNK = 256
    AT_READY = 0      # words of the control page, each on a line of its own
    AT_POSITION = 16
    AT_WAKE = 32
    AT_STAMP = 33     # but this one: it is read with the one before

READY = AT_READY
POSITION = AT_POSITION
WAKE = AT_WAKE
CONTROL_BYTES = 4096


cdef inline int64_t _now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return t.tv_sec * 1_000_000_000 + t.tv_nsec


cdef inline void _until(int64_t moment) noexcept nogil:
    while _now() < moment:
        feedd_pause()


cdef class FloorRing:
    """One side of a floor ring in memory that both processes share."""

    cdef feedd_floor_ring r
    cdef uint64_t[::1] _slots

    def __init__(self, uint64_t[::1] slots not None):
        cdef uint64_t capacity = len(slots) // 16
        if capacity < 2 or capacity & (capacity - 1) or len(slots) % 16:
            raise ValueError("a power of two of slots of 16 words")
        if <size_t>&slots[0] % 128:
            raise ValueError("slots begin on a pair of cache lines")
        self._slots = slots
        self.r.slots = &slots[0]
        self.r.mask = capacity - 1
        self.r.next = capacity


cdef void _record(feedd_record* record) noexcept nogil:
    memset(record, 0, sizeof(feedd_record))
    record.kind = FEEDD_TRADE
    record.flags = FEEDD_LAST


def pace(RingWriter writer, FloorRing floor, uint64_t n, int64_t every_ns):
    """Publish ``n`` records, one each ``every_ns``, stamped in ``ts_recv`` just before."""
    cdef feedd_record record
    cdef int64_t due
    cdef uint64_t i
    with nogil:
        _record(&record)
        due = _now() + 2_000_000
        for i in range(n):
            _until(due)
            due += every_ns
            record.sequence = i
            record.ts_recv = _now()
            if floor is None:
                feedd_put(&writer.w, &record)
                feedd_commit(&writer.w)
            else:
                feedd_floor_put(&floor.r, <const uint64_t*>&record)


def pace_wakes(uint64_t[::1] control not None, uint64_t n, int64_t every_ns):
    """Wake a process that sleeps on a word of the control page ``n`` times, each ``every_ns``."""
    cdef int64_t due
    cdef uint64_t i
    with nogil:
        due = _now() + 2_000_000
        for i in range(n):
            _until(due)
            due += every_ns
            feedd_store_release(&control[AT_STAMP], <uint64_t>_now())
            feedd_floor_wake(&control[AT_WAKE], <uint32_t>(i + 1))


def pour(RingWriter writer, FloorRing floor, uint64_t n, uint64_t batch, uint64_t[::1] control
         not None):
    """Publish ``n`` records as fast as the consumer allows: never half a ring ahead of it.

    Commits after every ``batch`` records. The consumer says in the control page how far it is.
    """
    cdef feedd_record record
    cdef uint64_t i, seen = 0
    cdef uint64_t room = (writer.w.mask if floor is None else floor.r.mask) // 2
    with nogil:
        _record(&record)
        for i in range(n):
            if i - seen > room:
                seen = feedd_load_acquire(&control[AT_POSITION])
                while i - seen > room:
                    feedd_pause()
                    seen = feedd_load_acquire(&control[AT_POSITION])
            record.sequence = i
            if floor is None:
                feedd_put(&writer.w, &record)
                if (i + 1) % batch == 0:
                    feedd_commit(&writer.w)
            else:
                feedd_floor_put(&floor.r, <const uint64_t*>&record)
        if floor is None:
            feedd_commit(&writer.w)


def publish(RingWriter writer not None, uint64_t n):
    """Put and commit ``n`` single records, back to back; ns in all."""
    cdef feedd_record record
    cdef int64_t start
    cdef uint64_t i
    with nogil:
        _record(&record)
        start = _now()
        for i in range(n):
            record.sequence = i
            feedd_put(&writer.w, &record)
            feedd_commit(&writer.w)
        start = _now() - start
    return start


def read_paced(RingReader reader, FloorRing floor, int64_t[::1] ages not None, bint sleep=False):
    """Wait for each of ``len(ages)`` records and write down how old it was when it was copied.

    It spins, or sleeps in the kernel (not on a floor ring, which has no wake).
    """
    cdef feedd_record record
    cdef size_t i = 0
    cdef size_t n = len(ages)
    cdef int got
    with nogil:
        while i < n:
            if floor is None:
                got = feedd_read(&reader.r, &record)
            else:
                got = feedd_floor_get(&floor.r, <uint64_t*>&record)
            if got <= 0:
                if sleep and floor is None:
                    feedd_wait_futex(&reader.r, FEEDD_WAIT_SLICE_NS)
                else:
                    feedd_pause()
                continue
            ages[i] = _now() - record.ts_recv
            i += 1


def read_wakes(uint64_t[::1] control not None, int64_t[::1] ages not None):
    """The other side of ``pace_wakes``: how long after its stamp each wake was here."""
    cdef size_t i
    with nogil:
        for i in range(<size_t>len(ages)):
            feedd_floor_sleep(&control[AT_WAKE], <uint32_t>i)
            ages[i] = _now() - <int64_t>feedd_load_acquire(&control[AT_STAMP])


def read_poured(RingReader reader, FloorRing floor, uint64_t n, uint64_t[::1] control not None):
    """Read ``n`` records as they come; ns from the first to the last. None may be missing."""
    cdef feedd_record records[CHUNK]
    cdef uint64_t done = 0
    cdef uint64_t wrong = 0
    cdef uint64_t i, got
    cdef int64_t start = 0
    with nogil:
        while done < n:
            if floor is None:
                got = feedd_read_batch(&reader.r, records, CHUNK)
            else:
                got = 0
                while got < CHUNK and feedd_floor_get(&floor.r, <uint64_t*>&records[got]) > 0:
                    got += 1
            if got == 0:
                feedd_pause()
                continue
            if done == 0:
                start = _now()
            for i in range(got):
                wrong += records[i].sequence != done + i
            done += got
            feedd_store_release(&control[AT_POSITION], done)
        start = _now() - start
    if wrong:
        raise AssertionError(f"{wrong} records were not the next one")
    return start


def set_word(uint64_t[::1] control not None, Py_ssize_t at, uint64_t value):
    """Store a word of the control page (release)."""
    feedd_store_release(&control[at], value)


def wait_word(uint64_t[::1] control not None, Py_ssize_t at, uint64_t value, double seconds):
    """Spin until the word is at least ``value``; False when ``seconds`` are over."""
    cdef int64_t end = _now() + <int64_t>(seconds * 1e9)
    cdef bint there = False
    with nogil:
        while not there and _now() < end:
            feedd_pause()
            there = feedd_load_acquire(&control[at]) >= value
    return there


def now_ns():
    """CLOCK_MONOTONIC."""
    return _now()
