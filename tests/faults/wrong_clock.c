/* Preloaded into a role: its wall clock is off by the seconds that the file $PDM_CLOCK names, read anew each time.
   The monotonic clock stays right, as it does when an administrator sets a host's time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static long offset_s(void) {
    const char *path = getenv("PDM_CLOCK");
    long seconds = 0;
    FILE *file;
    if (path && (file = fopen(path, "r"))) {
        if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
        fclose(file);
    }
    return seconds;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    int failed;
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    failed = real(id, now);
    if (!failed && id == CLOCK_REALTIME) now->tv_sec += offset_s();
    return failed;
}
