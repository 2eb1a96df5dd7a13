/* order.h - how a shared word may be touched.
 *
 * Every word that two processes share is read and written by these functions only, 8 bytes at a
 * time (the futex words: 4; pairs of words: 16). Relaxed accesses carry data; the acquire loads, release stores and
 * fences that order them are written out where they are needed, each with the name of its partner.
 *
 * Hooks, all empty or off by default:
 *   FEEDD_YIELD(point)        called around every store of the writer: tests kill the process there
 *   FEEDD_NO_SECOND_CHECK     leaves out check R5 of the reader: a stress test must then see torn
 *                             records
 *   FEEDD_PLAIN_WORD          makes one data word of a record a plain access: ThreadSanitizer must
 *                             report it
 */
#ifndef FEEDD_ORDER_H
#define FEEDD_ORDER_H

#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "feedd segments are little endian: big-endian machines are not supported"
#endif

#ifndef FEEDD_YIELD
#define FEEDD_YIELD(point) ((void)0)
#else
#define FEEDD_YIELDS 1
#endif

/* The points that FEEDD_YIELD can name; a loop passes the same point once per store. */
enum feedd_point {
    FEEDD_AT_INVALIDATE_LATER = 1, /* before stamp = seq - 1 of a later slot of a batch */
    FEEDD_AT_DATA = 2,             /* before each data word */
    FEEDD_AT_DELTA = 3,            /* before the publish delay of a staged record is filled in */
    FEEDD_AT_STAMP = 4,            /* before each stamp = seq of a commit */
    FEEDD_AT_INVALIDATE_NEXT = 5,  /* before stamp = seq - 1 of the slot after the batch */
    FEEDD_AT_HEAD = 6,             /* before head */
    FEEDD_AT_WAKE = 7,             /* before the wake test */
    FEEDD_AT_COMMITTED = 8,        /* the commit is complete */
    FEEDD_AT_LOCK = 9,             /* before a seqlock becomes odd */
    FEEDD_AT_ROW = 10,             /* before each word of a row */
    FEEDD_AT_UNLOCK = 11           /* before a seqlock becomes even */
};

/* ThreadSanitizer does not understand fences (GCC warns with -Wtsan): under it the data words are
 * acquire/release accesses and the fences vanish, which is stronger and equally free of races. */
#if defined(__SANITIZE_THREAD__)
#define FEEDD_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FEEDD_TSAN 1
#endif
#endif

#ifdef FEEDD_TSAN
#define FEEDD_DATA_LOAD __ATOMIC_ACQUIRE
#define FEEDD_DATA_STORE __ATOMIC_RELEASE
#define FEEDD_FLAG_ORDER __ATOMIC_SEQ_CST
#define feedd_fence_acquire() ((void)0)
#define feedd_fence_release() ((void)0)
#define feedd_fence_full() ((void)0)
#else
#define FEEDD_DATA_LOAD __ATOMIC_RELAXED
#define FEEDD_DATA_STORE __ATOMIC_RELAXED
#define FEEDD_FLAG_ORDER __ATOMIC_RELAXED
#define feedd_fence_acquire() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define feedd_fence_release() __atomic_thread_fence(__ATOMIC_RELEASE)
#define feedd_fence_full() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

/* Shared memory has no declared type; may_alias lets rows be seen as words and as structs. */
typedef uint64_t __attribute__((may_alias)) feedd_word;
typedef uint32_t __attribute__((may_alias)) feedd_half;

static inline uint64_t feedd_load(const void *p)
{
    return __atomic_load_n((const feedd_word *)p, FEEDD_DATA_LOAD);
}

static inline void feedd_store(void *p, uint64_t v)
{
    __atomic_store_n((feedd_word *)p, v, FEEDD_DATA_STORE);
}

static inline uint64_t feedd_load_acquire(const void *p)
{
    return __atomic_load_n((const feedd_word *)p, __ATOMIC_ACQUIRE);
}

static inline void feedd_store_release(void *p, uint64_t v)
{
    __atomic_store_n((feedd_word *)p, v, __ATOMIC_RELEASE);
}

static inline uint32_t feedd_load32_acquire(const void *p)
{
    return __atomic_load_n((const feedd_half *)p, __ATOMIC_ACQUIRE);
}

static inline void feedd_store32_release(void *p, uint32_t v)
{
    __atomic_store_n((feedd_half *)p, v, __ATOMIC_RELEASE);
}

/* Stores into board rows and books, between feedd_seq_begin and feedd_seq_end. */
static inline void feedd_store_u64(uint64_t *p, uint64_t v)
{
    FEEDD_YIELD(FEEDD_AT_ROW);
    feedd_store(p, v);
}

static inline void feedd_store_i64(int64_t *p, int64_t v)
{
    FEEDD_YIELD(FEEDD_AT_ROW);
    feedd_store(p, (uint64_t)v);
}

static inline void feedd_store_f64(double *p, double v)
{
    uint64_t w;
    memcpy(&w, &v, sizeof w);
    FEEDD_YIELD(FEEDD_AT_ROW);
    feedd_store(p, w);
}

/* Word-wise copies between private memory and shared memory; bytes is a multiple of 8. */
static inline void feedd_copy_in(void *shared, const void *src, size_t bytes)
{
#pragma GCC unroll 4
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t w;
        memcpy(&w, (const char *)src + i, 8);
        FEEDD_YIELD(FEEDD_AT_ROW);
        feedd_store((char *)shared + i, w);
    }
}

/* Two neighbouring words at a multiple of 16, in one store where the processor has one that leaves
 * each of them whole (x86-64): to readers it is as two relaxed stores, in an order that nobody may
 * count on. Hooks and ThreadSanitizer see two. */
static inline void feedd_store_pair(void *shared, const void *src)
{
#if defined(__x86_64__) && !defined(FEEDD_TSAN) && !defined(FEEDD_YIELDS)
    typedef uint64_t pair __attribute__((vector_size(16), may_alias));
    pair v;
    memcpy(&v, src, sizeof v);
    __asm__ volatile("movaps %1, %0" : "=m"(*(pair *)shared) : "x"(v));
#else
    feedd_copy_in(shared, src, 16);
#endif
}

static inline void feedd_copy_out(void *dst, const void *shared, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t w = feedd_load((const char *)shared + i);
        memcpy((char *)dst + i, &w, 8);
    }
}

/* The processor's hint inside a spin loop. */
static inline void feedd_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#else
    __asm__ __volatile__("" ::: "memory");
#endif
}

#endif
