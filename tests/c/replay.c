/* Runs whole cases over dump files under the sanitizers, and with each allocation or each read failing in
 * turn.
 *
 *   replay FILE...              one line a file: the status, the verdict
 *   replay --allocations FILE   every allocation fails once: LH_ERR_NO_MEMORY, and nothing leaks
 *   replay --reads FILE STEP    every STEP-th read fails once: LH_ERR_IO, never a case built from absences
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "lockhound.h"

typedef struct contents {
    unsigned char *data; /* of its exact size, so that a read behind the end is seen */
    size_t size;
    uint64_t reads, fail_at; /* fail_at 0: never */
} contents;

static int load(const char *path, contents *out)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return 0;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    *out = (contents){.data = malloc(size > 0 ? (size_t)size : 1), .size = (size_t)size};
    int whole = out->data && fread(out->data, 1, out->size, file) == out->size;
    fclose(file);
    return whole;
}

static int read_counted(void *user, uint64_t offset, void *buffer, size_t size)
{
    contents *c = user;
    if (++c->reads == c->fail_at)
        return EIO;
    memcpy(buffer, c->data + offset, size);
    return 0;
}

/* Everything that a user of the library does with a dump. The first failure is the result. */
static lh_status whole(lh_source *source, lh_error *err, lh_verdict_kind *kind, char driver[128])
{
    lh_dump *dump = NULL;
    lh_kernel *kernel = NULL;
    lh_case *lhcase = NULL;
    char *json = NULL, *text = NULL, *info = NULL;
    lh_investigate_options options = {.struct_size = sizeof options, .threads = 1, .path = "MEMORY.DMP"};
    lh_dump_info header = {.struct_size = sizeof header};
    lh_ledger ledger = {.struct_size = sizeof ledger};
    lh_status status = lh_dump_open(source, &dump, err);
    if (status == LH_OK)
        status = lh_dump_get_info(dump, &header, err);
    if (status == LH_OK)
        status = lh_kernel_open(dump, &kernel, err);
    if (status == LH_OK)
        status = lh_investigate(kernel, &options, &lhcase, err);
    if (status == LH_OK)
        status = lh_case_get_ledger(lhcase, &ledger, err);
    if (status == LH_OK)
        status = lh_case_json(lhcase, LH_RENDER_REDACT, &json, NULL, err);
    if (status == LH_OK)
        status = lh_case_text(lhcase, LH_RENDER_COLOR, &text, NULL, err);
    if (status == LH_OK)
        status = lh_kernel_info_json(kernel, NULL, 0, &info, NULL, err);
    if (status == LH_OK) {
        const char *name = lh_case_driver(lhcase);
        *kind = lh_case_kind(lhcase);
        snprintf(driver, 128, "%s", name ? name : "-");
    }
    lh_string_free(json);
    lh_string_free(text);
    lh_string_free(info);
    lh_dump_release(dump);
    lh_case_release(lhcase);
    lh_kernel_release(kernel);
    return status;
}

static int replay(const char *path)
{
    contents c = {0};
    lh_error err = {0};
    lh_verdict_kind kind = LH_VERDICT_NOT_APPLICABLE;
    char driver[128] = "-";
    lh_source *source = NULL;
    if (!load(path, &c)) {
        fprintf(stderr, "replay: can't read %s\n", path);
        return 2;
    }
    lh_status status = lh_source_open_memory(c.data, c.size, &source, &err);
    if (status == LH_OK)
        status = whole(source, &err, &kind, driver);
    printf("%s %s %s %s\n", lh_status_name(status), status == LH_OK ? lh_verdict_kind_name(kind) : "-",
           driver,
           status == LH_OK ? "-"
           : err.field[0]  ? err.field
                           : err.message);
    lh_source_release(source);
    free(c.data);
    return 0;
}

static int allocations(const char *path)
{
    contents c = {0};
    lh_verdict_kind kind = LH_VERDICT_NOT_APPLICABLE;
    char driver[128] = "-";
    uint64_t failed = 0, passed = 0;
    if (!load(path, &c))
        return 2;
    for (uint64_t n = 1;; n++) {
        lh_error err = {0};
        lh_source *source = NULL;
        uint64_t before = lhi_alloc_count();
        lhi_alloc_fail_at(n, 0);
        lh_status status = lh_source_open_memory(c.data, c.size, &source, &err);
        if (status == LH_OK)
            status = whole(source, &err, &kind, driver);
        lhi_alloc_fail_at(0, 0);
        lh_source_release(source);
        if (status == LH_ERR_NO_MEMORY) {
            failed++;
        } else if (status == LH_OK) {
            passed++;
            if (lhi_alloc_count() - before < n)
                break; /* the n-th was never asked for: all have failed once */
        } else {
            fprintf(stderr, "replay: allocation %llu: %s: %s\n", (unsigned long long)n,
                    lh_status_name(status), err.message);
            return 1;
        }
    }
    printf("%llu allocations failed, %llu were done without\n", (unsigned long long)failed,
           (unsigned long long)passed - 1);
    free(c.data);
    return failed < 20;
}

static int reads(const char *path, uint64_t step)
{
    contents c = {0};
    lh_verdict_kind kind = LH_VERDICT_NOT_APPLICABLE;
    char driver[128] = "-";
    uint64_t failed = 0;
    if (!load(path, &c))
        return 2;
    for (uint64_t n = 1;; n += step) {
        lh_error err = {0};
        lh_source *source = NULL;
        lh_source_callbacks callbacks = {
            .struct_size = sizeof callbacks, .read = read_counted, .user = &c, .size = c.size};
        c.reads = 0;
        c.fail_at = n;
        lh_status status = lh_source_open_callbacks(&callbacks, &source, &err);
        if (status == LH_OK)
            status = whole(source, &err, &kind, driver);
        lh_source_release(source);
        if (c.reads < n)
            break;
        if (status != LH_ERR_IO) {
            fprintf(stderr, "replay: read %llu failed, and the result is %s\n", (unsigned long long)n,
                    lh_status_name(status));
            free(c.data);
            return 1;
        }
        failed++;
    }
    printf("%llu reads failed\n", (unsigned long long)failed);
    free(c.data);
    return failed < 20;
}

int main(int argc, char **argv)
{
    int result = 0;
    if (argc == 3 && strcmp(argv[1], "--allocations") == 0)
        return allocations(argv[2]);
    if (argc == 4 && strcmp(argv[1], "--reads") == 0)
        return reads(argv[2], strtoull(argv[3], NULL, 10));
    for (int i = 1; i < argc && !result; i++)
        result = replay(argv[i]);
    return argc < 2 ? 2 : result;
}
