/* The scan over pieces of virtual memory: small dumps, so one thread and one buffer do. */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "scan/kernel.h"
#include "source/os.h"

#define CHUNK ((size_t)64 * 1024)

typedef struct search {
    const lhi_blocks *blocks;
    const lhi_scan_options *options;
    const lhi_scan_kernel *kernel;
    lhi_plan plan;
    uint32_t align;
    lhi_scan_result result;
    size_t capacity;
    lhi_vec needles;
    double next_report;
    uint8_t *buffer;
    uint32_t candidates[LHI_SCAN_BATCH];
} search;

static lh_status check(search *s, lh_error *err)
{
    const lhi_scan_options *o = s->options;
    if (o->cancel && lh_cancel_is_set(o->cancel))
        return lhi_fail(err, LH_ERR_CANCELLED, "scan: cancelled");
    double now = lhi_os_now();
    if (o->deadline != 0.0 && now >= o->deadline)
        return lhi_fail(err, LH_ERR_TIMEOUT, "scan: the deadline passed");
    if (!o->progress || now < s->next_report)
        return LH_OK;
    s->next_report = now + LHI_SCAN_REPORT_SECONDS;
    return o->progress(o->progress_user, s->result.bytes, s->blocks->bytes)
               ? LH_OK
               : lhi_fail(err, LH_ERR_CANCELLED, "scan: cancelled");
}

static bool reserve(search *s)
{
    lhi_scan_result *r = &s->result;
    size_t wanted = s->capacity ? s->capacity * 2 : 64;
    if (r->count < s->capacity)
        return true;
    uint64_t *physical = lhi_realloc_array(r->physical, wanted, sizeof *physical);
    r->physical = physical ? physical : r->physical;
    uint64_t *value = lhi_realloc_array(r->value, wanted, sizeof *value);
    r->value = value ? value : r->value;
    uint32_t *needle = lhi_realloc_array(r->needle, wanted, sizeof *needle);
    r->needle = needle ? needle : r->needle;
    if (!physical || !value || !needle)
        return false;
    s->capacity = wanted;
    return true;
}

static lh_status keep(search *s, uint64_t va, uint64_t value, lh_error *err)
{
    lhi_scan_result *r = &s->result;
    if (!lhi_plan_resolve(&s->plan, value, &s->needles))
        return lhi_fail_memory(err);
    for (size_t i = 0; i < s->needles.count; i++) {
        if (s->options->limit != 0 && r->count >= s->options->limit) {
            r->truncated = true;
            return LH_OK;
        }
        if (!reserve(s))
            return lhi_fail_memory(err);
        r->physical[r->count] = va;
        r->value[r->count] = value;
        r->needle[r->count++] = (uint32_t)s->needles.data[i];
    }
    return LH_OK;
}

/* Bytes that follow each other without a gap, from several blocks where they touch. */
static lh_status scan_run(search *s, uint64_t va, uint64_t end, lh_error *err)
{
    uint64_t pad = (s->align - va % s->align) % s->align;
    uint64_t begin = pad < end - va ? va + pad : end;
    lh_status status = LH_OK;
    while (status == LH_OK && begin < end && end - begin >= 8 && !s->result.truncated) {
        size_t size = end - begin < CHUNK ? (size_t)(end - begin) : CHUNK, at = 0;
        status = lhi_blocks_read(s->blocks, begin, s->buffer, size, NULL, err);
        while (status == LH_OK && at + 8 <= size && !s->result.truncated) {
            size_t count = s->kernel->find(&s->plan, s->buffer, size, s->align, &at, s->candidates);
            for (size_t i = 0; status == LH_OK && i < count && !s->result.truncated; i++)
                status = keep(s, begin + s->candidates[i], lhi_u64(s->buffer + s->candidates[i]), err);
        }
        begin += at;
        if (status == LH_OK)
            status = check(s, err);
    }
    s->result.bytes += end - va;
    return status;
}

lh_status lhi_scan_blocks(const lhi_blocks *blocks, const lhi_scan_options *options, lhi_scan_result *out,
                          lh_error *err)
{
    uint32_t align = 0;
    lh_status status = lhi_scan_choose_align(options, &align, err);
    if (status != LH_OK)
        return status;
    search *s = lhi_calloc(1, sizeof *s);
    if (!s)
        return lhi_fail_memory(err);
    s->blocks = blocks;
    s->options = options;
    s->align = align;
    s->kernel = lhi_scan_choose_kernel(options);
    s->next_report = lhi_os_now() + LHI_SCAN_REPORT_SECONDS;
    status = lhi_plan_init(&s->plan, options, err);
    if (status != LH_OK) {
        lhi_free(s);
        return status;
    }
    s->buffer = lhi_malloc(CHUNK);
    status = s->buffer ? check(s, err) : lhi_fail_memory(err);
    bool any = s->plan.direct_count != 0 || s->plan.window_count != 0;
    for (size_t i = 0; any && status == LH_OK && i < blocks->count && !s->result.truncated;) {
        uint64_t va = blocks->items[i].va, end = va;
        for (; i < blocks->count && blocks->items[i].va == end; i++)
            end += blocks->items[i].size;
        status = scan_run(s, va, end, err);
    }
    if (status == LH_OK && options->progress &&
        !options->progress(options->progress_user, s->result.bytes, blocks->bytes))
        status = lhi_fail(err, LH_ERR_CANCELLED, "scan: cancelled");
    s->result.kernel = s->kernel->name;
    if (status == LH_OK) {
        *out = s->result;
        s->result = (lhi_scan_result){0};
    }
    lhi_scan_result_free(&s->result);
    lhi_plan_free(&s->plan);
    lhi_vec_free(&s->needles);
    lhi_free(s->buffer);
    lhi_free(s);
    return status;
}
