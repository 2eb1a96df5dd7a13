/* wake.h - the writer's side of a sleep (wait.h has the whole handshake). */
#ifndef FEEDD_WAKE_H
#define FEEDD_WAKE_H

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layout.h"
#include "order.h"

/* Somebody sleeps, or did. Shared futex (no FUTEX_PRIVATE_FLAG): the key is the file. */
static inline void feedd_wake(feedd_header *h, uint32_t *need_wake)
{
    if (__atomic_exchange_n(need_wake, 0, __ATOMIC_SEQ_CST)) {
        __atomic_fetch_add((feedd_half *)&h->wake_seq, 1, __ATOMIC_SEQ_CST);
        (void)syscall(SYS_futex, &h->wake_seq, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    }
}

/* Ring the bell without a record: state or epoch changed. */
static inline void feedd_bell(feedd_header *h)
{
    __atomic_fetch_add((feedd_half *)&h->wake_seq, 1, __ATOMIC_SEQ_CST);
    (void)syscall(SYS_futex, &h->wake_seq, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

#endif
