/* Runs whole cases over dump files under the sanitizers, and with each allocation or each read failing in
 * turn.
 *
 *   replay FILE...              one line a file: the status, the verdict; every other question is asked too
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

/* What no question may end with, whatever the file holds. */
static int is_fault(lh_status status)
{
    return status == LH_ERR_NO_MEMORY || status == LH_ERR_IO || status == LH_ERR_INTERNAL;
}

static lh_status ask_about(const lh_kernel *kernel, uint64_t address, lh_error *err)
{
    lh_identity identity = {.struct_size = sizeof identity};
    lh_walk walk = {.struct_size = sizeof walk};
    lh_process process = {.struct_size = sizeof process};
    lh_status status = lh_kernel_identify(kernel, address, &identity, err);
    if (!is_fault(status))
        status = lh_kernel_walk(kernel, address, &walk, err);
    if (!is_fault(status))
        status = lh_kernel_get_process(kernel, address, &process, err);
    return status;
}

/* Every place that holds the process's address, what it points to, and the same around it. */
static lh_status ask_about_hits(lh_dump *dump, lh_kernel *kernel, uint64_t value, lh_error *err)
{
    lh_hits *hits = NULL;
    lh_search_options options = {
        .struct_size = sizeof options, .values = &value, .value_count = 1, .threads = 1, .limit = 24};
    lh_status status = lh_search(dump, kernel, &options, &hits, err);
    for (size_t i = 0; !is_fault(status) && i < lh_hits_count(hits); i++) {
        uint64_t address = lh_hits_virtual(hits)[i];
        status = ask_about(kernel, address, err);
        if (!is_fault(status))
            status = ask_about(kernel, (address & ~(uint64_t)0xfff) + 0x40, err);
    }
    lh_hits_release(hits);
    return is_fault(status) ? status : ask_about(kernel, value, err);
}

static lh_status ask_about_modules(const lh_kernel *kernel, lh_error *err)
{
    lh_status status = LH_OK;
    for (size_t i = 0; !is_fault(status) && i < lh_kernel_module_count(kernel); i++) {
        lh_module module = {.struct_size = sizeof module};
        lh_instruction rows[32] = {{.struct_size = sizeof rows[0]}};
        size_t count = 0;
        status = lh_kernel_get_module(kernel, i, &module, err);
        if (!is_fault(status))
            status = ask_about(kernel, module.base + 0x1010, err);
        for (uint64_t at = 0x1000; !is_fault(status) && at < 0x1400; at += 0x80)
            status = lh_kernel_disassemble(kernel, module.base + at, 0x80, rows, 32, &count, err);
    }
    return status;
}

static lh_status ask_about_processes(lh_kernel *kernel, lh_error *err)
{
    uint64_t addresses[64] = {0};
    size_t count = 0;
    bool complete = false;
    char *json = NULL;
    lh_audit *audit = NULL;
    lh_investigate_options options = {.struct_size = sizeof options, .threads = 1};
    lh_status status = lh_kernel_list_processes(kernel, addresses, 64, &count, &complete, err);
    for (size_t i = 0; !is_fault(status) && i < count && i < 64; i++)
        status = ask_about(kernel, addresses[i], err);
    if (!is_fault(status))
        status = lh_audit_run(kernel, &options, &audit, err);
    if (status == LH_OK)
        status = lh_audit_json(audit, 0, &json, NULL, err);
    lh_string_free(json);
    lh_audit_release(audit);
    return status;
}

/* What the drivers' code does with locked pages. */
static lh_status ask_about_code(lh_kernel *kernel, lh_error *err)
{
    char *json = NULL;
    lh_status status = lh_kernel_locks_json(kernel, NULL, NULL, 0, &json, NULL, err);
    lh_string_free(json);
    return status;
}

/* The crashing thread's stack, frame by frame. */
static lh_status ask_about_stack(lh_kernel *kernel, lh_error *err)
{
    lh_stack *stack = NULL;
    lh_frame frame = {.struct_size = sizeof frame};
    lh_stack_end end = {.struct_size = sizeof end};
    lh_status status = lh_kernel_stack(kernel, 0, &stack, err);
    for (size_t i = 0; status == LH_OK && i < lh_stack_count(stack); i++)
        status = lh_stack_get_frame(stack, i, &frame, err);
    if (status == LH_OK)
        status = lh_stack_get_end(stack, &end, err);
    lh_stack_release(stack);
    return status;
}

static lh_status ask(lh_source *source, lh_error *err)
{
    lh_dump *dump = NULL;
    lh_kernel *kernel = NULL;
    lh_dump_info header = {.struct_size = sizeof header};
    lh_status status = lh_dump_open(source, &dump, err);
    if (status == LH_OK)
        status = lh_dump_get_info(dump, &header, err);
    if (status == LH_OK)
        status = lh_kernel_open(dump, &kernel, err);
    if (status == LH_OK)
        status = ask_about_modules(kernel, err);
    if (kernel && !is_fault(status))
        status = ask_about_processes(kernel, err);
    if (kernel && !is_fault(status))
        status = ask_about_code(kernel, err);
    if (kernel && !is_fault(status))
        status = ask_about_stack(kernel, err);
    for (size_t i = 0; kernel && !is_fault(status) && i < 4; i++)
        status = ask_about_hits(dump, kernel, header.parameters[i], err);
    lh_kernel_release(kernel);
    lh_dump_release(dump);
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
    int fault = status == LH_OK && is_fault(ask(source, &err));
    if (fault)
        fprintf(stderr, "replay: %s: %s\n", path, err.message);
    lh_source_release(source);
    free(c.data);
    return fault;
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
