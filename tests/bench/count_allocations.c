/* Preloaded: counts the calls of malloc, calloc, realloc and of their aligned kin. */
#define _GNU_SOURCE
#include <stddef.h>

static unsigned long calls;

unsigned long allocation_calls(void)
{
    return __atomic_load_n(&calls, __ATOMIC_RELAXED);
}

static void count(void)
{
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
}

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t alignment, size_t n);

void *malloc(size_t n)
{
    count();
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    count();
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    count();
    return __libc_realloc(p, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    count();
    return __libc_memalign(alignment, n);
}

int posix_memalign(void **out, size_t alignment, size_t n)
{
    count();
    *out = __libc_memalign(alignment, n);
    return *out == NULL ? 12 : 0;
}
