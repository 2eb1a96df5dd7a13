"""The instruments table: append-only, ids are row numbers and never change.

Only the supervisor writes (``InstrumentsWriter``); everybody reads (``InstrumentsReader``). The
count is stored after the row it lets in is complete; later changes of a row go under its seqlock.
"""

from pathlib import Path

import numpy as np

from feedd.errors import LayoutError, ShmError, ShmFullError
from feedd.shm import layout
from feedd.shm.layout import SegmentKind
from feedd.shm.rows import INSTRUMENT, INSTRUMENT_BYTES
from feedd.shm.segment import create, dtype_json, open_segment

from libc.stdint cimport uint32_t, uint64_t

from feedd.shm.feedd cimport (
    FEEDD_HEADER_BYTES, FEEDD_PATIENCE_NS, feedd_bell, feedd_copy_in, feedd_header,
    feedd_load_acquire, feedd_patience, feedd_seq_begin, feedd_seq_end, feedd_seq_read,
    feedd_seq_wait, feedd_store_release,
)

cdef enum:
    ROW_BYTES = 512
    RETRIES = 1000

CAPACITY_DEFAULT = 16_384
_DEFAULTS = {
    "reader": -1, "row": -1, "tick": np.nan, "lot": np.nan, "min_size": np.nan,
    "contract_size": np.nan, "strike": np.nan, "price_decimals": -1, "size_decimals": -1,
}


def _geometry(segment):
    header = segment.header
    body = header.file_size - layout.HEADER_BYTES
    if header.slot_bytes != INSTRUMENT_BYTES or body != header.capacity * INSTRUMENT_BYTES:
        raise LayoutError(
            f"{segment.path} says {header.capacity} rows of {header.slot_bytes} bytes in {body}: "
            "not an instruments table that this feedd reads"
        )
    return header.capacity


def _encode(name, value):
    if not isinstance(value, str):
        return value
    data = value.encode()
    room = INSTRUMENT.fields[name][0].itemsize
    if len(data) > room:
        raise ValueError(f"{name} {value!r} has {len(data)} bytes of UTF-8, the table holds {room}")
    return data


cdef class InstrumentsWriter:
    """The supervisor's side. Not thread-safe."""

    def __init__(self):
        raise TypeError("use InstrumentsWriter.create or InstrumentsWriter.open")

    @classmethod
    def create(cls, directory, capacity=CAPACITY_DEFAULT, group=None):
        """Make ``instruments`` with room for ``capacity`` rows of 512 bytes."""
        cdef InstrumentsWriter self = InstrumentsWriter.__new__(InstrumentsWriter)
        if capacity < 1:
            raise ShmError(f"an instruments table of {capacity} rows: it needs at least one")
        self._attach(create(
            Path(directory) / "instruments",
            SegmentKind.INSTRUMENTS,
            capacity=capacity,
            slot_bytes=INSTRUMENT_BYTES,
            body_bytes=capacity * INSTRUMENT_BYTES,
            dtype=dtype_json(INSTRUMENT),
            name="instruments",
            group=group,
        ))
        self.segment.new_epoch()
        return self

    @classmethod
    def open(cls, directory):
        """Go on with the table of an earlier supervisor."""
        cdef InstrumentsWriter self = InstrumentsWriter.__new__(InstrumentsWriter)
        self._attach(open_segment(
            Path(directory) / "instruments", SegmentKind.INSTRUMENTS, writable=True))
        cdef uint32_t row
        for row in range(self.count):
            # a row left open by a dead supervisor: each word is old or new, all valid: close it
            self._store(row, bytes(self._base[
                FEEDD_HEADER_BYTES + row * ROW_BYTES:FEEDD_HEADER_BYTES + (row + 1) * ROW_BYTES]))
        self.segment.new_epoch()
        return self

    cdef _attach(self, segment):
        self.capacity = _geometry(segment)
        self.segment = segment
        self._base = segment.buf
        rows = self._rows()
        self._names = {name: row for row, name in enumerate(rows["name"].tolist())}

    cdef _store(self, uint32_t row, data):
        cdef const unsigned char[::1] source = data
        cdef unsigned char* target = &self._base[FEEDD_HEADER_BYTES + <size_t>row * ROW_BYTES]
        cdef uint64_t odd = feedd_seq_begin(<uint64_t*>target)
        feedd_copy_in(target + 8, &source[8], ROW_BYTES - 8)
        feedd_seq_end(<uint64_t*>target, odd)

    cdef _changed(self):
        cdef feedd_header* header = <feedd_header*>&self._base[0]
        feedd_store_release(&header.version, feedd_load_acquire(&header.version) + 1)
        feedd_bell(header)

    def _check(self):
        if self._base is None:
            raise ShmError("this instruments writer is closed")

    def _rows(self):
        return np.frombuffer(
            self.segment.buf, dtype=INSTRUMENT, count=self.count, offset=layout.HEADER_BYTES)

    @property
    def count(self):
        """Rows that readers can see."""
        self._check()
        return feedd_load_acquire(&(<feedd_header*>&self._base[0]).head)

    def append(self, **fields):
        """Add an instrument; returns its id.

        ``fields`` are those of ``INSTRUMENT`` without ``id`` and ``lock``; ``venue`` and ``symbol``
        are needed, ``name`` becomes "venue:symbol". Raises ``ValueError`` for a name that is there
        already or a text that is too long, ``ShmFullError`` when the table is full.
        """
        self._check()
        cdef feedd_header* header = <feedd_header*>&self._base[0]
        cdef uint32_t row = self.count
        fields = {**_DEFAULTS, **fields}
        fields["name"] = f"{fields['venue']}:{fields['symbol']}"
        fields["id"] = row
        record = np.zeros(1, dtype=INSTRUMENT)
        for name, value in fields.items():
            record[name] = _encode(name, value)
        name = record["name"][0]
        if name in self._names:
            raise ValueError(f"{fields['name']} is in the table already, id {self._names[name]}")
        if row >= self.capacity:
            raise ShmFullError(
                f"the instruments table has room for {self.capacity} and is full; give it a larger "
                "capacity and restart the daemon"
            )
        self._store(row, record.tobytes())
        self._names[name] = row
        feedd_store_release(&header.head, row + 1)
        self._changed()
        return row

    def update(self, int instrument_id, **fields):
        """Change fields of a row (status, reader, row, tick ...); id and names never change."""
        self._check()
        if not 0 <= instrument_id < self.count:
            raise IndexError(f"instrument {instrument_id}: there are {self.count}")
        fixed = {"id", "lock", "name", "venue", "symbol"} & fields.keys()
        if fixed:
            raise ValueError(f"{', '.join(sorted(fixed))} of an instrument never changes")
        record = self._rows()[instrument_id:instrument_id + 1].copy()
        for name, value in fields.items():
            record[name] = _encode(name, value)
        self._store(instrument_id, record.tobytes())
        self._changed()

    def find(self, name):
        """The id of "venue:symbol", or None."""
        return self._names.get(name.encode())

    def heartbeat(self, mono_ns):
        """The supervisor's sign of life (CLOCK_MONOTONIC, ns)."""
        self.segment.beat(mono_ns)

    def close(self):
        if self._base is None:
            return
        self._base = None
        self.segment.close()


cdef class InstrumentsReader:
    """A reader's copy of the table, renewed by ``refresh`` when something changed."""

    cdef readonly object segment
    cdef readonly object array
    cdef const unsigned char[::1] _base
    cdef uint64_t _version
    cdef uint64_t _capacity
    cdef object _names
    cdef feedd_patience _patience

    def __init__(self, directory):
        self.segment = open_segment(Path(directory) / "instruments", SegmentKind.INSTRUMENTS)
        self._capacity = _geometry(self.segment)
        self._base = self.segment.buf
        self._version = <uint64_t>-1
        self.refresh()

    @property
    def version(self):
        """Grows with every change of the table, as it is in shared memory now."""
        if self._base is None:
            raise ShmError("this instruments reader is closed")
        return feedd_load_acquire(&(<const feedd_header*>&self._base[0]).version)

    def refresh(self):
        """Copy the table again if it changed; True when it did. ``array`` is a new array then."""
        cdef uint64_t version = self.version
        cdef uint64_t count, row
        cdef int ok = 1
        if version == self._version:
            return False
        count = min(
            feedd_load_acquire(&(<const feedd_header*>&self._base[0]).head), self._capacity)
        out = np.empty(count, dtype=INSTRUMENT)
        cdef unsigned char[::1] view
        cdef const uint64_t* source
        self._patience.left_ns = FEEDD_PATIENCE_NS
        if count:
            view = out.view(np.uint8)
            with nogil:
                for row in range(count):
                    source = <const uint64_t*>&self._base[FEEDD_HEADER_BYTES + row * ROW_BYTES]
                    ok = feedd_seq_read(source, &view[row * ROW_BYTES], ROW_BYTES, RETRIES)
                    while not ok and feedd_seq_wait(source, &self._patience):
                        ok = feedd_seq_read(source, &view[row * ROW_BYTES], ROW_BYTES, RETRIES)
                    if not ok:
                        break
        if not ok:
            if self.array is None:
                raise ShmError(
                    f"{self.segment.path}: row {row} is being written and its writer does not "
                    "finish; is the daemon stopped?"
                )
            return False
        out.flags.writeable = False
        self.array = out
        self._version = version
        self._names = None
        return True

    def by_name(self, name):
        """The row of "venue:symbol" as a NumPy record; ``KeyError`` when there is none."""
        row = self._lookup(name)
        if row is None and self.refresh():
            row = self._lookup(name)
        if row is None:
            raise KeyError(name)
        return self.array[row]

    def _lookup(self, name):
        if self._names is None:
            self._names = {key: row for row, key in enumerate(self.array["name"].tolist())}
        return self._names.get(name.encode())

    def __len__(self):
        return len(self.array)

    def close(self):
        if self._base is None:
            return
        self._base = None
        self.segment.close()
