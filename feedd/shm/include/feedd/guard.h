/* guard.h - the writer survives a wake file that somebody cut short.
 *
 * The wake file is the one shared file that consumers may write, so a member of their group could
 * truncate it, and the next look at need_wake would be a SIGBUS. The handler here puts an anonymous
 * page in the place of the lost one: nobody wakes sleepers any more (they look every 50 ms), the
 * feed goes on. A SIGBUS anywhere else goes to whoever handled it before.
 */
#ifndef FEEDD_GUARD_H
#define FEEDD_GUARD_H

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define FEEDD_GUARDS 64
#define FEEDD_GUARD_PAGE 4096

static uintptr_t feedd_guarded[FEEDD_GUARDS];
static struct sigaction feedd_guard_previous;
static int feedd_guard_installed;

static void feedd_guard_handler(int number, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr;
    int saved = errno;
    for (int i = 0; i < FEEDD_GUARDS; i++) {
        uintptr_t page = __atomic_load_n(&feedd_guarded[i], __ATOMIC_ACQUIRE);
        if (page && at >= page && at < page + FEEDD_GUARD_PAGE &&
            mmap((void *)page, FEEDD_GUARD_PAGE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) {
            errno = saved;
            return;
        }
    }
    if (feedd_guard_previous.sa_flags & SA_SIGINFO) {
        feedd_guard_previous.sa_sigaction(number, info, context);
    } else if (feedd_guard_previous.sa_handler != SIG_DFL &&
               feedd_guard_previous.sa_handler != SIG_IGN) {
        feedd_guard_previous.sa_handler(number);
    } else {
        signal(number, SIG_DFL); /* the access is repeated and ends the process as it should */
    }
    errno = saved;
}

/* Guard the page at `page`; 0, or -1 when there is no room or the handler cannot be installed. */
static inline int feedd_guard_add(void *page)
{
    for (int i = 0; i < FEEDD_GUARDS; i++) {
        uintptr_t none = 0;
        if (!__atomic_compare_exchange_n(&feedd_guarded[i], &none, (uintptr_t)page, 0,
                                         __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            continue;
        }
        if (feedd_guard_installed) {
            return 0;
        }
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_sigaction = feedd_guard_handler;
        action.sa_flags = SA_SIGINFO | SA_NODEFER;
        sigemptyset(&action.sa_mask);
        if (sigaction(SIGBUS, &action, &feedd_guard_previous) == 0) {
            feedd_guard_installed = 1;
            return 0;
        }
        __atomic_store_n(&feedd_guarded[i], 0, __ATOMIC_RELEASE);
        return -1;
    }
    return -1;
}

static inline void feedd_guard_remove(void *page)
{
    for (int i = 0; i < FEEDD_GUARDS; i++) {
        uintptr_t same = (uintptr_t)page;
        __atomic_compare_exchange_n(&feedd_guarded[i], &same, 0, 0, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED);
    }
}

#endif
