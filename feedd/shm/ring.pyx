"""The ring as Python objects: ``RingWriter`` (one per ring) and ``RingReader`` (any number).

Both are thin: ``feedd/ring.h`` holds the protocol. A writer or reader belongs to one thread at a
time. Reading copies validated slots into a NumPy array without Python work per record; waiting
releases the GIL.
"""

import os

import numpy as np

from feedd.errors import LayoutError, ShmError
from feedd.limits import RING_SLOTS_DEFAULT, RING_SLOTS_MIN
from feedd.records import RAW, RECORD_BYTES
from feedd.shm import layout, wakefile
from feedd.shm.directory import Lock, lock_held, lock_path, segment_path
from feedd.shm.layout import SegmentKind, SegmentState
from feedd.shm.segment import anonymous, create, dtype_json, open_segment

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from feedd.shm.feedd cimport (
    FEEDD_WAIT_ANY_MAX, FEEDD_WAIT_SLICE_NS, feedd_available, feedd_bell, feedd_commit,
    feedd_commit_at, feedd_copy_slot, feedd_head, feedd_join_at, feedd_join_newest,
    feedd_join_oldest, feedd_load32_acquire, feedd_load_acquire, feedd_put, feedd_read_batch,
    feedd_reader, feedd_reader_init, feedd_record, feedd_store32_release, feedd_takeover,
    feedd_wait_any, feedd_wait_futex, feedd_wait_spin, feedd_writer_heartbeat,
    feedd_writer_init,
)

cdef extern from "feedd/guard.h":
    int feedd_guard_add(void* page)
    void feedd_guard_remove(void* page)

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    SPIN_TURNS = 2000

_STRATEGIES = {"futex": 0, "yield": 1, "spin": 2}


cdef int64_t _mono_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


def create_ring(directory, int reader_n, slots=RING_SLOTS_DEFAULT, name=None, group=None):
    """Make ``reader-<n>.ring`` (and the wake file, if it is not there): the supervisor does this.

    ``slots``: a power of two, at least 16,384. The writer then opens it with
    ``RingWriter.takeover``.
    """
    if slots < RING_SLOTS_MIN or slots & (slots - 1):
        raise ShmError(
            f"a ring of {slots} slots: the number must be a power of two of at least "
            f"{RING_SLOTS_MIN}"
        )
    wakefile.ensure(directory, group)
    segment = create(
        segment_path(directory, "ring", reader_n),
        SegmentKind.RING,
        capacity=slots,
        slot_bytes=RECORD_BYTES,
        body_bytes=slots * RECORD_BYTES,
        dtype=dtype_json(RAW),
        name=name or f"reader-{reader_n}",
        group=group,
    )
    segment.close()


def _geometry(segment):
    header = segment.header
    capacity = header.capacity
    if (
        header.slot_bytes != RECORD_BYTES
        or capacity < 2
        or capacity & (capacity - 1)
        or header.file_size != layout.HEADER_BYTES + capacity * RECORD_BYTES
        or header.first_seq != capacity
    ):
        raise LayoutError(
            f"{segment.path} says {capacity} slots of {header.slot_bytes} bytes from sequence "
            f"{header.first_seq} in {header.file_size} bytes: not a ring that this feedd reads"
        )
    return capacity


cdef class RingWriter:
    """The one writer of a ring: ``create``, ``takeover`` or ``private`` make it."""

    def __cinit__(self):
        self._closed = True
        self._base = None
        self._wake_base = None

    def __init__(self):
        raise TypeError("use RingWriter.create, RingWriter.takeover or RingWriter.private")

    @classmethod
    def create(cls, directory, int reader_n, slots=RING_SLOTS_DEFAULT, name=None, group=None):
        """Make the ring and become its writer, epoch 1."""
        create_ring(directory, reader_n, slots, name, group)
        writer = cls.takeover(directory, reader_n)
        writer.heartbeat(_mono_ns())
        return writer

    @classmethod
    def takeover(cls, directory, int reader_n, bint carry_on=False):
        """Become the writer of an existing ring: epoch + 1, sequences go on without a hole.

        ``carry_on``: the previous writer ended at the end of an event and has told us all that
        it knew, so that what we write continues the same epoch. Otherwise there is no heartbeat
        before the first call of ``heartbeat``: the rows still are the predecessor's, and nobody
        shall take them for live. Raises ``LockedError`` while the previous writer lives.
        """
        cdef RingWriter self = RingWriter.__new__(RingWriter)
        segment = open_segment(
            segment_path(directory, "ring", reader_n), SegmentKind.RING, writable=True)
        try:
            lock = Lock(lock_path(directory, reader_n))
        except BaseException:
            segment.close()
            raise
        if not carry_on:
            segment.beat(0)
        try:
            wake = wakefile.map_for_writer(directory, reader_n)
        except BaseException:
            segment.close()
            lock.close()
            raise
        self._lock = lock
        self._wake = wake
        self._wake_base = wake.line
        self._guarded = <void*>(<size_t>&self._wake_base[0] & ~<size_t>4095)
        feedd_guard_add(self._guarded)
        self._open(segment, <uint32_t*>&self._wake_base[0], carry_on)
        return self

    @classmethod
    def private(cls, slots=1024, *, populate=False):
        """A ring in memory of this process; ``RingReader(writer)`` reads it.

        ``slots``: a power of two, at least 16. ``populate``: have all its memory now, not when it
        is written first.
        """
        cdef RingWriter self = RingWriter.__new__(RingWriter)
        if slots < 16 or slots & (slots - 1):
            raise ShmError(f"a private ring of {slots} slots: a power of two of at least 16")
        segment = anonymous(
            SegmentKind.RING,
            capacity=slots,
            slot_bytes=RECORD_BYTES,
            body_bytes=slots * RECORD_BYTES,
            dtype=dtype_json(RAW),
            name="private",
            populate=populate,
        )
        self._wake_base = bytearray(64)
        self._open(segment, <uint32_t*>&self._wake_base[0], False)
        return self

    cdef _open(self, segment, uint32_t* need_wake, bint carry_on):
        _geometry(segment)
        self.segment = segment
        self._base = segment.buf
        cdef void* base = &self._base[0]
        cdef uint64_t next_seq = feedd_takeover(base)
        if carry_on:
            segment.sign()
        else:
            segment.new_epoch()
        feedd_writer_init(&self.w, base, need_wake, next_seq)
        self._closed = False
        feedd_bell(self.w.header)

    cdef _check(self):
        if self._closed:
            raise ShmError("this ring writer is closed")

    def put(self, records):
        """Stage one record (128 bytes) or an array of dtype ``RAW`` (or any record dtype).

        Nothing is visible before ``commit``. At most min(1024, slots / 8) records wait: more are
        committed on the way.
        """
        cdef const unsigned char[::1] data
        cdef Py_ssize_t at
        self._check()
        if isinstance(records, (np.ndarray, np.void)):
            data = np.ascontiguousarray(records).reshape(-1).view(np.uint8)
        else:
            data = records
        if data.shape[0] % RECORD_BYTES:
            raise ValueError(f"{data.shape[0]} bytes are not a whole number of 128-byte records")
        for at in range(0, data.shape[0], RECORD_BYTES):
            feedd_put(&self.w, <const feedd_record*>&data[at])

    def commit(self, now_ns=None):
        """Publish what is staged, at once; returns the new head.

        With ``now_ns`` (CLOCK_REALTIME) each record gets ``publish_delta_ns`` = now - ts_recv.
        """
        self._check()
        if now_ns is None:
            return feedd_commit(&self.w)
        return feedd_commit_at(&self.w, now_ns)

    @property
    def next_seq(self):
        """Sequence of the next record to stage."""
        return self.w.next

    @property
    def head(self):
        """Sequence of the next record to publish."""
        return self.w.committed

    @property
    def capacity(self):
        return self.w.mask + 1

    @property
    def batch_max(self):
        """Most records that one commit publishes."""
        return self.w.batch_max

    @property
    def epoch(self):
        """Grows by one with each writer; records carry its low 16 bits."""
        self._check()
        return feedd_load_acquire(&self.w.header.epoch)

    def heartbeat(self, int64_t mono_ns):
        """A sign of life (CLOCK_MONOTONIC, ns): at least ten a second, also when idle."""
        self._check()
        feedd_writer_heartbeat(&self.w, mono_ns)

    def mark_closed(self):
        """Tell consumers that this writer ends on purpose."""
        self._check()
        feedd_store32_release(&self.w.header.state, int(SegmentState.CLOSED))
        feedd_bell(self.w.header)

    def close(self):
        """Unmap and give the lock back; staged records that were not committed are dropped."""
        if self._closed:
            return
        self._closed = True
        self._base = None
        if self._guarded != NULL:
            feedd_guard_remove(self._guarded)
        self._wake_base = None
        self.segment.close()
        if self._wake is not None:
            self._wake.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()


cdef class RingReader:
    """A consumer of one ring, read-only.

    ``source``: the instance directory, or a ``RingWriter`` of this process. ``start``: "newest"
    (what comes from now on), "oldest" (as far back as the ring safely holds, from the next start
    of an event), or a position reported by an earlier reader.
    """

    def __cinit__(self):
        self._wake_fd = -1
        self._base = None
        self._flag = None

    def __init__(self, source, int reader_n=0, start="newest"):
        cdef RingWriter writer
        if isinstance(source, RingWriter) and (<RingWriter>source).segment.path is None:
            writer = source
            writer._check()
            self.segment = writer.segment
            self._flag = writer._wake_base
            self._source = writer
        else:
            if isinstance(source, RingWriter):
                path = (<RingWriter>source).segment.path
                directory, reader_n = path.parent, int(path.stem.removeprefix("reader-"))
            else:
                directory = os.fspath(source)
            self.segment = open_segment(
                segment_path(directory, "ring", reader_n), SegmentKind.RING)
            self.lock_path = lock_path(directory, reader_n)
            self._wake_fd = wakefile.open_for_reader(directory)
        capacity = _geometry(self.segment)
        self._base = self.segment.buf
        feedd_reader_init(&self.r, &self._base[0], capacity, capacity)
        if self._flag is not None:
            self.r.need_wake = <uint32_t*>&self._flag[0]
        else:
            self.r.wake_fd = self._wake_fd
            self.r.wake_offset = wakefile.line_offset(reader_n)
        self.seek(start)

    def __dealloc__(self):
        if self._wake_fd >= 0:
            os.close(self._wake_fd)
            self._wake_fd = -1

    def seek(self, start):
        """Move to "newest", "oldest" or a position; see the class."""
        self._check()
        if isinstance(start, int):
            if start < 0 or start > feedd_head(self.r.header) and not _has(&self.r, start - 1):
                raise ValueError(
                    f"position {start} is not in this ring (its next record is "
                    f"{feedd_head(self.r.header)}): it belongs to an earlier ring; start at "
                    "newest or oldest"
                )
            feedd_join_at(&self.r, start)
        elif start == "newest":
            feedd_join_newest(&self.r)
        elif start == "oldest":
            feedd_join_oldest(&self.r)
        else:
            raise ValueError(f'start is "newest", "oldest" or a position, not {start!r}')

    cdef _check(self):
        if self._base is None:
            raise ShmError("this ring reader is closed")

    def read(self, Py_ssize_t max=1024):
        """Up to ``max`` records in order as a new array of dtype ``RAW``; empty: nothing yet.

        The records of one call follow each other without a hole; a hole before the first of them
        is what ``lost`` grew by in this call.
        """
        self._check()
        if not feedd_available(&self.r):
            return np.empty(0, dtype=RAW)
        cdef uint64_t ready = feedd_head(self.r.header) - self.r.next
        if <uint64_t>max > ready and ready > 0:
            max = <Py_ssize_t>ready
        out = np.empty(max, dtype=RAW)
        cdef Py_ssize_t n = self._fill(out)
        return out if n == max else out[:n]

    def read_into(self, out):
        """Fill a C-contiguous array of dtype ``RAW``; returns the number of records."""
        self._check()
        if out.dtype.itemsize != RECORD_BYTES or not out.flags.c_contiguous:
            raise ValueError("read_into takes a C-contiguous array of 128-byte records")
        return self._fill(out)

    cdef Py_ssize_t _fill(self, out) except -1:
        if out.shape[0] == 0:
            return 0
        cdef unsigned char[::1] view = out.view(np.uint8).reshape(-1)
        cdef size_t n = view.shape[0] // RECORD_BYTES
        cdef feedd_record* records = <feedd_record*>&view[0]
        if n <= 64:
            return feedd_read_batch(&self.r, records, n)
        with nogil:
            n = feedd_read_batch(&self.r, records, n)
        return n

    @property
    def position(self):
        """Sequence of the next record to read; a later reader can start there."""
        return self.r.next

    @property
    def lost(self):
        """Records never handed out, exactly: overtaken by the writer, or skipped after that."""
        return self.r.lost

    @property
    def head(self):
        """Sequence of the next record to be published."""
        self._check()
        return feedd_head(self.r.header)

    @property
    def capacity(self):
        return self.r.mask + 1

    @property
    def epoch(self):
        """The writer's epoch: when it grows, another writer process has taken over."""
        self._check()
        return feedd_load_acquire(&self.r.header.epoch)

    @property
    def state(self):
        self._check()
        return SegmentState(feedd_load32_acquire(&self.r.header.state))

    @property
    def heartbeat_ns(self):
        """CLOCK_MONOTONIC of the writer's last sign of life, in ns."""
        self._check()
        return feedd_load_acquire(&self.r.header.heartbeat_ns)

    @property
    def superseded(self):
        """True when another file has taken the place of this ring: make a new reader."""
        self._check()
        return self.segment.superseded

    def alive(self):
        """True while the writer process lives (it holds the lock file)."""
        self._check()
        if self.lock_path is None:
            return not (<RingWriter>self._source)._closed
        return lock_held(self.lock_path)

    def available(self):
        """True when ``read`` would return something, or find that it was overtaken."""
        self._check()
        return bool(feedd_available(&self.r))

    def wait(self, timeout=None, strategy="futex"):
        """Block until there is something to read; False after ``timeout`` seconds (None: never).

        ``strategy``: "futex" sleeps in the kernel (about 25 us to wake), "yield" gives the
        processor away between looks, "spin" burns its core. The GIL is released; signals are
        handled at least every 50 ms.
        """
        cdef int64_t deadline = -1, left = FEEDD_WAIT_SLICE_NS
        cdef int how, ready = 0
        self._check()
        if strategy not in _STRATEGIES:
            raise ValueError(f"strategy is one of {', '.join(_STRATEGIES)}, not {strategy!r}")
        how = _STRATEGIES[strategy]
        if feedd_available(&self.r):
            return True
        if timeout is not None:
            deadline = _mono_ns() + <int64_t>(timeout * 1e9)
        while True:
            if deadline >= 0:
                left = deadline - _mono_ns()
                if left <= 0:
                    return bool(feedd_available(&self.r))
            with nogil:
                ready = _wait_slice(self, how, left)
            if ready:
                return True
            PyErr_CheckSignals()

    async def wait_async(self, timeout=None):
        """``wait`` for asyncio: one thread sleeps in the kernel, the event loop stays free."""
        self._check()
        if self._waiter is None:
            from feedd.shm.waiting import AsyncWaiter  # asyncio is heavy: only for its users

            self._waiter = AsyncWaiter(self.wait)
        return await self._waiter.wait(self.available, timeout)

    def close(self):
        """Unmap; arrays that were read stay valid (they are copies)."""
        if self._base is None:
            return
        if self._waiter is not None:
            self._waiter.close()
        self._base = None
        if self._wake_fd >= 0:
            os.close(self._wake_fd)
            self._wake_fd = -1
        if self._source is None:
            self.segment.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()


def wait_any(readers, timeout=None):
    """Block until one of several rings has something; the first such reader, or None.

    One system call sleeps on all of them (futex_waitv, Linux 5.16); an older kernel is polled every
    0.2 ms. ``timeout`` in seconds, None: for ever. At most 64 readers.
    """
    cdef const feedd_reader* list_of[FEEDD_WAIT_ANY_MAX]
    cdef int64_t deadline = -1, left = FEEDD_WAIT_SLICE_NS
    cdef unsigned n = 0
    cdef int found
    readers = list(readers)
    if len(readers) > FEEDD_WAIT_ANY_MAX:
        raise ValueError(f"wait_any takes at most {FEEDD_WAIT_ANY_MAX} readers, not {len(readers)}")
    for reader in readers:
        (<RingReader?>reader)._check()
        list_of[n] = &(<RingReader>reader).r
        n += 1
    if timeout is not None:
        deadline = _mono_ns() + <int64_t>(timeout * 1e9)
    while True:
        if deadline >= 0:
            left = deadline - _mono_ns()
        with nogil:
            found = feedd_wait_any(list_of, n, left)
        if found >= 0:
            return readers[found]
        if deadline >= 0 and left <= 0:
            return None
        PyErr_CheckSignals()


cdef bint _has(const feedd_reader* r, uint64_t seq) noexcept nogil:
    """Whether this record is there: a writer may be between the stamps and the head."""
    cdef feedd_reader there = r[0]
    cdef feedd_record record
    there.next = seq
    return feedd_copy_slot(&there, &record) > 0


cdef int _wait_slice(RingReader reader, int how, int64_t left) noexcept nogil:
    """One slice of waiting, at most 50 ms: 1 when there is something to read."""
    cdef int64_t end
    if how == 0:
        return feedd_wait_futex(&reader.r, left)
    end = _mono_ns() + (left if left < FEEDD_WAIT_SLICE_NS else FEEDD_WAIT_SLICE_NS)
    while _mono_ns() < end:
        if how == 2:
            if feedd_wait_spin(&reader.r, SPIN_TURNS):
                return 1
        else:
            if feedd_available(&reader.r):
                return 1
            sched_yield()
    return feedd_available(&reader.r)
