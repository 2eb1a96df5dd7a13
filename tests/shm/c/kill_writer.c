/* A writer that kills itself before its N-th store.
 *
 * usage: kill_writer ring PATH N TAG   takes the ring over, publishes two batches of three records
 *        kill_writer row PATH N TAG    writes row 0 of a board twice
 * Exit status 0: it came to the end without reaching store N.
 */
#define _GNU_SOURCE
#include <signal.h>

static unsigned long kill_at, passed;
static void pass(int point)
{
    (void)point;
    if (++passed == kill_at) {
        raise(SIGKILL);
    }
}
#define FEEDD_YIELD(point) pass(point)

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "pattern.h"

static void write_ring(void *base, uint64_t tag)
{
    feedd_header *h = base;
    uint32_t need_wake = 0;
    feedd_writer w;
    uint64_t next = feedd_takeover(base);
    feedd_store_release(&h->epoch, h->epoch + 1);
    feedd_writer_init(&w, base, &need_wake, next);
    for (int batch = 0; batch < 2; batch++) {
        for (int i = 0; i < 3; i++) {
            feedd_record record;
            pattern_fill(&record, w.next, tag);
            feedd_put(&w, &record);
        }
        feedd_commit(&w);
    }
}

static void write_row(void *base, uint64_t tag)
{
    feedd_board_row *row = (feedd_board_row *)((char *)base + FEEDD_HEADER_BYTES);
    for (uint64_t turn = 1; turn <= 2; turn++) {
        double value = (double)(tag + turn);
        uint64_t odd = feedd_seq_begin(&row->lock);
        feedd_board_identity(row, 7, FEEDD_BOOK_LIVE, 1, 1);
        feedd_store_f64(&row->bid_price, value);
        feedd_store_f64(&row->ask_price, value);
        feedd_store_f64(&row->trade_price, value);
        feedd_store_f64(&row->mark, value);
        feedd_seq_end(&row->lock, odd);
    }
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        return 2;
    }
    int fd = open(argv[2], O_RDWR | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        perror(argv[2]);
        return 2;
    }
    void *base = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    kill_at = strtoul(argv[3], NULL, 10);
    uint64_t tag = strtoull(argv[4], NULL, 10);
    if (strcmp(argv[1], "ring") == 0) {
        write_ring(base, tag);
    } else {
        write_row(base, tag);
    }
    return 0;
}
