"""The sequence rules of the venues as pure functions of a book and a message.

They say what a message is to a book that is whole; what then happens is in ``books.pyx``.
"""

from libc.stdint cimport int64_t, uint64_t

from feedd.decode.plan cimport (
    POLICY_CHECKSUM, POLICY_KEYED_ROWS, POLICY_NONE_FULL, POLICY_PLUS_ONE, POLICY_PREV_LINK,
    POLICY_PREV_LINK_REST, POLICY_RANGE, POLICY_RANGE_REST, POLICY_TRUST, program_t,
)
from feedd.pipeline.update cimport update_t

cdef enum:
    NEXT_APPLY = 0    # it follows what was applied last
    NEXT_OLD = 1      # it is part of that already
    NEXT_GAP = 2      # something between the two is missing


cdef inline bint needs_rest(const program_t* p) noexcept nogil:
    """The book starts from a REST snapshot, not from one in the stream."""
    return p.policy == POLICY_PREV_LINK_REST or p.policy == POLICY_RANGE_REST


cdef inline bint is_numbered(const program_t* p) noexcept nogil:
    """The numbers of the messages say which one follows which."""
    return not (p.policy == POLICY_CHECKSUM or p.policy == POLICY_KEYED_ROWS
                or p.policy == POLICY_TRUST or p.policy == POLICY_NONE_FULL)


cdef inline int next_of(
    const program_t* p, uint64_t last, bint joined, const update_t* u
) noexcept nogil:
    """What a change is to a book at number ``last``; ``joined``: a change followed its snapshot."""
    cdef bint linked
    if not u.has_current or not is_numbered(p):
        return NEXT_APPLY
    if p.policy == POLICY_RANGE_REST:
        # sizes are absolute, so a range that begins earlier does no harm
        linked = u.first <= last + 1 and u.current > last
    elif p.policy == POLICY_RANGE:
        linked = u.first == last + 1
    elif p.policy == POLICY_PLUS_ONE:
        linked = u.current == last + 1
    else:
        # a lower number behind the right previous one is a reset, an equal one keeps alive
        linked = u.has_previous and u.previous >= 0 and <uint64_t>u.previous == last
        if not linked and not joined and p.policy == POLICY_PREV_LINK:
            # the snapshot may have been taken between two changes (Bitget v3)
            linked = (u.has_previous and u.current > last
                      and (u.previous < 0 or <uint64_t>u.previous < last))
    if linked:
        return NEXT_APPLY
    return NEXT_OLD if u.current <= last else NEXT_GAP


cdef inline bint follows(const program_t* p, uint64_t chain, const update_t* u) noexcept nogil:
    """Does a change follow the one numbered ``chain``, both seen while no book was whole?"""
    if p.policy == POLICY_RANGE_REST:
        return u.first <= chain + 1
    if p.policy == POLICY_RANGE:
        return u.first == chain + 1
    if p.policy == POLICY_PLUS_ONE:
        return u.current == chain + 1
    return u.has_previous and <uint64_t>u.previous == chain


cdef inline uint64_t expected_of(const program_t* p, uint64_t last) noexcept nogil:
    """What a gap was expected to begin with, in the terms of ``got_of``."""
    if p.policy == POLICY_PREV_LINK or p.policy == POLICY_PREV_LINK_REST:
        return last
    return last + 1


cdef inline uint64_t got_of(const program_t* p, const update_t* u) noexcept nogil:
    if (p.policy == POLICY_PREV_LINK or p.policy == POLICY_PREV_LINK_REST) and u.has_previous:
        return <uint64_t>u.previous
    return u.first


cdef inline bint contained(
    const program_t* p, uint64_t current, uint64_t snapshot_id
) noexcept nogil:
    """Is a delta that ends at ``current`` part of the REST snapshot already?"""
    if p.policy == POLICY_RANGE_REST:
        return current <= snapshot_id
    return current < snapshot_id


cdef inline bint joins(
    const program_t* p, uint64_t first, int64_t previous, uint64_t snapshot_id
) noexcept nogil:
    """Does the first delta that is not contained follow the REST snapshot without a hole?"""
    if p.policy == POLICY_RANGE_REST:
        return first <= snapshot_id + 1
    return first <= snapshot_id or (previous >= 0 and <uint64_t>previous == snapshot_id)
