/* Linux behind os.h: files, mappings, processors, clock and threads. The only file that knows Linux. */
#define _GNU_SOURCE /* sched_getaffinity, O_CLOEXEC */
#include "source/os.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ------------------------------------------------------------------ files */

/* Size of a regular file or a block device; the rest has no size that a dump could have. */
static int file_size(int fd, uint64_t *size)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return errno;
    if (S_ISDIR(status.st_mode))
        return EISDIR;
    if (S_ISREG(status.st_mode)) {
        *size = (uint64_t)status.st_size;
        return 0;
    }
    if (!S_ISBLK(status.st_mode))
        return ESPIPE;
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0)
        return errno;
    *size = (uint64_t)end;
    return 0;
}

int lhi_os_open(const char *path, int *fd, uint64_t *size)
{
    /* O_NONBLOCK: opening a FIFO must fail, not wait for a writer. Regular files ignore it. */
    int opened = -1;
    do
        opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (opened < 0 && errno == EINTR);
    if (opened < 0)
        return errno;
    int error = file_size(opened, size);
    if (error) {
        close(opened);
        return error;
    }
    *fd = opened;
    return 0;
}

void lhi_os_close(int fd)
{
    close(fd);
}

int lhi_os_pread(int fd, void *buffer, size_t size, uint64_t offset)
{
    uint8_t *to = buffer;
    while (size) {
        ssize_t got = pread(fd, to, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno;
        if (got == 0)
            return EIO;
        to += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return 0;
}

int lhi_os_map(int fd, uint64_t size, bool sequential, const uint8_t **out)
{
    if (size > SIZE_MAX)
        return EFBIG;
    void *data = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return errno;
    /* Only advice: a kernel that refuses it still gives the right bytes. */
    (void)madvise(data, (size_t)size, sequential ? MADV_SEQUENTIAL : MADV_RANDOM);
    *out = data;
    return 0;
}

void lhi_os_unmap(const uint8_t *data, uint64_t size)
{
    if (data)
        munmap((void *)(uintptr_t)data, (size_t)size);
}

/* ------------------------------------------------------ processors and clock */

uint32_t lhi_os_cpu_count(void)
{
    /* The kernel answers EINVAL while the mask is smaller than its own (sched_setaffinity(2)). */
    for (size_t cpus = CPU_SETSIZE; cpus <= (size_t)1 << 18; cpus *= 4) {
        size_t size = CPU_ALLOC_SIZE(cpus);
        cpu_set_t *set = lhi_calloc(1, size);
        if (!set)
            return 1;
        int failed = sched_getaffinity(0, size, set);
        int error = errno;
        int count = failed ? 0 : CPU_COUNT_S(size, set);
        lhi_free(set);
        if (!failed)
            return count > 0 ? (uint32_t)count : 1;
        if (error != EINVAL)
            return 1;
    }
    return 1;
}

double lhi_os_now(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ------------------------------------------------------------------ threads */

struct lhi_thread {
    pthread_t id;
    void (*run)(void *);
    void *argument;
};

static void *enter(void *argument)
{
    lhi_thread *thread = argument;
    thread->run(thread->argument);
    return NULL;
}

int lhi_thread_start(lhi_thread **out, void (*run)(void *), void *argument)
{
    lhi_thread *thread = lhi_malloc(sizeof *thread);
    if (!thread)
        return ENOMEM;
    *thread = (lhi_thread){.run = run, .argument = argument};
    /* Signals are the host's: its handlers run on its threads, never on one of ours. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    int error = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (!error) {
        error = pthread_create(&thread->id, NULL, enter, thread);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (error) {
        lhi_free(thread);
        return error;
    }
    *out = thread;
    return 0;
}

void lhi_thread_join(lhi_thread *thread)
{
    if (!thread)
        return;
    pthread_join(thread->id, NULL);
    lhi_free(thread);
}

struct lhi_mutex {
    pthread_mutex_t mutex;
};

lhi_mutex *lhi_mutex_create(void)
{
    lhi_mutex *mutex = lhi_malloc(sizeof *mutex);
    if (mutex && pthread_mutex_init(&mutex->mutex, NULL) != 0) {
        lhi_free(mutex);
        mutex = NULL;
    }
    return mutex;
}

void lhi_mutex_destroy(lhi_mutex *mutex)
{
    if (!mutex)
        return;
    pthread_mutex_destroy(&mutex->mutex);
    lhi_free(mutex);
}

void lhi_mutex_lock(lhi_mutex *mutex)
{
    pthread_mutex_lock(&mutex->mutex);
}

void lhi_mutex_unlock(lhi_mutex *mutex)
{
    pthread_mutex_unlock(&mutex->mutex);
}

struct lhi_cond {
    pthread_cond_t cond;
};

lhi_cond *lhi_cond_create(void)
{
    pthread_condattr_t attributes;
    lhi_cond *cond = lhi_malloc(sizeof *cond);
    if (!cond)
        return NULL;
    /* The monotonic clock: a wait must not depend on somebody setting the time of day. */
    int error = pthread_condattr_init(&attributes);
    if (!error) {
        error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        if (!error)
            error = pthread_cond_init(&cond->cond, &attributes);
        pthread_condattr_destroy(&attributes);
    }
    if (error) {
        lhi_free(cond);
        cond = NULL;
    }
    return cond;
}

void lhi_cond_destroy(lhi_cond *cond)
{
    if (!cond)
        return;
    pthread_cond_destroy(&cond->cond);
    lhi_free(cond);
}

void lhi_cond_wait(lhi_cond *cond, lhi_mutex *mutex, double seconds)
{
    struct timespec until = {0};
    clock_gettime(CLOCK_MONOTONIC, &until);
    double bounded = seconds > 0 ? seconds : 0;
    if (bounded > 86400.0) /* callers loop on their condition, so a day is for ever */
        bounded = 86400.0;
    time_t whole = (time_t)bounded;
    until.tv_sec += whole;
    until.tv_nsec += (long)((bounded - (double)whole) * 1e9);
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_cond_timedwait(&cond->cond, &mutex->mutex, &until);
}

void lhi_cond_broadcast(lhi_cond *cond)
{
    pthread_cond_broadcast(&cond->cond);
}
