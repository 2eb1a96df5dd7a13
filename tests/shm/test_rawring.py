"""The raw ring: whole entries in order, or a count of those that are missing."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from feedd.errors import LayoutError, ShmError
from feedd.shm.layout import HEADER_BYTES
from feedd.shm.rawring import IN, OP, REST, RawReader, RawWriter, create_raw

MIB = 1 << 20
ENTRY = 32


@pytest.fixture
def writer(shm_dir: Path) -> RawWriter:
    create_raw(shm_dir, 0, MIB)
    return RawWriter(shm_dir, 0)


def test_entries_come_as_they_were_put(writer: RawWriter, shm_dir: Path) -> None:
    reader = RawReader(shm_dir, 0)
    assert reader.read() == []
    assert writer.put(IN, 3, 700, 123, b"hello")
    assert writer.put(REST, 4, 65535, -5, b"head\n", b"body")
    assert writer.put(OP, 0, 0, 2**62, b"")
    first, second, third = reader.read()
    assert first[:4] == (IN, 3, 700, 123)
    assert first.payload == b"hello"
    assert (second.kind, second.venue, second.line, second.t) == (REST, 4, 65535, -5)
    assert second.payload == b"head\nbody"
    assert (third.t, third.payload) == (2**62, b"")
    assert [e.seq - first.seq for e in (first, second, third)] == [0, 1, 2]
    assert (first.dropped, third.dropped) == (0, 0)
    assert reader.read() == []
    assert reader.pending == 0


def test_random_sizes_over_many_turns(writer: RawWriter, shm_dir: Path) -> None:
    """Against a list: every entry that was taken comes out, in order, over ten turns."""
    random_ = random.Random(5)
    reader = RawReader(shm_dir, 0)
    expected: list[bytes] = []
    got: list[bytes] = []
    dropped = written = 0
    while written < 10 * MIB:
        size = random_.choice((0, 1, 7, 8, 9, 100, 1_000, 60_000, 300_000))
        data = random_.randbytes(size)
        if writer.put(IN, 0, 0, 0, data):
            expected.append(data)
            written += size
        else:
            dropped += 1
        if random_.random() < 0.4:
            got += [entry.payload for entry in reader.read(random_.choice((1, MIB)))]
            if random_.random() < 0.7:
                reader.release()
    while entries := reader.read():
        got += [entry.payload for entry in entries]
    assert got == expected
    assert dropped > 0, "the test never filled the ring"
    assert writer.dropped == reader.dropped == dropped


def test_what_finds_no_room_is_counted_and_told(writer: RawWriter, shm_dir: Path) -> None:
    reader = RawReader(shm_dir, 0)
    taken = 0
    while writer.put(IN, 0, 0, 0, bytes(1_000)):
        taken += 1
    assert taken == (MIB // 1032)
    assert not writer.put(IN, 0, 0, 0, bytes(2_000))
    assert writer.dropped == 2
    assert len(reader.read(2 * MIB)) == taken
    assert not writer.put(IN, 0, 0, 0, bytes(1_000)), "reading alone must not free anything"
    reader.release()
    assert writer.put(IN, 0, 0, 0, b"again")
    (entry,) = reader.read()
    assert (entry.payload, entry.dropped) == (b"again", 3)
    assert writer.put(IN, 0, 0, 0, b"more")
    assert reader.read()[0].dropped == 0


def test_an_entry_larger_than_half_of_the_ring_is_dropped(writer: RawWriter, shm_dir: Path) -> None:
    assert not writer.put(IN, 0, 0, 0, bytes(MIB // 2 - ENTRY + 1))
    assert writer.put(IN, 0, 0, 0, bytes(MIB // 2 - ENTRY))
    assert RawReader(shm_dir, 0).read()[0].dropped == 1


def test_a_reader_that_died_is_followed_by_one_that_begins_at_the_same_place(
    writer: RawWriter, shm_dir: Path
) -> None:
    for i in range(10):
        writer.put(IN, 0, 0, i, b"x")
    first = RawReader(shm_dir, 0)
    assert [entry.t for entry in first.read()] == list(range(10))
    first.close()
    second = RawReader(shm_dir, 0)
    assert [entry.t for entry in second.read()] == list(range(10))
    second.release()
    assert RawReader(shm_dir, 0).read() == []
    second.rewind()
    assert second.read() == []


def test_the_next_writer_goes_on(writer: RawWriter, shm_dir: Path) -> None:
    writer.put(IN, 0, 0, 0, b"one")
    writer.close()
    RawWriter(shm_dir, 0).put(IN, 0, 0, 0, b"two")
    one, two = RawReader(shm_dir, 0).read()
    assert (one.payload, two.payload, two.seq) == (b"one", b"two", one.seq + 1)


def test_numbers_of_a_new_ring_are_larger_than_any_before(writer: RawWriter, shm_dir: Path) -> None:
    writer.put(IN, 0, 0, 0, b"old")
    (old,) = RawReader(shm_dir, 0).read()
    writer.close()
    (shm_dir / "reader-0.raw").unlink()
    create_raw(shm_dir, 0, MIB)
    RawWriter(shm_dir, 0).put(IN, 0, 0, 0, b"new")
    assert RawReader(shm_dir, 0).read()[0].seq > old.seq


@pytest.mark.parametrize("total", [0, 4, 12, 1 << 19, 0xFFFFFFF8])
def test_damage_is_an_error_and_not_a_crash(writer: RawWriter, shm_dir: Path, total: int) -> None:
    writer.put(IN, 0, 0, 0, b"x")
    with (shm_dir / "reader-0.raw").open("r+b") as file:
        file.seek(HEADER_BYTES + 4096)
        file.write(struct.pack("<I", total))
    with pytest.raises(LayoutError, match="damaged"):
        RawReader(shm_dir, 0).read()


def test_a_payload_longer_than_its_entry_is_damage(writer: RawWriter, shm_dir: Path) -> None:
    writer.put(IN, 0, 0, 0, b"x")
    with (shm_dir / "reader-0.raw").open("r+b") as file:
        file.seek(HEADER_BYTES + 4096 + 24)
        file.write(struct.pack("<I", 9))
    with pytest.raises(LayoutError):
        RawReader(shm_dir, 0).read()


@pytest.mark.parametrize("capacity", [0, 4096, MIB + 4096, 3 * MIB])
def test_capacities_are_powers_of_two(shm_dir: Path, capacity: int) -> None:
    with pytest.raises(ShmError, match="power of two"):
        create_raw(shm_dir, 0, capacity)


def test_nobody_else_may_read_it(writer: RawWriter, shm_dir: Path) -> None:
    assert (shm_dir / "reader-0.raw").stat().st_mode & 0o077 == 0
