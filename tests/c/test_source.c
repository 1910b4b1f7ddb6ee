/* Tests of source: files mapped and positioned, memory, callbacks, their errors, and the operating system's
 * part. */
#define _DEFAULT_SOURCE /* mkstemp, mkfifo, truncate, P_tmpdir */
#include "base/alloc.h"
#include "check.h"
#include "source/os.h"
#include "source/source.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static const char text[] = "0123456789abcdef";
enum { TEXT_SIZE = sizeof text - 1 };

static char path[4096];

static void make_file(const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

/* What every kind of source must answer. */
static void reads_like_text(lh_source *source)
{
    char buffer[TEXT_SIZE + 1] = {0};
    lh_error err = {0};
    CHECK_EQ(lhi_source_size(source), TEXT_SIZE);
    for (size_t at = 0; at <= TEXT_SIZE; at++)
        for (size_t size = 0; at + size <= TEXT_SIZE; size++) {
            memset(buffer, 0, sizeof buffer);
            CHECK_EQ(lhi_source_read(source, at, buffer, size, &err), LH_OK);
            CHECK(memcmp(buffer, text + at, size) == 0 && buffer[size] == 0);
        }
    static const uint64_t outside[][2] = {
        {0, TEXT_SIZE + 1}, {TEXT_SIZE, 1}, {TEXT_SIZE + 1, 0}, {UINT64_MAX, 1}, {UINT64_MAX - 3, 8}};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        err = (lh_error){0};
        CHECK_EQ(lhi_source_read(source, outside[i][0], buffer, (size_t)outside[i][1], &err), LH_ERR_IO);
        CHECK_EQ(err.code, LH_ERR_IO);
        CHECK_EQ(err.offset, outside[i][0]);
        CHECK_EQ(err.os_error, EIO);
        CHECK_EQ(lhi_source_read(source, outside[i][0], buffer, (size_t)outside[i][1], NULL), LH_ERR_IO);
        CHECK(!lhi_source_view(source, outside[i][0], outside[i][1]));
        CHECK(!lhi_source_view_sequential(source, outside[i][0], outside[i][1]));
    }
}

static void files(void)
{
    lh_source *source = NULL;
    lh_error err = {0};
    make_file(text, TEXT_SIZE);
    CHECK_EQ(lh_source_open_file(path, LH_SOURCE_DEFAULT, &source, &err), LH_OK);
    CHECK_TEXT(lhi_source_name(source), path);
    reads_like_text(source);
    const uint8_t *random = lhi_source_view(source, 3, 4);
    const uint8_t *sequential = lhi_source_view_sequential(source, 3, 4);
    CHECK(random && sequential && random != sequential);
    CHECK(random && memcmp(random, text + 3, 4) == 0);
    CHECK(sequential && memcmp(sequential, text + 3, 4) == 0);
    CHECK(lhi_source_retain(source) == source);
    lh_source_release(source);
    reads_like_text(source);
    lh_source_release(source);

    CHECK_EQ(lh_source_open_file(path, LH_SOURCE_POSITIONED, &source, &err), LH_OK);
    reads_like_text(source);
    CHECK(!lhi_source_view(source, 0, 1) && !lhi_source_view_sequential(source, 0, 1));
    CHECK_EQ(truncate(path, 4), 0); /* shrinks while it is open: an error, not a signal */
    char byte = 0;
    CHECK_EQ(lhi_source_read(source, 3, &byte, 1, &err), LH_OK);
    CHECK_EQ(lhi_source_read(source, 4, &byte, 1, &err), LH_ERR_IO);
    CHECK_EQ(err.os_error, EIO);
    CHECK_EQ(err.offset, 4);
    lh_source_release(source);

    make_file("", 0);
    for (uint32_t flags = LH_SOURCE_DEFAULT; flags <= LH_SOURCE_POSITIONED; flags++) {
        CHECK_EQ(lh_source_open_file(path, flags, &source, &err), LH_OK);
        CHECK_EQ(lhi_source_size(source), 0);
        CHECK_EQ(lhi_source_read(source, 0, &byte, 1, &err), LH_ERR_IO);
        lh_source_release(source);
    }
    lh_source_release(NULL);
}

static void refused_files(void)
{
    lh_source *source = NULL;
    lh_error err = {0};
    CHECK_EQ(lh_source_open_file("/nonexistent/file\n.dmp", 0, &source, &err), LH_ERR_IO);
    CHECK_EQ(err.os_error, ENOENT);
    CHECK_HAS(err.message, "/nonexistent/file\\x0a.dmp: ");
    CHECK_EQ(lh_source_open_file("/", 0, &source, &err), LH_ERR_IO);
    CHECK_EQ(err.os_error, EISDIR);
    CHECK_EQ(lh_source_open_file("/dev/null", 0, &source, &err), LH_ERR_IO);
    CHECK_EQ(err.os_error, ESPIPE);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(mkfifo(path, 0600), 0);
    CHECK_EQ(lh_source_open_file(path, 0, &source, &err), LH_ERR_IO); /* and does not wait for a writer */
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(lh_source_open_file(NULL, 0, &source, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err.field, "path");
    CHECK_EQ(lh_source_open_file("/", 0, NULL, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err.field, "out");
    CHECK_EQ(lh_source_open_file("/", 2, &source, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err.field, "flags");
    CHECK_EQ(lh_source_open_file("/nonexistent", 0, &source, NULL), LH_ERR_IO);
    CHECK(source == NULL); /* untouched by all of them */
}

static void memory(void)
{
    lh_source *source = NULL;
    lh_error err = {0};
    CHECK_EQ(lh_source_open_memory(text, TEXT_SIZE, &source, &err), LH_OK);
    reads_like_text(source);
    CHECK(lhi_source_view(source, 2, 3) == (const uint8_t *)text + 2);
    CHECK(lhi_source_view_sequential(source, 2, 3) == (const uint8_t *)text + 2);
    CHECK_TEXT(lhi_source_name(source), "");
    lh_source_release(source);
    source = NULL;
    CHECK_EQ(lh_source_open_memory(NULL, 1, &source, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_source_open_memory(text, 1, NULL, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK(source == NULL);
    CHECK_EQ(lh_source_open_memory(NULL, 0, &source, &err), LH_OK);
    CHECK_EQ(lhi_source_size(source), 0);
    lh_source_release(source);
}

typedef struct reader {
    int destroyed;
    int fails; /* errno of every read */
} reader;

static int read_text(void *user, uint64_t offset, void *buffer, size_t size)
{
    const reader *state = user;
    if (state->fails)
        return state->fails;
    memcpy(buffer, text + offset, size);
    return 0;
}

static void destroy_reader(void *user)
{
    ((reader *)user)->destroyed++;
}

static void callbacks(void)
{
    reader state = {0};
    lh_source *source = NULL;
    lh_error err = {0};
    lh_source_callbacks calls = {sizeof calls, read_text, destroy_reader, &state, TEXT_SIZE};
    CHECK_EQ(lh_source_open_callbacks(&calls, &source, &err), LH_OK);
    reads_like_text(source);
    CHECK(!lhi_source_view(source, 0, 1));
    state.fails = ETIMEDOUT;
    char byte = 0;
    CHECK_EQ(lhi_source_read(source, 5, &byte, 1, &err), LH_ERR_IO);
    CHECK_EQ(err.os_error, ETIMEDOUT);
    CHECK_EQ(err.offset, 5);
    CHECK_EQ(lhi_source_read(source, 5, &byte, 0, &err), LH_OK);
    lhi_source_retain(source);
    lh_source_release(source);
    CHECK_EQ(state.destroyed, 0);
    lh_source_release(source);
    CHECK_EQ(state.destroyed, 1);

    source = NULL;
    CHECK_EQ(lh_source_open_callbacks(NULL, &source, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_source_open_callbacks(&calls, NULL, &err), LH_ERR_INVALID_ARGUMENT);
    calls.read = NULL;
    CHECK_EQ(lh_source_open_callbacks(&calls, &source, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err.field, "read");
    calls.read = read_text;
    calls.struct_size = sizeof calls - 1;
    CHECK_EQ(lh_source_open_callbacks(&calls, &source, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err.field, "struct_size");
    CHECK(source == NULL);
    CHECK_EQ(state.destroyed, 1);         /* what was never taken is not destroyed */
    calls.struct_size = sizeof calls + 8; /* a newer caller */
    calls.destroy = NULL;
    CHECK_EQ(lh_source_open_callbacks(&calls, &source, &err), LH_OK);
    lh_source_release(source);
    CHECK_EQ(state.destroyed, 1);
}

/* Every allocation of every kind of open fails in turn: no memory, nothing leaked, nothing half made. */
static void no_memory(void)
{
    reader state = {0};
    lh_source_callbacks calls = {sizeof calls, read_text, destroy_reader, &state, TEXT_SIZE};
    make_file(text, TEXT_SIZE);
    for (int kind = 0; kind < 4; kind++) {
        lh_status status = LH_ERR_NO_MEMORY;
        uint64_t n = 0;
        while (status == LH_ERR_NO_MEMORY) {
            lh_source *source = NULL;
            lh_error err = {0};
            lhi_alloc_fail_at(++n, 0);
            status = kind == 0 ? lh_source_open_memory(text, TEXT_SIZE, &source, &err)
                     : kind == 1
                         ? lh_source_open_callbacks(&calls, &source, &err)
                         : lh_source_open_file(path, kind == 2 ? 0 : LH_SOURCE_POSITIONED, &source, &err);
            lhi_alloc_fail_at(0, 0);
            CHECK_EQ(err.code, status);
            CHECK((source != NULL) == (status == LH_OK));
            lh_source_release(source);
        }
        CHECK_EQ(status, LH_OK);
        CHECK_EQ(n, 3); /* the handle and its name; then none is left to fail */
    }
    CHECK_EQ(state.destroyed, 1);
}

/* ------------------------------------------------------------------ the system */

typedef struct counter {
    lhi_mutex *mutex;
    lhi_cond *cond;
    int value;
} counter;

static void count(void *argument)
{
    counter *shared = argument;
    for (int i = 0; i < 1000; i++) {
        lhi_mutex_lock(shared->mutex);
        shared->value++;
        lhi_mutex_unlock(shared->mutex);
    }
    lhi_mutex_lock(shared->mutex);
    lhi_cond_broadcast(shared->cond);
    lhi_mutex_unlock(shared->mutex);
}

static void threads(void)
{
    counter shared = {.mutex = lhi_mutex_create(), .cond = lhi_cond_create()};
    lhi_thread *started[4] = {0};
    CHECK(shared.mutex && shared.cond);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(lhi_thread_start(&started[i], count, &shared), 0);
    lhi_mutex_lock(shared.mutex);
    while (shared.value < 4000)
        lhi_cond_wait(shared.cond, shared.mutex, 1e9);
    lhi_mutex_unlock(shared.mutex);
    for (int i = 0; i < 4; i++)
        lhi_thread_join(started[i]);
    CHECK_EQ(shared.value, 4000);

    double before = lhi_os_now();
    lhi_mutex_lock(shared.mutex);
    lhi_cond_wait(shared.cond, shared.mutex, 0.002); /* nobody signals: comes back by itself */
    lhi_cond_wait(shared.cond, shared.mutex, -1);
    lhi_mutex_unlock(shared.mutex);
    CHECK(lhi_os_now() >= before);
    CHECK(lhi_os_cpu_count() >= 1);
    lhi_mutex_destroy(shared.mutex);
    lhi_cond_destroy(shared.cond);
    lhi_mutex_destroy(NULL);
    lhi_cond_destroy(NULL);
    lhi_thread_join(NULL);

    lhi_thread *none = NULL;
    lhi_alloc_fail_at(1, 1);
    CHECK(!lhi_mutex_create() && !lhi_cond_create());
    CHECK_EQ(lhi_thread_start(&none, count, &shared), ENOMEM);
    CHECK_EQ(lhi_os_cpu_count(), 1);
    lhi_alloc_fail_at(0, 0);
    CHECK(none == NULL);
}

int main(void)
{
    const char *directory = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/lockhound-source-XXXXXX", directory ? directory : P_tmpdir);
    int made = mkstemp(path);
    CHECK(made >= 0 && close(made) == 0);
    files();
    refused_files();
    memory();
    callbacks();
    no_memory();
    threads();
    unlink(path);
    return CHECK_END();
}
