/* A consumer in C: reads a ring that Python wrote, from the oldest record on.
 *
 * usage: read_ring PATH        one line per record: ring_seq kind flags instrument ts_event price size
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <feedd/feedd.h>

int main(int argc, char **argv)
{
    struct stat info;
    int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd < 0 || fstat(fd, &info) != 0 || info.st_size < FEEDD_HEADER_BYTES) {
        fprintf(stderr, "usage: read_ring PATH\n");
        return 2;
    }
    const void *base = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    const feedd_header *h = base;
    uint64_t capacity = h->capacity, first_seq = h->first_seq;
    if (feedd_load_acquire(&h->magic) != FEEDD_MAGIC || h->layout_major != FEEDD_LAYOUT_MAJOR ||
        h->kind != FEEDD_SEGMENT_RING || h->byte_order != FEEDD_BYTE_ORDER ||
        (uint64_t)info.st_size != FEEDD_HEADER_BYTES + capacity * FEEDD_RECORD_BYTES) {
        fprintf(stderr, "%s is not a ring that this program reads\n", argv[1]);
        return 1;
    }
    feedd_reader reader;
    feedd_reader_init(&reader, base, capacity, first_seq);
    feedd_join_oldest(&reader);
    feedd_record r;
    int got;
    while ((got = feedd_read(&reader, &r)) != 0) {
        if (got < 0) {
            continue; /* overtaken: reader.lost says by how much */
        }
        printf("%llu %u %u %u %lld %.17g %.17g\n", (unsigned long long)r.ring_seq, r.kind, r.flags,
               r.instrument, (long long)r.ts_event, r.p.trade.price, r.p.trade.size);
    }
    printf("lost %llu\n", (unsigned long long)reader.lost);
    return 0;
}
