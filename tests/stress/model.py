"""Exhaustive weak-memory model of the protocols in ``feedd/shm/include/feedd``: ``make model``.

Operational model, weaker than x86-TSO and ARMv8 (both multi-copy atomic):

* a writer's stores go to a buffer and reach memory in any order, except that stores to one address
  stay in order, a release store leaves after everything before it, and nothing behind a release
  fence leaves before everything ahead of it;
* a reader's loads happen in any order, except that loads of one address stay in order, nothing
  after an acquire load happens before it, and nothing after an acquire fence happens before any
  load ahead of it.

Every execution of small instances is explored: rings of 2 to 4 slots that wrap, batches of one to
three records, a reader at every position, a writer that dies after every store and a successor,
a seqlock, and the sleep/wake handshake. One data word stands for all data words of a record: the
protocol treats them alike, and a record is torn when any of them is of another record.

Each protocol must hold as it is, and must fail with any one fence, ordering, check or step left
out. Exit status 0 only if both are so.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

Address = tuple[str, int]
Values = dict[int, int]
Verdict = Callable[[Values], "str | None"]


@dataclass(frozen=True)
class Op:
    """One step of a writer: a store (relaxed or release) or a release fence."""

    address: Address | None = None
    value: int = 0
    release: bool = False


FENCE = Op()


@dataclass(frozen=True)
class Load:
    """One load of a reader; ``after``: the loads that must have happened before it."""

    address: Address
    after: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Ring:
    """The ring protocol with each of its parts switchable."""

    w1_fence: bool = True
    w4_release: bool = True
    w5_invalidate_next: bool = True
    invalidate_later: bool = True
    first_stamp_last: bool = True
    head_release: bool = True
    r1_acquire: bool = True
    r1_check: bool = True
    r4_fence: bool = True
    r5_check: bool = True
    takeover_undoes: bool = True
    takeover_walks: bool = True
    takeover_invalidates: bool = True


@dataclass(frozen=True)
class Instance:
    """A ring of ``slots``, and the batches its writer commits from sequence ``slots`` on."""

    slots: int
    batches: tuple[int, ...]
    wants: range = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "wants", range(self.slots, self.slots + sum(self.batches)))


def stamp(instance: Instance, seq: int) -> Address:
    return ("stamp", seq % instance.slots)


def data(instance: Instance, seq: int) -> Address:
    return ("data", seq % instance.slots)


HEAD: Address = ("head", 0)


def commits(p: Ring, instance: Instance, first: int, sizes: tuple[int, ...], tag: int) -> list[Op]:
    """feedd_put and feedd_commit for batches of the given sizes; the data word is seq + tag."""
    ops: list[Op] = []
    for size in sizes:
        end = first + size
        for seq in range(first, end):
            if seq != first and p.invalidate_later:
                ops.append(Op(stamp(instance, seq), seq - 1))
            if p.w1_fence:
                ops.append(FENCE)
            ops.append(Op(data(instance, seq), seq + tag))
        order = range(end - 1, first - 1, -1) if p.first_stamp_last else range(first, end)
        ops += [Op(stamp(instance, seq), seq, p.w4_release) for seq in order]
        if p.w5_invalidate_next:
            ops.append(Op(stamp(instance, end), end - 1))
        ops.append(Op(HEAD, end, p.head_release))
        first = end
    return ops


def leaving(buffer: tuple[Op, ...]) -> Iterator[int]:
    """Positions of the buffered operations that may reach memory next."""
    seen: set[Address] = set()
    for i, op in enumerate(buffer):
        if op.address is None:
            if i == 0:
                yield i
            return
        if not (op.release and i) and op.address not in seen:
            yield i
        seen.add(op.address)


BUFFER = 7
# writer's next step, its store buffer, memory, the reader's loads with their values
State = tuple[int, tuple[Op, ...], tuple[int, ...], tuple[tuple[int, int], ...]]


def explore(
    writer: list[Op], start: dict[Address, int], loads: list[Load], verdict: Verdict
) -> tuple[str | None, int]:
    """Run every interleaving of one writer and one reader; the first bad one, states seen."""
    names = sorted(start)
    index = {name: i for i, name in enumerate(names)}
    ops = tuple(writer)
    first: State = (0, (), tuple(start[name] for name in names), ())
    seen = {first}
    todo = deque([first])
    while todo:
        pc, buffer, memory, done = todo.popleft()
        following: list[State] = []
        if pc < len(ops) and len(buffer) < BUFFER:
            following.append((pc + 1, (*buffer, ops[pc]), memory, done))
        for i in leaving(buffer):
            op = buffer[i]
            after = memory
            if op.address is not None:
                at = index[op.address]
                after = (*memory[:at], op.value, *memory[at + 1 :])
            following.append((pc, buffer[:i] + buffer[i + 1 :], after, done))
        performed = {i for i, _ in done}
        for i, load in enumerate(loads):
            if i in performed or not load.after <= performed:
                continue
            values = (*done, (i, memory[index[load.address]]))
            if len(values) == len(loads):
                bad = verdict(dict(values))
                if bad:
                    return bad, len(seen)
            else:
                following.append((pc, buffer, memory, tuple(sorted(values))))
        for state in following:
            if state not in seen:
                seen.add(state)
                todo.append(state)
    return None, len(seen)


def poll_loads(p: Ring, instance: Instance, want: int) -> list[Load]:
    """R1, R3, R5 of record ``want`` (loads 0, 1, 2), then R1 of the record after it (3)."""
    after_r1 = frozenset({0}) if p.r1_acquire else frozenset()
    after_r4 = frozenset({0, 1}) if p.r4_fence else after_r1
    return [
        Load(stamp(instance, want)),
        Load(data(instance, want), after_r1),
        Load(stamp(instance, want), after_r4 | {0}),  # same address as load 0
        Load(stamp(instance, want + 1), after_r4),
    ]


def poll_verdict(
    p: Ring, instance: Instance, want: int, batches: list[range], expected: Callable[[int], int]
) -> Verdict:
    together = any(want in batch and want + 1 in batch for batch in batches)

    def verdict(v: Values) -> str | None:
        accepted = (v[0] == want or not p.r1_check) and (v[2] == want or not p.r5_check)
        if accepted and v[1] != expected(want):
            return f"torn: record {want} accepted with the data {v[1]}"
        if accepted and together and v[3] < want + 1:
            return f"half a batch: record {want} is there, {want + 1} is not"
        if want < v[0] < want + instance.slots - 1:
            return f"false loss: the reader of {want} saw the stamp {v[0]}"
        return None

    return verdict


def batch_ranges(first: int, sizes: tuple[int, ...]) -> list[range]:
    ranges = []
    for size in sizes:
        ranges.append(range(first, first + size))
        first += size
    return ranges


def empty(instance: Instance) -> dict[Address, int]:
    memory: dict[Address, int] = {HEAD: instance.slots}
    for i in range(instance.slots):
        memory["stamp", i] = memory["data", i] = 0
    return memory


def check_ring(p: Ring, instance: Instance) -> tuple[str | None, int]:
    """No torn record, no half batch, no false loss, for a reader at every position."""
    writer = commits(p, instance, instance.slots, instance.batches, 0)
    ranges = batch_ranges(instance.slots, instance.batches)
    states = 0
    for want in instance.wants:
        verdict = poll_verdict(p, instance, want, ranges, lambda seq: seq)
        bad, n = explore(writer, empty(instance), poll_loads(p, instance, want), verdict)
        states += n
        if bad:
            return bad, states
    return None, states


def check_join(p: Ring, instance: Instance) -> tuple[str | None, int]:
    """Whoever sees head = h finds every record below h published (or already overwritten)."""
    writer = commits(p, instance, instance.slots, instance.batches, 0)
    states = 0
    for head in list(instance.wants)[1:]:
        below = head - 1
        loads = [Load(HEAD), Load(stamp(instance, below), frozenset({0}))]

        def verdict(v: Values, head: int = head, below: int = below) -> str | None:
            late = v[0] == head and v[1] < below
            return f"head {head} is visible, record {below} is not" if late else None

        bad, n = explore(writer, empty(instance), loads, verdict)
        states += n
        if bad:
            return bad, states
    return None, states


def take_over(p: Ring, instance: Instance, memory: dict[Address, int]) -> tuple[int, list[Op]]:
    """feedd_takeover: the next sequence, and the stores that make its slots unreadable."""
    seq = memory[HEAD]
    while p.takeover_walks and memory[stamp(instance, seq)] == seq:
        seq += 1
    ops = []
    for i in range(instance.slots):
        value = memory["stamp", i]
        if p.takeover_undoes and value >= seq and value % instance.slots == i:
            ops.append(Op(("stamp", i), value - 1))
    if p.takeover_invalidates:
        ops.append(Op(stamp(instance, seq), seq - 1))
    ops.append(Op(HEAD, seq, True))
    return seq, ops


DEAD_TAG, HEIR_TAG = 100, 200


def check_takeover(p: Ring, instance: Instance) -> tuple[str | None, int]:
    """The writer dies after any number of stores; a successor goes on with other data.

    A reader that read all along must accept only data of the writer that published the record.
    """
    life = commits(p, instance, instance.slots, instance.batches, DEAD_TAG)
    states = 0
    for death in range(len(life) + 1):
        memory = empty(instance)
        for op in life[:death]:  # the kernel hands the lock over after the last store has landed
            if op.address is not None:
                memory[op.address] = op.value
        seen_by_reader = {
            seq
            for seq in instance.wants
            if memory[stamp(instance, seq)] == seq and _reachable(instance, memory, seq)
        }
        seq, repair = take_over(p, instance, memory)
        again = {s for s in seen_by_reader if s >= seq}
        if again:
            return f"record {min(again)} was readable and is published again", states
        heir = repair + commits(p, instance, seq, (2, 1), HEIR_TAG)
        ranges = batch_ranges(seq, (2, 1))

        def expected(s: int, seq: int = seq) -> int:
            return s + (DEAD_TAG if s < seq else HEIR_TAG)

        old = [s for s in (seq - instance.slots, seq - 1) if s >= instance.slots]
        for want in [*old, seq]:
            verdict = poll_verdict(p, instance, want, ranges, expected)
            loads = poll_loads(p, instance, want)
            bad, n = explore(heir, dict(memory), loads, verdict)
            states += n
            if bad:
                return f"death after store {death}: {bad}", states
        for want in (seq + 1, seq + 2):
            bad, n = _explore_beyond(p, instance, heir, memory, seq, want)
            states += n
            if bad:
                return f"death after store {death}: {bad}", states
    return None, states


def _explore_beyond(
    p: Ring, instance: Instance, heir: list[Op], memory: dict[Address, int], seq: int, want: int
) -> tuple[str | None, int]:
    """A reader gets beyond the heir's first record only after it saw that record's stamp."""
    after_first = frozenset({0}) if p.r1_acquire else frozenset()
    after_r1 = after_first | ({1} if p.r1_acquire else set())
    loads = [
        Load(stamp(instance, seq)),
        Load(stamp(instance, want), after_first),
        Load(data(instance, want), after_r1),
        Load(stamp(instance, want), after_r1 | {1} | ({2} if p.r4_fence else set())),
    ]

    def verdict(v: Values) -> str | None:
        if v[0] == seq and v[1] == v[3] == want and v[2] != want + HEIR_TAG:
            return f"record {want} of the dead writer accepted: data {v[2]}"
        return None

    return explore(heir, dict(memory), loads, verdict)


def _reachable(instance: Instance, memory: dict[Address, int], seq: int) -> bool:
    """A reader gets to ``seq`` only through the records before it."""
    return seq < memory[HEAD] or all(
        memory[stamp(instance, s)] == s for s in range(memory[HEAD], seq)
    )


# ---- seqlock ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seqlock:
    l1_odd: bool = True
    l2_fence: bool = True
    l4_release: bool = True
    q1_acquire: bool = True
    q1_odd_check: bool = True
    q3_fence: bool = True
    q4_check: bool = True


def check_seqlock(p: Seqlock) -> tuple[str | None, int]:
    """An accepted copy is one state of the row, and the one its lock says."""
    lock: Address = ("lock", 0)
    words: list[Address] = [("a", 0), ("b", 0)]
    writer: list[Op] = []
    for turn in (1, 2):
        if p.l1_odd:
            writer.append(Op(lock, 2 * turn - 1))
        if p.l2_fence:
            writer.append(FENCE)
        writer += [Op(word, turn) for word in words]
        writer.append(Op(lock, 2 * turn, p.l4_release))
    after_q1 = frozenset({0}) if p.q1_acquire else frozenset()
    after_q3 = frozenset({0, 1, 2}) if p.q3_fence else after_q1
    loads = [
        Load(lock),
        Load(words[0], after_q1),
        Load(words[1], after_q1),
        Load(lock, after_q3 | {0}),
    ]

    def verdict(v: Values) -> str | None:
        even = v[0] % 2 == 0 or not p.q1_odd_check
        same = v[3] == v[0] or not p.q4_check
        if even and same and not v[1] == v[2] == v[0] // 2:
            return f"torn row: lock {v[0]} accepted with the words {v[1]} and {v[2]}"
        return None

    return explore(writer, {lock: 0, words[0]: 0, words[1]: 0}, loads, verdict)


# ---- sleeping and waking ------------------------------------------------------------------------


@dataclass(frozen=True)
class Wake:
    f1_fence: bool = True
    f2_exchange: bool = True
    wake_seq_grows: bool = True
    s1_first: bool = True
    s3_fence: bool = True
    s4_check: bool = True
    s5_compares: bool = True


SLEEPERS = 2
COMMITS = 2


@dataclass(frozen=True)
class WakeState:
    """Writer: next step, its buffered stamp. Memory: stamp, need, wake_seq. Sleepers: per reader
    (step, buffered need, wake_seq seen); step 9 = done, 5 = asleep."""

    step: int = 0
    commit: int = 0
    pending: tuple[int, ...] = ()
    stamp: int = 0
    need: int = 0
    wake_seq: int = 0
    readers: tuple[tuple[int, bool, int], ...] = ((0, False, -1),) * SLEEPERS


def _writer_steps(p: Wake, s: WakeState) -> Iterator[WakeState]:
    if s.pending:
        yield replace(s, stamp=s.pending[0], pending=s.pending[1:])
    if s.commit == COMMITS:
        return
    following = replace(s, commit=s.commit + 1, step=0)
    if s.step == 0:
        yield replace(s, pending=(*s.pending, s.commit + 1), step=1)
    elif s.step == 1 and not (p.f1_fence and s.pending):  # F1, then the load of need_wake
        yield replace(s, step=2) if s.need else following
    elif s.step == 2 and not s.pending:  # the exchange is a locked operation: it empties the buffer
        yield replace(s, need=0 if p.f2_exchange else s.need, step=3)
    elif s.step == 3:
        yield replace(s, wake_seq=s.wake_seq + p.wake_seq_grows, step=4)
    elif s.step == 4:  # FUTEX_WAKE: everybody asleep starts again from the top
        woken = tuple((0, r[1], -1) if r[0] == 5 else r for r in s.readers)
        yield replace(following, readers=woken)


def _reader_steps(p: Wake, s: WakeState, i: int) -> Iterator[WakeState]:
    step, buffered, seen = s.readers[i]
    want = COMMITS - i  # the readers wait for different records

    def to(step: int, buffered: bool, seen: int) -> WakeState:
        readers = (*s.readers[:i], (step, buffered, seen), *s.readers[i + 1 :])
        return replace(s, readers=readers)

    if buffered:
        yield replace(to(step, False, seen), need=1)
    order = [1, 2, 3, 4] if p.s1_first else [2, 3, 1, 4]  # S1 flag fence+check sleep
    if step == 9 or step == 5:
        return
    if step == 0:
        if s.stamp >= want:
            yield to(9, buffered, seen)
        else:
            yield to(1, buffered, seen)
        return
    action = order[step - 1]
    if action == 1:
        yield to(step + 1, buffered, s.wake_seq)
    elif action == 2:
        yield to(step + 1, True, seen)
    elif action == 3 and not (p.s3_fence and buffered):
        yield to(9 if p.s4_check and s.stamp >= want else step + 1, buffered, seen)
    elif action == 4 and not buffered:  # a system call empties the buffer
        yield to(5, buffered, seen) if s.wake_seq == seen or not p.s5_compares else to(0, False, -1)


def check_wake(p: Wake) -> tuple[str | None, int]:
    """No reader sleeps for ever on a record that is there."""
    first = WakeState()
    seen = {first}
    todo = deque([first])
    while todo:
        state = todo.popleft()
        following = list(_writer_steps(p, state))
        for i in range(SLEEPERS):
            following += _reader_steps(p, state, i)
        if not following:
            for i, reader in enumerate(state.readers):
                if reader[0] == 5 and state.stamp >= COMMITS - i:
                    return "lost wake-up: a reader sleeps, its record is there", len(seen)
        for other in following:
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return None, len(seen)


# ---- the list of claims -------------------------------------------------------------------------

INSTANCES = (
    Instance(2, (1, 1, 1, 1)),
    Instance(3, (1, 1, 1, 1, 1)),
    Instance(3, (2, 1, 2)),
    Instance(3, (1, 2, 2)),
    Instance(3, (2, 2, 2)),
    Instance(4, (3, 2, 2)),
)
QUICK = (Instance(2, (1, 1, 1, 1)), Instance(3, (2, 1, 2)))
MUTANT_INSTANCES = (Instance(2, (1, 1, 1, 1)), Instance(3, (2, 2, 2)))

Check = Callable[[], "tuple[str | None, int]"]


def ring_mutants() -> Iterator[tuple[str, Check]]:
    polled = (
        "w1_fence", "w4_release", "w5_invalidate_next", "invalidate_later", "first_stamp_last",
        "r1_acquire", "r1_check", "r4_fence", "r5_check",
    )  # fmt: skip
    for name in polled:
        mutant = replace(Ring(), **{name: False})
        yield f"ring without {name}", partial(_any, check_ring, mutant, MUTANT_INSTANCES)
    mutant = replace(Ring(), head_release=False)
    yield "ring without head_release", partial(_any, check_join, mutant, MUTANT_INSTANCES)
    for name in ("takeover_undoes", "takeover_walks", "takeover_invalidates"):
        mutant = replace(Ring(), **{name: False})
        yield f"ring without {name}", partial(_any, check_takeover, mutant, TAKEOVERS)


TAKEOVERS = (Instance(4, (2, 3)), Instance(4, (3, 2)))


def _any(
    check: Callable[[Ring, Instance], tuple[str | None, int]],
    protocol: Ring,
    on: tuple[Instance, ...],
) -> tuple[str | None, int]:
    states = 0
    for instance in on:
        bad, n = check(protocol, instance)
        states += n
        if bad:
            return bad, states
    return None, states


def claims(quick: bool) -> Iterator[tuple[str, Check]]:
    """What must hold."""
    for instance in QUICK if quick else INSTANCES:
        label = f"{instance.slots} slots, batches {'+'.join(map(str, instance.batches))}"
        yield f"ring: {label}", partial(check_ring, Ring(), instance)
        yield f"join: {label}", partial(check_join, Ring(), instance)
    for instance in TAKEOVERS[: 1 if quick else None]:
        label = f"{instance.slots} slots, batches {'+'.join(map(str, instance.batches))}"
        yield f"takeover: {label}", partial(check_takeover, Ring(), instance)
    yield "seqlock", partial(check_seqlock, Seqlock())
    yield "sleep and wake, two readers", partial(check_wake, Wake())


def mutants() -> Iterator[tuple[str, Check]]:
    """What must fail."""
    yield from ring_mutants()
    for name in Seqlock.__dataclass_fields__:
        lock = replace(Seqlock(), **{name: False})
        yield f"seqlock without {name}", partial(check_seqlock, lock)
    for name in Wake.__dataclass_fields__:
        if name == "f2_exchange":
            continue  # leaving the flag up costs wakes, it loses none
        wake = replace(Wake(), **{name: False})
        yield f"wake without {name}", partial(check_wake, wake)


def run(quick: bool = False, show: Callable[[str], object] = print) -> bool:
    """Check every claim and every mutant; True when all came out as they must."""
    good = True
    for must_hold, cases in ((True, claims(quick)), (False, mutants())):
        show("must hold:" if must_hold else "must fail, with one part left out:")
        for label, check in cases:
            started = time.monotonic()
            bad, states = check()
            right = (bad is None) is must_hold
            good &= right
            took = time.monotonic() - started
            mark = "ok " if right else "BAD"
            show(f"  {mark} {label:44} {states:>7} states {took:4.1f} s  {bad or 'holds'}")
    show("all as it must be" if good else "SOMETHING IS WRONG: see the lines marked BAD")
    return good


if __name__ == "__main__":
    sys.exit(0 if run(quick="--quick" in sys.argv) else 1)
