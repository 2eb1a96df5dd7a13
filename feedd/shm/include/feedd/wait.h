/* wait.h - sleep until the writer publishes, and the writer's side of the wake.
 *
 *   writer  F1 full fence after the stamps   F2 need_wake != 0? exchange it to 0, then wake_seq += 1
 *                                               and FUTEX_WAKE (wake.h)
 *   reader  S1 w = wake_seq (acquire)        S2 need_wake = 1      S3 full fence
 *           S4 record there? do not sleep    S5 FUTEX_WAIT while wake_seq == w, at most 50 ms
 *
 * F1 pairs with S3: either the writer sees the flag or the reader sees the record. need_wake is a
 * flag and not a count: a reader that is killed asleep costs one useless wake and nothing more.
 * wake_seq lies in the ring's header, where readers cannot write; need_wake lies in the wake file.
 * A reader sets it with pwrite, not through a map: a map of a file that group members can truncate
 * would be a SIGBUS waiting to happen.
 */
#ifndef FEEDD_WAIT_H
#define FEEDD_WAIT_H

#include <time.h>

#include "ring.h"
#include "wake.h"

#define FEEDD_WAIT_SLICE_NS 50000000 /* longest sleep: a wake that got lost costs no more */

/* S2: 1 if the writer will wake us, 0 if we have no right to ask (then poll with short sleeps). */
static inline int feedd_ask_wake(const feedd_reader *r)
{
    static const uint32_t one = 1;
    if (r->need_wake) {
        __atomic_store_n(r->need_wake, 1, FEEDD_FLAG_ORDER);
        return 1;
    }
    return r->wake_fd >= 0 &&
           pwrite(r->wake_fd, &one, sizeof one, (off_t)r->wake_offset) == (ssize_t)sizeof one;
}

/* Sleep once, at most timeout_ns and never longer than a slice. Returns 1 when there is something to
 * read, 0 otherwise (timeout, signal, wake without a record: the caller looks and calls again). */
static inline int feedd_wait_futex(const feedd_reader *r, int64_t timeout_ns)
{
    if (feedd_available(r)) {
        return 1;
    }
    uint32_t seen = feedd_load32_acquire(&r->header->wake_seq); /* S1 */
    int64_t ns = timeout_ns < FEEDD_WAIT_SLICE_NS ? timeout_ns : FEEDD_WAIT_SLICE_NS;
    int asked = feedd_ask_wake(r); /* S2 */
    feedd_fence_full();            /* S3 */
    if (feedd_available(r)) {      /* S4 */
        return 1;
    }
    if (ns <= 0) {
        return 0;
    }
    struct timespec limit = {0, (long)ns};
    if (asked) {
        (void)syscall(SYS_futex, &r->header->wake_seq, FUTEX_WAIT, seen, &limit, NULL, 0); /* S5 */
    } else {
        limit.tv_nsec = ns < 200000 ? (long)ns : 200000;
        (void)nanosleep(&limit, NULL);
    }
    return feedd_available(r);
}

/* Look `turns` times without giving the processor away. */
static inline int feedd_wait_spin(const feedd_reader *r, unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        if (feedd_available(r)) {
            return 1;
        }
        feedd_pause();
    }
    return feedd_available(r);
}

#endif
