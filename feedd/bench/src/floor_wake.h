/* floor_wake.h - the least that waking another process takes here: a word, and the kernel's futex. */
#ifndef FEEDD_FLOOR_WAKE_H
#define FEEDD_FLOOR_WAKE_H

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <feedd/order.h>

static inline void feedd_floor_wake(void *word, uint32_t value)
{
    feedd_store32_release(word, value);
    (void)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Until the word is another one. */
static inline void feedd_floor_sleep(void *word, uint32_t value)
{
    while (feedd_load32_acquire(word) == value) {
        (void)syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
    }
}

#endif
