/* Attaches consumers and lets them be: every second one stopped while it waits for a record, the
 * others asleep without ever reading. They die with their parent.
 *
 * usage: attend RING WAKE CONSUMERS      prints "ready", ends when its standard input does
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <feedd/feedd.h>

static void attend(const char *ring, const char *wake, int waits)
{
    struct stat info;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open(ring, O_RDONLY | O_CLOEXEC), wake_fd = open(wake, O_RDWR | O_CLOEXEC);
    if (fd < 0 || wake_fd < 0 || fstat(fd, &info) != 0) {
        _exit(2);
    }
    const void *base = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (base == MAP_FAILED) {
        _exit(2);
    }
    feedd_reader reader;
    feedd_reader_init(&reader, base, ((const feedd_header *)base)->capacity,
                      ((const feedd_header *)base)->first_seq);
    reader.wake_fd = wake_fd;
    reader.wake_offset = 0x1000;
    while (waits) {
        feedd_wait_futex(&reader, FEEDD_WAIT_SLICE_NS);
    }
    for (;;) {
        pause();
    }
}

int main(int argc, char **argv)
{
    int n = argc == 4 ? atoi(argv[3]) : 0;
    if (n < 1 || n > 64) {
        fprintf(stderr, "usage: attend RING WAKE CONSUMERS\n");
        return 2;
    }
    pid_t pids[64];
    for (int i = 0; i < n; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            attend(argv[1], argv[2], i % 2 == 0);
        }
    }
    usleep(100000); /* until those that wait are in the kernel, or were at least once */
    for (int i = 0; i < n; i += 2) {
        kill(pids[i], SIGSTOP);
    }
    puts("ready");
    fflush(stdout);
    (void)getchar();
    for (int i = 0; i < n; i++) {
        kill(pids[i], SIGKILL);
    }
    return 0;
}
