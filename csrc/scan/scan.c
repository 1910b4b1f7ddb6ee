/* Runs a scan: cuts the present pages into tasks for threads and merges their rows in physical order. */
#include "scan/scan.h"

#include "base/alloc.h"
#include "base/error.h"
#include "scan/job.h"

enum { THREADS_MAX = 64 };

/* Works with threads and waits for all of them; false when none could be started. */
static bool run_threads(lhi_scan_job *j, lhi_scan_worker *workers, uint32_t count)
{
    uint32_t started = 0;
    j->mutex = lhi_mutex_create();
    j->cond = lhi_cond_create();
    if (j->mutex == NULL || j->cond == NULL)
        goto done;
    lhi_mutex_lock(j->mutex);
    while (started < count &&
           lhi_thread_start(&workers[started].thread, lhi_scan_work, &workers[started]) == 0) {
        started++;
        j->running++;
    }
    while (j->running != 0) {
        double wait = LHI_SCAN_REPORT_SECONDS;
        if (j->options->deadline != 0.0) {
            double left = j->options->deadline - lhi_os_now();
            wait = left < wait ? (left > 0.0 ? left : 0.0) : wait;
        }
        /* After the deadline, or a cancel, only the end of the workers is waited for. */
        if (atomic_load(&j->stop) != LH_OK)
            wait = LHI_SCAN_REPORT_SECONDS;
        lhi_cond_wait(j->cond, j->mutex, wait);
        if (j->running == 0 || atomic_load(&j->stop) != LH_OK)
            continue;
        lhi_mutex_unlock(j->mutex);
        lhi_scan_report(j, false);
        lhi_mutex_lock(j->mutex);
    }
    lhi_mutex_unlock(j->mutex);
    for (uint32_t i = 0; i < started; i++)
        lhi_thread_join(workers[i].thread);
done:
    lhi_cond_destroy(j->cond);
    lhi_mutex_destroy(j->mutex);
    j->mutex = NULL;
    j->cond = NULL;
    return started != 0;
}

/* Present bytes below end_pfn. */
static uint64_t bytes_below(const lhi_pages *pages, uint64_t end_pfn)
{
    uint64_t count = 0;
    for (uint64_t pfn = 0; pfn < end_pfn;) {
        lhi_run run = {0};
        lhi_pages_next(pages, pfn, &run);
        if (run.count == 0 || run.pfn >= end_pfn)
            break;
        count += run.count < end_pfn - run.pfn ? run.count : end_pfn - run.pfn;
        pfn = run.pfn + run.count;
    }
    return count * LHI_PAGE_SIZE;
}

/* Blocks of all workers in ascending order into columns; each block is freed when it is copied. */
static lh_status merge(lhi_scan_job *j, lhi_scan_worker *workers, uint32_t count, lhi_scan_result *out,
                       lh_error *err)
{
    lhi_scan_result r = {0};
    size_t heads[THREADS_MAX] = {0};
    uint64_t total = j->rows < j->cap ? j->rows : j->cap;
    uint64_t limit = j->options->limit;
    size_t seen = 0;
    r.truncated = limit != 0 && total > limit;
    r.bytes = atomic_load(&j->done);
    r.kernel = j->kernel->name;
    total = r.truncated ? limit : total;
    if (total != 0) {
        r.physical = lhi_realloc_array(NULL, (size_t)total, sizeof *r.physical);
        r.value = lhi_realloc_array(NULL, (size_t)total, sizeof *r.value);
        r.needle = lhi_realloc_array(NULL, (size_t)total, sizeof *r.needle);
        if (r.physical == NULL || r.value == NULL || r.needle == NULL) {
            lhi_scan_result_free(&r);
            return lhi_fail_memory(err);
        }
    }
    for (;;) {
        lhi_scan_block *first = NULL;
        uint32_t from = 0;
        for (uint32_t i = 0; i < count; i++)
            if (heads[i] < workers[i].block_count &&
                (first == NULL || workers[i].blocks[heads[i]].end_pfn < first->end_pfn)) {
                first = &workers[i].blocks[heads[i]];
                from = i;
            }
        if (first == NULL)
            break;
        heads[from]++;
        if (r.truncated && seen <= limit && seen + first->count > limit)
            r.bytes = bytes_below(j->pages, first->end_pfn);
        for (size_t i = 0; i < first->count && r.count < total; i++, r.count++) {
            r.physical[r.count] = first->rows[i].physical;
            r.value[r.count] = first->rows[i].value;
            r.needle[r.count] = first->rows[i].needle;
        }
        seen += first->count;
        lhi_free(first->rows);
        first->rows = NULL;
    }
    *out = r;
    return LH_OK;
}

const lhi_scan_kernel *lhi_scan_choose_kernel(const lhi_scan_options *options)
{
    const lhi_scan_kernel *best = options->kernel != NULL ? options->kernel : lhi_scan_avx2();
    return best != NULL ? best : &lhi_scan_serial;
}

lh_status lhi_scan_choose_align(const lhi_scan_options *options, uint32_t *align, lh_error *err)
{
    uint32_t wanted = options->align != 0 ? options->align : 8;
    if (wanted != 1 && wanted != 2 && wanted != 4 && wanted != 8)
        return lhi_fail_argument(err, "align", "%u is not 1, 2, 4 or 8", (unsigned)wanted);
    *align = wanted;
    return LH_OK;
}

static uint32_t choose_threads(const lhi_pages *pages, uint32_t wanted)
{
    uint64_t threads = wanted != 0 ? wanted : lhi_os_cpu_count();
    uint64_t tasks = pages->present / LHI_SCAN_TASK_PAGES + 1;
    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    return (uint32_t)(threads < tasks ? threads : tasks);
}

static lh_status finish(lhi_scan_job *j, lh_error *err)
{
    lh_status stop = (lh_status)atomic_load(&j->stop);
    if (stop == LH_OK)
        return LH_OK;
    if (stop == LH_ERR_CANCELLED)
        return lhi_fail(err, stop, "scan: cancelled");
    if (stop == LH_ERR_TIMEOUT)
        return lhi_fail(err, stop, "scan: the deadline passed");
    if (err != NULL) {
        *err = j->error;
        lhi_prefix(err, "scan");
    }
    return stop;
}

lh_status lhi_scan(const lhi_pages *pages, const lhi_scan_options *options, lhi_scan_result *out,
                   lh_error *err)
{
    lhi_scan_job j = {.pages = pages, .options = options, .kernel = lhi_scan_choose_kernel(options)};
    lhi_scan_worker *workers = NULL;
    uint32_t threads = choose_threads(pages, options->threads);
    lh_status status = lhi_scan_choose_align(options, &j.align, err);

    if (status != LH_OK)
        return status;
    j.cap = options->limit != 0 && options->limit != UINT64_MAX ? options->limit + 1 : UINT64_MAX;
    status = lhi_plan_init(&j.plan, options, err);
    if (status != LH_OK)
        return status;
    workers = lhi_calloc(threads, sizeof *workers);
    if (workers == NULL) {
        status = lhi_fail_memory(err);
        goto done;
    }
    for (uint32_t i = 0; i < threads; i++)
        workers[i].job = &j;
    if (options->progress != NULL)
        j.next_report = lhi_os_now() + LHI_SCAN_REPORT_SECONDS;
    if (!lhi_scan_must_stop(&j) && (j.plan.direct_count != 0 || j.plan.window_count != 0)) {
        if (threads == 1 || !run_threads(&j, workers, threads))
            lhi_scan_work(&workers[0]);
    }
    if (atomic_load(&j.stop) == LH_OK)
        lhi_scan_report(&j, true);
    status = finish(&j, err);
    if (status == LH_OK)
        status = merge(&j, workers, threads, out, err);
done:
    for (uint32_t i = 0; workers != NULL && i < threads; i++) {
        for (size_t b = 0; b < workers[i].block_count; b++)
            lhi_free(workers[i].blocks[b].rows);
        lhi_free(workers[i].blocks);
        lhi_free(workers[i].rows);
        lhi_free(workers[i].buffer);
        lhi_vec_free(&workers[i].needles);
    }
    lhi_free(workers);
    lhi_plan_free(&j.plan);
    return status;
}

void lhi_scan_result_free(lhi_scan_result *result)
{
    lhi_free(result->physical);
    lhi_free(result->value);
    lhi_free(result->needle);
    *result = (lhi_scan_result){0};
}
