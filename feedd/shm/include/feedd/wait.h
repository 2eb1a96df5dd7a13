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

#include <errno.h>
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

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* Linux 5.16 */
#endif

struct feedd_waitv { /* struct futex_waitv of linux/futex.h, which older headers lack */
    uint64_t value, address;
    uint32_t flags, reserved;
};

#define FEEDD_WAIT_ANY_MAX 64

/* Sleep once until one of `n` rings (at most FEEDD_WAIT_ANY_MAX) has something, or the timeout or a
 * slice is over. Returns the index of a reader with something to read, or -1. */
static inline int feedd_wait_any(const feedd_reader *const *readers, unsigned n, int64_t timeout_ns)
{
    struct feedd_waitv wait[FEEDD_WAIT_ANY_MAX];
    int asked = 1;
    n = n > FEEDD_WAIT_ANY_MAX ? FEEDD_WAIT_ANY_MAX : n;
    for (unsigned i = 0; i < n; i++) {
        if (feedd_available(readers[i])) {
            return (int)i;
        }
        memset(&wait[i], 0, sizeof wait[i]);
        wait[i].value = feedd_load32_acquire(&readers[i]->header->wake_seq); /* S1 */
        wait[i].address = (uint64_t)(uintptr_t)&readers[i]->header->wake_seq;
        wait[i].flags = 2;                   /* FUTEX_32, shared */
        asked &= feedd_ask_wake(readers[i]); /* S2 */
    }
    feedd_fence_full(); /* S3 */
    for (unsigned i = 0; i < n; i++) {
        if (feedd_available(readers[i])) { /* S4 */
            return (int)i;
        }
    }
    if (n == 0 || timeout_ns <= 0) {
        return -1;
    }
    int64_t ns = timeout_ns < FEEDD_WAIT_SLICE_NS ? timeout_ns : FEEDD_WAIT_SLICE_NS;
    struct timespec end, pause = {0, (long)(ns < 200000 ? ns : 200000)};
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += (long)ns;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    if (!asked || (syscall(SYS_futex_waitv, wait, n, 0, &end, CLOCK_MONOTONIC) < 0 && /* S5 */
                   errno != EAGAIN && errno != ETIMEDOUT && errno != EINTR)) {
        (void)nanosleep(&pause, NULL); /* an older kernel, or no right to be woken: look often */
    }
    for (unsigned i = 0; i < n; i++) {
        if (feedd_available(readers[i])) {
            return (int)i;
        }
    }
    return -1;
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
