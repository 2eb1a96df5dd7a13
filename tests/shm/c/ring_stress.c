/* One writer at full speed on a tiny ring, readers that stall: every record must be whole, every
 * loss exact. Built in several ways by stress.py and tsan.py:
 *   as it is                      must end with torn = 0 and read + lost = published
 *   -DFEEDD_NO_SECOND_CHECK       must end with torn > 0: the test can see the error
 *   -fsanitize=thread             must be silent
 *   the same, -DFEEDD_PLAIN_WORD  must be reported
 *
 * usage: ring_stress RECORDS SLOTS READERS MODE      MODE: threads | processes
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "pattern.h"

typedef struct shared {
    uint64_t finished; /* the final head, once the writer is done */
    uint64_t ready;    /* readers that stand at their first record */
    uint32_t need_wake;
    uint32_t pad[11];
    feedd_board_row row;
    feedd_header header;
    unsigned char slots[];
} shared;

typedef struct result {
    uint64_t read, lost, torn, rows, bad_rows, first, last;
} result;

static shared *memory;
static uint64_t n_slots, n_records, n_readers;

static void write_row(uint64_t value)
{
    uint64_t odd = feedd_seq_begin(&memory->row.lock);
    uint64_t *word = (uint64_t *)&memory->row;
    for (int i = 1; i < FEEDD_BOARD_ROW_BYTES / 8; i++) {
        feedd_store_u64(&word[i], value + (uint64_t)i);
    }
    feedd_seq_end(&memory->row.lock, odd);
}

static int row_is_whole(const feedd_board_row *row)
{
    const uint64_t *word = (const uint64_t *)(const void *)row;
    for (int i = 2; i < FEEDD_BOARD_ROW_BYTES / 8; i++) {
        if (word[i] != word[1] - 1 + (uint64_t)i) {
            return 0;
        }
    }
    return 1;
}

static void *writer_main(void *unused)
{
    (void)unused;
    feedd_writer w;
    feedd_writer_init(&w, &memory->header, &memory->need_wake, feedd_takeover(&memory->header));
    while (feedd_load_acquire(&memory->ready) < n_readers) {
        feedd_pause();
    }
    uint64_t end = w.next + n_records, turn = 0;
    while (w.next < end) {
        feedd_record record;
        pattern_fill(&record, w.next, 0);
        feedd_put(&w, &record);
        turn = turn * 6364136223846793005ull + 1442695040888963407ull;
        if (turn >> 62 == 0) { /* batches of random size */
            feedd_commit(&w);
        }
        if (turn >> 58 == 1) {
            write_row(turn);
        }
    }
    feedd_commit(&w);
    feedd_store_release(&memory->finished, w.next);
    feedd_bell(w.header);
    return NULL;
}

static void stall(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    if (*state >> 52 == 0) { /* now and then long enough to be overtaken */
        struct timespec nap = {0, 300000};
        nanosleep(&nap, NULL);
    }
}

static void read_row(result *r)
{
    feedd_board_row row;
    if (feedd_seq_read(&memory->row, &row, sizeof row, 3)) {
        r->rows++;
        r->bad_rows += !row_is_whole(&row);
    }
}

static void *reader_main(void *argument)
{
    result *r = argument;
    feedd_reader reader;
    uint64_t state = (uintptr_t)argument;
    feedd_reader_init(&reader, &memory->header, n_slots, n_slots);
    reader.need_wake = &memory->need_wake;
    r->first = reader.next;
    __atomic_fetch_add(&memory->ready, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        feedd_record batch[16];
        size_t n = feedd_read_batch(&reader, batch, 1 + (state >> 60));
        for (size_t i = 0; i < n; i++) {
            r->torn += !pattern_matches(&batch[i], reader.next - n + i, 0);
        }
        r->read += n;
        if (n == 0) {
            uint64_t finished = feedd_load_acquire(&memory->finished);
            if (finished && reader.next >= finished) {
                break;
            }
            feedd_wait_futex(&reader, 2000000);
        }
        stall(&state);
        if (state >> 60 == 3) {
            read_row(r);
        }
    }
    r->lost = reader.lost;
    r->last = reader.next;
    return NULL;
}

static void run_threads(result *results)
{
    pthread_t writer, readers[16];
    for (uint64_t i = 0; i < n_readers; i++) {
        pthread_create(&readers[i], NULL, reader_main, &results[i]);
    }
    pthread_create(&writer, NULL, writer_main, NULL);
    pthread_join(writer, NULL);
    for (uint64_t i = 0; i < n_readers; i++) {
        pthread_join(readers[i], NULL);
    }
}

static void run_processes(result *results)
{
    for (uint64_t i = 0; i < n_readers; i++) {
        if (fork() == 0) {
            reader_main(&results[i]);
            _exit(0);
        }
    }
    writer_main(NULL);
    while (wait(NULL) > 0) {
    }
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: ring_stress RECORDS SLOTS READERS threads|processes\n");
        return 2;
    }
    n_records = strtoull(argv[1], NULL, 10);
    n_slots = strtoull(argv[2], NULL, 10);
    n_readers = strtoull(argv[3], NULL, 10);
    if (n_readers < 1 || n_readers > 16 || n_slots < 16 || n_slots & (n_slots - 1)) {
        fprintf(stderr, "1 to 16 readers, a power of two of at least 16 slots\n");
        return 2;
    }
    size_t bytes = (sizeof(shared) + n_slots * FEEDD_RECORD_BYTES + 4095) & ~(size_t)4095;
    void *map = mmap(NULL, bytes + 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    result *results = map;
    memory = (shared *)((char *)map + 4096);
    memory->header.capacity = memory->header.first_seq = memory->header.head = n_slots;
    memory->header.epoch = 1;
    write_row(0);
    if (strcmp(argv[4], "threads") == 0) {
        run_threads(results);
    } else {
        run_processes(results);
    }
    int wrong = 0;
    uint64_t end = memory->finished;
    for (uint64_t i = 0; i < n_readers; i++) {
        result *r = &results[i];
        int exact = r->read + r->lost == end - r->first && r->last == end;
        printf("reader %d read %llu lost %llu torn %llu rows %llu bad_rows %llu exact %d\n", (int)i,
               (unsigned long long)r->read, (unsigned long long)r->lost,
               (unsigned long long)r->torn, (unsigned long long)r->rows,
               (unsigned long long)r->bad_rows, exact);
        wrong |= r->torn != 0 || r->bad_rows != 0 || !exact;
    }
    return wrong;
}
