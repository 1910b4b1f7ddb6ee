/* Passes over memory, and what a caller sees of a case's progress between them. */
#include "case/pass.h"

#include "source/os.h"

#define EXPECTED_PASSES 3u /* of an ordinary case, for the progress bar */
#define POLL_SECONDS    0.05

/* done and total in bytes over all passes, as far as their number is known. */
static bool report(lhi_case *c, uint64_t done_in_pass, uint64_t bytes_of_pass)
{
    uint64_t passes = c->passes + 1 > EXPECTED_PASSES ? c->passes + 1 : EXPECTED_PASSES;
    c->pass_bytes = bytes_of_pass;
    return c->options.progress(c->options.progress_user, c->passes * bytes_of_pass + done_in_pass,
                               passes * bytes_of_pass);
}

static bool show_progress(void *user, uint64_t done, uint64_t total)
{
    return report(user, done, total);
}

lh_status lhi_case_poll(lhi_case *c, lh_error *err)
{
    const double now = lhi_os_now();
    if (c->options.cancel && lh_cancel_is_set(c->options.cancel))
        return lhi_fail(err, LH_ERR_CANCELLED, "cancelled while the case was judged");
    if (c->deadline > 0 && now > c->deadline)
        return lhi_fail(err, LH_ERR_TIMEOUT, "the deadline passed while the case was judged");
    if (c->options.progress && now >= c->next_poll) {
        c->next_poll = now + POLL_SECONDS;
        /* What is left behind the last pass is no byte any more. */
        uint64_t behind = c->passes + 1 > EXPECTED_PASSES ? 1 : EXPECTED_PASSES - c->passes;
        if (!report(c, c->searched ? behind * c->pass_bytes : 0, c->pass_bytes))
            return lhi_fail(err, LH_ERR_CANCELLED, "stopped by the progress callback");
    }
    return LH_OK;
}

static lh_status run(lhi_case *c, lhi_scan_options what, lhi_pass *out, lh_error *err)
{
    lhi_scan_options options = {
        .values = what.values,
        .value_count = what.value_count,
        .ranges = what.ranges,
        .range_count = what.range_count,
        .mask = what.mask,
        .align = what.align,
        .threads = c->options.threads,
        .limit = c->options.limits.hits,
        .deadline = c->deadline,
        .cancel = c->options.cancel,
        .progress = c->options.progress ? show_progress : NULL,
        .progress_user = c,
    };
    lhi_vec frames = {0};
    const lhi_space *space = &c->kernel->space;
    lh_status status = lhi_space_scan(space, &options, &out->hits, err);
    if (status != LH_OK)
        goto done;
    c->passes++;
    c->bytes_scanned += out->hits.bytes;
    c->scan_kernel = out->hits.kernel;
    if (out->hits.truncated)
        lhi_case_limit(c, "hits");
    for (size_t i = 0; i < out->hits.count; i++) {
        uint64_t frame = out->hits.physical[i] >> 12;
        if (frames.count && frames.data[frames.count - 1] == frame)
            continue;
        if (!lhi_vec_push(&frames, frame)) {
            status = lhi_fail_memory(err);
            goto done;
        }
    }
    lhi_vec_sort_unique(&frames);
    status = lhi_space_places(space, frames.data, frames.count, &out->map, err);
done:
    lhi_vec_free(&frames);
    return status;
}

lh_status lhi_case_pass(lhi_case *c, const uint64_t *values, size_t count, uint32_t align, lhi_pass *out,
                        lh_error *err)
{
    const lhi_scan_options what = {.values = values, .value_count = count, .align = align};
    return run(c, what, out, err);
}

lh_status lhi_case_masked_pass(lhi_case *c, const uint64_t *values, size_t count, uint64_t mask,
                               lhi_pass *out, lh_error *err)
{
    const lhi_scan_options what = {.values = values, .value_count = count, .mask = mask, .align = 8};
    return run(c, what, out, err);
}

lh_status lhi_case_range_pass(lhi_case *c, const uint64_t *values, size_t count, const lh_range *ranges,
                              size_t range_count, lhi_pass *out, lh_error *err)
{
    const lhi_scan_options what = {
        .values = values, .value_count = count, .ranges = ranges, .range_count = range_count, .align = 4};
    return run(c, what, out, err);
}

void lhi_case_pass_free(lhi_pass *pass)
{
    lhi_scan_result_free(&pass->hits);
    lhi_reverse_free(&pass->map);
}
