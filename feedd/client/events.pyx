"""From ring slots to batches of whole events; events.pyi says what the class promises."""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from feedd.client.batch cimport Batch, Block, new_block
from feedd.shm.feedd cimport (
    FEEDD_BOOK_CONTROL, FEEDD_LAST, FEEDD_NO_INSTRUMENT, FEEDD_REASON_SNAPSHOT_BEGIN,
    FEEDD_REASON_SNAPSHOT_END, feedd_available, feedd_copy_slot, feedd_read_batch, feedd_read_on,
    feedd_reader, feedd_record,
)
from feedd.shm.ring cimport RingReader

cdef enum:
    EVENT_MAX = 1 << 18  # records; a longer event is handed out in pieces
    FEW = 64             # records that are read without giving the GIL away

cdef uint32_t EVERY_KIND = 0xffffffff    # typed: the literal would be compared as a Python object


@cython.final
cdef class EventBuffer:
    def __cinit__(self, Py_ssize_t room=8192, *, kinds=None, wanted=None):
        if room < 16:
            raise ValueError("a batch needs room for at least 16 records")
        self.room_min = room
        self.epoch = -1
        self.broken = []
        self.kinds = EVERY_KIND
        if kinds is not None:
            self.kinds = 0
            for kind in kinds:
                self.kinds |= 1u << <uint32_t>int(kind)
        self.wanted = wanted
        self._renew(room)

    def begin(self, RingReader reader not None):
        cdef feedd_reader before
        cdef feedd_record record
        reader._check()
        self.start = self.cut = self.scan = self.end = 0
        self.bracket = self.after_hole = self.restarted = False
        self.broken = []
        self.lost = 0
        self.reader_lost = reader.r.lost
        before = reader.r
        before.next -= 1
        self.epoch = record.epoch if feedd_copy_slot(&before, &record) == 1 else -1

    def want(self, wanted):
        """Replace the instrument filter: bytes by id, or None."""
        self.wanted = wanted

    cdef _renew(self, Py_ssize_t room):
        """A new buffer that begins with what is still held: the old one may be handed out."""
        cdef Py_ssize_t held = self.end - self.start
        cdef Block block = new_block(room)
        if held:
            memcpy(block.records, &self.records[self.start], held * sizeof(feedd_record))
        self._moved(held)
        self.block = block
        self.records = block.records
        self.room = room

    cdef void _moved(self, Py_ssize_t held) noexcept:
        self.cut -= self.start
        self.scan -= self.start
        self.start = 0
        self.end = held

    cdef void _compact(self) noexcept:
        """Move what is held to the front (nobody else sees the buffer)."""
        cdef Py_ssize_t held = self.end - self.start
        if self.start:
            memmove(self.records, &self.records[self.start], held * sizeof(feedd_record))
            self._moved(held)

    def fill(self, RingReader reader not None) -> bool:
        """Read the ring once; True when there is a whole event, or something to tell."""
        return self.look(reader, False)

    cdef bint look(self, RingReader reader, bint single) except -1:
        """``single``: the first event at once. To look for a second one would wait for the line
        that the writer has just written, while the first grows older."""
        cdef size_t n
        cdef size_t few
        cdef uint64_t lost
        reader._check()
        if self.scan < self.end:
            self._scan()  # the rest of a read that a new epoch had split
        while self.cut == self.start and feedd_available(&reader.r):
            self._compact()
            if self.end == self.room:
                if self.room >= EVENT_MAX:
                    self.cut = self.end
                    break
                self._renew(2 * self.room)
            few = min(<size_t>(1 if single else FEW), <size_t>(self.room - self.end))
            n = feedd_read_batch(&reader.r, &self.records[self.end], few)
            if n == FEW:
                with nogil:
                    n += feedd_read_on(
                        &reader.r, &self.records[self.end + n], <size_t>(self.room - self.end) - n)
            lost = reader.r.lost
            if lost != self.reader_lost:
                self._hole(lost - self.reader_lost, n)
                self.reader_lost = lost
            self.end += n
            single = False
            self._scan()
        return self.cut > self.start or self.lost > 0 or self.restarted

    cdef _hole(self, uint64_t lost, Py_ssize_t n):
        """Records are missing between what is held and the ``n`` just read behind it."""
        cdef Py_ssize_t held = self.end - self.start
        self._drop(held)
        self.lost += lost
        self.after_hole = True
        if n and held:
            memmove(self.records, &self.records[held], n * sizeof(feedd_record))
        self.start = self.cut = self.scan = self.end = 0

    cdef _drop(self, Py_ssize_t n):
        """Give up the first ``n`` records held: an event that will never be whole."""
        if self.bracket:
            self.broken.append(self.bracket_instrument)
        self.bracket = False
        self.lost += n

    cdef int _scan(self) except -1:
        """Find the end of the last whole event."""
        cdef Py_ssize_t i = self.scan
        cdef const feedd_record* record
        while i < self.end:
            record = &self.records[i]
            if record.epoch != self.epoch:
                if self.cut > self.start:
                    break  # first hand out what the old writer finished
                if self.epoch >= 0:
                    self._drop(i - self.start)
                    self.restarted = True
                self.start = self.cut = i
                self.epoch = record.epoch
            if record.kind == FEEDD_BOOK_CONTROL:
                if record.p.control.reason == FEEDD_REASON_SNAPSHOT_BEGIN:
                    self.bracket = True
                    self.bracket_instrument = record.instrument
                elif record.p.control.reason == FEEDD_REASON_SNAPSHOT_END:
                    if self.after_hole and not self.bracket and self.cut == self.start == i:
                        # the end of a snapshot whose beginning is in the hole
                        self.broken.append(record.instrument)
                        self.lost += 1
                        self.start = i + 1
                    self.bracket = False
                    self.cut = i + 1
            if record.flags & FEEDD_LAST and not self.bracket:
                self.cut = i + 1
            self.after_hole = False
            i += 1
        self.scan = i
        return 0

    def take(self):
        """(records, lost, restarted, broken snapshots), or the highest unknown instrument id.

        Whole events that pass the filter, as an array of its own.
        """
        cdef Batch batch = Batch.__new__(Batch)
        cdef int64_t unknown = self.give(batch)
        if unknown >= 0:
            return unknown
        return batch.records, batch.lost, batch.restarted, batch.broken_snapshots

    cdef int64_t give(self, Batch batch) except -2:
        """The whole events that pass the filter; -1, or the highest unknown instrument id."""
        cdef Py_ssize_t n = self.cut - self.start
        cdef Py_ssize_t kept = n
        cdef bint all_kept = self.kinds == EVERY_KIND and self.wanted is None
        if not all_kept:
            kept = self._count()
            if kept < 0:
                return -1 - kept
            all_kept = kept == n
        batch.n = kept
        if not all_kept:
            batch.block = self._filtered(kept)
            self.start = self.cut
        elif n * 4 >= self.room:
            batch.block = self.block
            batch.start = self.start
            self.start = self.cut
            self._renew(max(self.room_min, 2 * (self.end - self.start)))
        else:
            # a copy: a batch that is kept must not keep the whole buffer
            batch.block = new_block(n)
            memcpy(batch.block.records, &self.records[self.start], n * sizeof(feedd_record))
            self.start = self.cut
        batch.lost = self.lost
        batch.restarted = self.restarted
        self.lost = 0
        self.restarted = False
        if self.broken:
            batch.broken_snapshots = tuple(self.broken)
            self.broken = []
        return -1

    cdef bint _passes(self, const feedd_record* record) noexcept nogil:
        return (self.kinds >> (record.kind & 31)) & 1 and (
            record.instrument == FEEDD_NO_INSTRUMENT or self.wanted[record.instrument]
        )

    cdef Py_ssize_t _count(self) noexcept:
        """Records that pass; -1 - id when ``wanted`` does not know an instrument."""
        cdef Py_ssize_t i
        cdef Py_ssize_t kept = 0
        cdef bint every = self.wanted is None
        cdef uint32_t known = 0 if every else <uint32_t>self.wanted.shape[0]
        cdef const feedd_record* record
        for i in range(self.start, self.cut):
            record = &self.records[i]
            if every:
                kept += (self.kinds >> (record.kind & 31)) & 1
                continue
            if record.instrument >= known and record.instrument != FEEDD_NO_INSTRUMENT:
                return -1 - <Py_ssize_t>record.instrument
            kept += self._passes(record)
        return kept

    cdef Block _filtered(self, Py_ssize_t kept):
        cdef Py_ssize_t i
        cdef Py_ssize_t at = 0
        cdef bint every = self.wanted is None
        cdef const feedd_record* record
        cdef Block out = new_block(kept)
        for i in range(self.start, self.cut):
            record = &self.records[i]
            if ((self.kinds >> (record.kind & 31)) & 1) if every else self._passes(record):
                out.records[at] = record[0]
                at += 1
        return out

    @property
    def held(self):
        """Records read that wait for the end of their event."""
        return self.end - self.start

    def position(self, RingReader reader not None):
        """Where another reader has to start to get what was not handed out yet."""
        return self.place(reader)

    cdef uint64_t place(self, RingReader reader):
        if self.start < self.end:
            return self.records[self.start].ring_seq
        return reader.r.next
