/* Publishes records into a ring that Python made: under callgrind the count of instructions of
 * publish_loop must not depend on who is attached.
 *
 * usage: publish_cost RING WAKE RECORDS
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <feedd/feedd.h>

static void *map(const char *path)
{
    struct stat info;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &info) != 0) {
        perror(path);
        exit(2);
    }
    void *base = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        perror(path);
        exit(2);
    }
    return base;
}

__attribute__((noinline)) void publish_loop(feedd_writer *w, long n)
{
    feedd_record record;
    memset(&record, 0, sizeof record);
    record.kind = FEEDD_TRADE;
    record.flags = FEEDD_LAST;
    for (long i = 0; i < n; i++) {
        record.sequence = (uint64_t)i;
        feedd_put(w, &record);
        feedd_commit(w);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: publish_cost RING WAKE RECORDS\n");
        return 2;
    }
    void *base = map(argv[1]);
    unsigned char *wake = map(argv[2]);
    feedd_writer w;
    feedd_writer_init(&w, base, (uint32_t *)(void *)(wake + 0x1000), feedd_takeover(base));
    feedd_record record;
    memset(&record, 0, sizeof record);
    feedd_put(&w, &record); /* wakes whoever went to sleep before: once */
    feedd_commit(&w);
    publish_loop(&w, atol(argv[3]));
    printf("%llu\n", (unsigned long long)w.next);
    return 0;
}
