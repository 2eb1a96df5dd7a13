"""The part of a stream that runs for every batch: look at the rings in turn, wait, hand out.

``Cursor`` and ``Stream`` (cursor.py, stream.py) are the rest: making, following new files, asyncio.
A consumer that spins gets a record a few hundred ns after it was published; that is why no Python
runs between the stamp and the batch.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec

from feedd import clock
from feedd.errors import LappedError

from feedd.client.batch cimport Batch
from feedd.client.events cimport EventBuffer
from feedd.shm.feedd cimport (
    FEEDD_WAIT_ANY_MAX, FEEDD_WAIT_SLICE_NS, feedd_available, feedd_pause, feedd_reader,
    feedd_wait_any, feedd_wait_futex, feedd_wait_spin,
)
from feedd.shm.ring cimport RingReader

cdef extern from "Python.h":
    ctypedef struct PyThreadState:
        pass
    ctypedef struct PyInterpreterState:
        pass
    PyInterpreterState* PyInterpreterState_Get()
    PyThreadState* PyInterpreterState_ThreadHead(PyInterpreterState* interp)
    PyThreadState* PyThreadState_Next(PyThreadState* tstate)

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    FUTEX = 0
    YIELD = 1
    SPIN = 2
    TURNS = 1000  # looks between two readings of the clock
    ALONE_NS = 1_000_000  # longest spin with the GIL: a thread that is born from outside waits

WAITS = {"futex": FUTEX, "yield": YIELD, "spin": SPIN}
LOOK_NS = clock.SECOND_NS // 4
cdef int64_t _LOOK_NS = LOOK_NS
cdef int64_t _NEVER = 0x7fffffffffffffff


cdef inline int64_t _mono() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1_000_000_000 + t.tv_nsec


cdef inline int64_t _wall() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_REALTIME, &t)
    return <int64_t>t.tv_sec * 1_000_000_000 + t.tv_nsec


cdef class RingFlow:
    """One ring: its reader and the buffer that makes whole events of its records."""

    cdef public RingReader reader
    cdef public EventBuffer buffer
    cdef public object select
    cdef public tuple place
    cdef public int number
    cdef public bint alive, new_file
    cdef public uint64_t lost_with_file

    def __cinit__(self, *args, **kwargs):
        self.alive = True

    cdef Batch next(self, bint single):
        """The next batch of this ring, or None: nothing yet."""
        cdef Batch batch
        cdef int64_t unknown
        while self.buffer.look(self.reader, single):
            batch = Batch.__new__(Batch)
            unknown = self.buffer.give(batch)
            while unknown >= 0:
                self.buffer.want(self.select.renew(unknown))
                unknown = self.buffer.give(batch)
            if self.new_file:
                return self._first(batch)
            if batch.n or batch.lost or batch.restarted:
                return batch
        if self.new_file:
            return self._first(Batch.__new__(Batch))
        return None

    cdef Batch _first(self, Batch batch):
        """The first batch of a new file tells what was lost with the old one."""
        batch.lost += self.lost_with_file
        batch.restarted = True
        self.lost_with_file = 0
        self.new_file = False
        return batch

    @property
    def position(self):
        """Sequence of the first record that was not handed out."""
        return self.buffer.place(self.reader)


cdef class StreamFlow:
    """Several rings in turn. ``_look`` comes from the class that is made of it."""

    cdef public list _cursors
    cdef public list _news
    cdef public bint _closed, _raising
    cdef public int64_t _looked_ns
    cdef tuple _rings
    cdef Py_ssize_t _turn
    cdef int _how
    cdef bint _spun     # the last thing done was to spin: an age of ns counts
    cdef int64_t _timeout_ns

    def __cinit__(self, *args, **kwargs):
        self._cursors = []
        self._news = []
        self._looked_ns = _mono()
        self._timeout_ns = -1

    def _pace(self, str wait not None, timeout):
        """How to wait ("futex", "yield" or "spin"), and for how many seconds (None: for ever)."""
        self._how = WAITS[wait]
        self._timeout_ns = -1 if timeout is None else int(timeout * clock.SECOND_NS)

    cdef int _place(self, Batch batch) except -1:
        """Where each ring stands after this batch."""
        cdef RingFlow cursor
        cdef Py_ssize_t i
        cdef Py_ssize_t n = len(self._cursors)
        if n == 1:
            cursor = <RingFlow>self._cursors[0]
            if self._rings is None or len(self._rings) != 1 or self._rings[0] is not cursor.place:
                self._rings = (cursor.place,)
            batch.rings = self._rings
            batch.sequence = cursor.buffer.place(cursor.reader)
            return 0
        cdef bint same = self._rings is not None and len(self._rings) == n
        for i in range(n):
            if not same:
                break
            same = self._rings[i] is (<RingFlow>self._cursors[i]).place
        if not same:
            self._rings = tuple([(<RingFlow>cursor).place for cursor in self._cursors])
        batch.rings = self._rings
        batch.sequences = tuple([
            (<RingFlow>cursor).buffer.place((<RingFlow>cursor).reader)
            for cursor in self._cursors
        ])
        return 0

    cdef Batch _finish(self, RingFlow cursor, Batch batch):
        batch.reader = cursor.number
        batch.alive = cursor.alive
        batch.read_ns = _wall()
        self._place(batch)
        return batch

    def _notice(self, RingFlow cursor not None):
        """An empty batch that tells something of one ring."""
        return self._finish(cursor, Batch.__new__(Batch))

    def _silence(self):
        """The empty batch that says that ``timeout`` is over."""
        cdef Batch batch = Batch.__new__(Batch)
        batch.silent = True
        batch.alive = all([(<RingFlow>cursor).alive for cursor in self._cursors])
        batch.read_ns = _wall()
        self._place(batch)
        return batch

    cdef Batch _look_at_rings(self):
        cdef Py_ssize_t _i, at
        cdef Py_ssize_t n = len(self._cursors)
        cdef RingFlow cursor
        cdef Batch batch
        cdef bint single = self._spun
        self._spun = False
        for _i in range(n):
            at = self._turn if self._turn < n else 0     # a division would take as long as the rest
            self._turn = at + 1
            cursor = <RingFlow>self._cursors[at]
            batch = cursor.next(single)
            if batch is not None:
                self._finish(cursor, batch)
                if batch.lost and self._raising:
                    self._news.append(batch)
                    raise LappedError(
                        batch.lost,
                        int(batch.records["ring_seq"][0]) if batch.n else cursor.position)
                return batch
        return None

    def poll(self):
        return self._poll()

    cdef Batch _poll(self):
        cdef Batch batch
        if self._news:
            return self._news.pop(0)
        batch = self._look_at_rings()
        if batch is not None:
            return batch
        if _mono() - self._looked_ns >= _LOOK_NS:
            self._look()
            if self._news:
                return self._news.pop(0)
        return None

    def __iter__(self):
        return _Batches(self)

    def __next__(self):
        return self._next()

    cdef Batch _next(self):
        cdef Batch batch
        cdef int64_t left
        cdef int64_t end = _NEVER
        if self._timeout_ns >= 0:
            end = _mono() + self._timeout_ns
        while not self._closed:
            batch = self._poll()
            if batch is not None:
                return batch
            left = end - _mono()
            if left <= 0:
                return self._silence()
            self._wait(left)
            PyErr_CheckSignals()
        raise StopIteration

    cdef int _wait(self, int64_t wait_ns) except -1:
        """Until one of the rings has something, at most 50 ms: signals want to be seen."""
        cdef const feedd_reader* rings[FEEDD_WAIT_ANY_MAX]
        cdef RingFlow cursor
        cdef unsigned n = 0
        cdef int64_t end
        if not self._cursors:
            clock.sleep(min(wait_ns, 10_000_000) / clock.SECOND_NS)
            return 0
        if len(self._cursors) > FEEDD_WAIT_ANY_MAX:
            raise ValueError(
                f"a stream waits for at most {FEEDD_WAIT_ANY_MAX} rings, here are "
                f"{len(self._cursors)}: choose with readers=")
        for cursor in self._cursors:
            cursor.reader._check()
            rings[n] = &cursor.reader.r
            n += 1
        wait_ns = min(wait_ns, <int64_t>FEEDD_WAIT_SLICE_NS)
        self._spun = self._how == SPIN
        if self._spun and _alone():
            # nobody waits for the GIL: to take it back would cost as much as the way of the record
            end = _mono() + min(wait_ns, <int64_t>ALONE_NS)
            while not _spin(rings, n, SPIN) and _mono() < end:
                pass
            return 0
        with nogil:
            if self._how == FUTEX:
                if n == 1:
                    feedd_wait_futex(rings[0], wait_ns)
                else:
                    feedd_wait_any(rings, n, wait_ns)
            else:
                end = _mono() + wait_ns
                while not _spin(rings, n, self._how) and _mono() < end:
                    pass
        return 0


@cython.final
cdef class _Batches:
    """What ``for`` iterates over: its ``__next__`` is found without a look-up by name."""

    cdef StreamFlow _stream

    def __cinit__(self, StreamFlow stream not None):
        self._stream = stream

    def __iter__(self):
        return self

    def __next__(self):
        return self._stream._next()


cdef inline bint _alone():
    """This is the only thread of the interpreter."""
    cdef PyThreadState* first = PyInterpreterState_ThreadHead(PyInterpreterState_Get())
    return PyThreadState_Next(first) == NULL


cdef int _spin(const feedd_reader** rings, unsigned n, int how) noexcept nogil:
    """Look at the rings for a while; 1 when one has something."""
    cdef unsigned _turn, i
    if n == 1 and how == SPIN:
        return feedd_wait_spin(rings[0], TURNS)
    for _turn in range(TURNS if how == SPIN else 1):
        for i in range(n):
            if feedd_available(rings[i]):
                return 1
        if how == SPIN:
            feedd_pause()
        else:
            sched_yield()
    return 0
