/* One thread of a scan: takes tasks, runs the kernel over their pages, keeps the rows. */
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "scan/job.h"
#include "source/source.h"

enum {
    CHUNK_PAGES = 32,         /* read at once where bytes are not in place */
    SLICE_BYTES = 1024 * 1024 /* between two looks at the cancel flag */
};

static void stop(lhi_scan_job *j, lh_status status)
{
    int none = LH_OK;
    atomic_compare_exchange_strong(&j->stop, &none, (int)status);
}

void lhi_scan_report(lhi_scan_job *j, bool last)
{
    const lhi_scan_options *o = j->options;
    double now = lhi_os_now();
    if (!last && o->deadline != 0.0 && now >= o->deadline)
        stop(j, LH_ERR_TIMEOUT);
    if (o->progress == NULL || (!last && now < j->next_report))
        return;
    j->next_report = now + LHI_SCAN_REPORT_SECONDS;
    if (!o->progress(o->progress_user, atomic_load(&j->done), j->pages->present * LHI_PAGE_SIZE))
        stop(j, LH_ERR_CANCELLED);
}

bool lhi_scan_must_stop(lhi_scan_job *j)
{
    if (j->options->cancel != NULL && lh_cancel_is_set(j->options->cancel))
        stop(j, LH_ERR_CANCELLED);
    if (j->mutex == NULL && atomic_load_explicit(&j->stop, memory_order_relaxed) == LH_OK)
        lhi_scan_report(j, false);
    return atomic_load_explicit(&j->stop, memory_order_relaxed) != LH_OK;
}

static void fail(lhi_scan_job *j, const lh_error *error)
{
    if (j->mutex != NULL)
        lhi_mutex_lock(j->mutex);
    if (j->error.code == LH_OK)
        j->error = *error;
    if (j->mutex != NULL)
        lhi_mutex_unlock(j->mutex);
    stop(j, error->code);
}

static bool fail_memory(lhi_scan_job *j)
{
    lh_error error = {0};
    lhi_fail_memory(&error);
    fail(j, &error);
    return false;
}

/* The exact test of one place. False ends the task: enough rows, or no memory. */
static bool resolve(lhi_scan_worker *w, uint64_t physical, uint64_t value)
{
    lhi_scan_job *j = w->job;
    if (!lhi_plan_resolve(&j->plan, value, &w->needles))
        return fail_memory(j);
    for (size_t i = 0; i < w->needles.count; i++) {
        if (w->row_count >= j->cap)
            return false;
        if (!lhi_grow(&w->rows, w->row_count, &w->row_capacity, sizeof *w->rows))
            return fail_memory(j);
        w->rows[w->row_count++] = (lhi_scan_row){physical, value, (uint32_t)w->needles.data[i]};
    }
    return true;
}

/* Values that begin in the last 7 bytes of a span and end in the next physical page, when it is there. */
static bool scan_bridge(lhi_scan_worker *w, const uint8_t *data, size_t size, uint64_t physical)
{
    lhi_scan_job *j = w->job;
    uint8_t bridge[14];
    lh_error error = {0};
    lhi_run next = {0};
    uint64_t beyond = physical + size;
    lh_status status = LH_OK;
    if (lhi_pages_find(j->pages, beyond / LHI_PAGE_SIZE, &next) != LH_PRESENT)
        return true;
    status = lhi_pages_read(j->pages, beyond, bridge + 7, 7, &error);
    if (status == LH_ERR_ABSENT)
        return true;
    if (status != LH_OK) {
        fail(j, &error);
        return false;
    }
    memcpy(bridge, data + size - 7, 7);
    for (size_t at = size - 8 + j->align; at < size; at += j->align)
        if (!resolve(w, physical + at, lhi_u64(bridge + (at - (size - 7)))))
            return false;
    return true;
}

/* Whole pages whose bytes lie one behind the other, here and in physical memory. False ends the task. */
static bool scan_span(lhi_scan_worker *w, const uint8_t *data, size_t size, uint64_t physical)
{
    lhi_scan_job *j = w->job;
    size_t at = 0;
    while (at + 8 <= size) {
        size_t before = at;
        size_t slice = size - at > SLICE_BYTES ? at + SLICE_BYTES : size;
        size_t count = j->kernel->find(&j->plan, data, slice, j->align, &at, w->candidates);
        for (size_t i = 0; i < count; i++)
            if (!resolve(w, physical + w->candidates[i], lhi_u64(data + w->candidates[i])))
                return false;
        atomic_fetch_add_explicit(&j->done, (at < size - 7 ? at : size) - before, memory_order_relaxed);
        if (lhi_scan_must_stop(j))
            return false;
    }
    return j->align == 8 || scan_bridge(w, data, size, physical);
}

/* Pages to be read: pieces of physical memory that lie one behind the other in the file. */
typedef struct gather {
    uint64_t offset;
    uint64_t pages;
    size_t count;
    struct {
        uint64_t pfn, count;
    } pieces[CHUNK_PAGES];
} gather;

static bool scan_gathered(lhi_scan_worker *w, gather *g)
{
    lhi_scan_job *j = w->job;
    lh_error error = {0};
    const uint8_t *data = NULL;
    if (g->pages == 0)
        return true;
    if (w->buffer == NULL)
        w->buffer = lhi_malloc((size_t)CHUNK_PAGES * LHI_PAGE_SIZE);
    if (w->buffer == NULL)
        return fail_memory(j);
    if (lhi_source_read(j->pages->source, g->offset, w->buffer, (size_t)g->pages * LHI_PAGE_SIZE, &error) !=
        LH_OK) {
        fail(j, &error);
        return false;
    }
    data = w->buffer;
    for (size_t i = 0; i < g->count; i++) {
        size_t size = (size_t)g->pieces[i].count * LHI_PAGE_SIZE;
        if (!scan_span(w, data, size, g->pieces[i].pfn * LHI_PAGE_SIZE))
            return false;
        data += size;
    }
    g->pages = 0;
    g->count = 0;
    return true;
}

static bool gather_run(lhi_scan_worker *w, gather *g, lhi_run run)
{
    while (run.count != 0) {
        uint64_t n = run.count;
        if (g->pages != 0 && (g->pages == CHUNK_PAGES || run.offset != g->offset + g->pages * LHI_PAGE_SIZE))
            if (!scan_gathered(w, g))
                return false;
        if (n > CHUNK_PAGES - g->pages)
            n = CHUNK_PAGES - g->pages;
        if (g->pages == 0)
            g->offset = run.offset;
        g->pieces[g->count].pfn = run.pfn;
        g->pieces[g->count++].count = n;
        g->pages += n;
        run.pfn += n;
        run.count -= n;
        run.offset += n * LHI_PAGE_SIZE;
    }
    return true;
}

static bool scan_task(lhi_scan_worker *w, uint64_t begin, uint64_t end)
{
    lhi_scan_job *j = w->job;
    gather g = {0};
    for (uint64_t pfn = begin; pfn < end;) {
        lhi_run run = {0};
        const uint8_t *data = NULL;
        size_t size = 0;
        lhi_pages_next(j->pages, pfn, &run);
        if (run.count == 0 || run.pfn >= end)
            break;
        if (run.count > end - run.pfn)
            run.count = end - run.pfn;
        pfn = run.pfn + run.count;
        size = (size_t)run.count * LHI_PAGE_SIZE;
        data =
            run.memory != NULL ? run.memory : lhi_source_view_sequential(j->pages->source, run.offset, size);
        if (data == NULL) {
            if (!gather_run(w, &g, run))
                return false;
        } else if (!scan_gathered(w, &g) || !scan_span(w, data, size, run.pfn * LHI_PAGE_SIZE)) {
            return false;
        }
    }
    return scan_gathered(w, &g);
}

/* The next task: a PFN range that begins with a present page. */
static bool take_task(lhi_scan_job *j, uint64_t *begin, uint64_t *end)
{
    lhi_run run = {0};
    if (j->mutex != NULL)
        lhi_mutex_lock(j->mutex);
    /* Tasks are taken in order: once the finished ones have rows enough, later ones can't matter. */
    if (j->rows < j->cap)
        lhi_pages_next(j->pages, j->cursor, &run);
    if (run.count != 0) {
        *begin = run.pfn;
        *end = run.pfn + LHI_SCAN_TASK_PAGES;
        j->cursor = *end;
    }
    if (j->mutex != NULL)
        lhi_mutex_unlock(j->mutex);
    return run.count != 0;
}

/* Keeps the rows of a task in a block of their size. */
static bool keep_rows(lhi_scan_worker *w, uint64_t end)
{
    lhi_scan_job *j = w->job;
    lhi_scan_row *fitted = NULL;
    if (w->row_count == 0)
        return true;
    if (!lhi_grow(&w->blocks, w->block_count, &w->block_capacity, sizeof *w->blocks))
        return fail_memory(j);
    fitted = lhi_realloc_array(w->rows, w->row_count, sizeof *w->rows);
    if (fitted == NULL)
        return fail_memory(j);
    w->blocks[w->block_count++] = (lhi_scan_block){end, fitted, w->row_count};
    if (j->mutex != NULL)
        lhi_mutex_lock(j->mutex);
    j->rows += w->row_count;
    if (j->mutex != NULL)
        lhi_mutex_unlock(j->mutex);
    w->rows = NULL;
    w->row_count = 0;
    w->row_capacity = 0;
    return true;
}

void lhi_scan_work(void *argument)
{
    lhi_scan_worker *w = argument;
    lhi_scan_job *j = w->job;
    uint64_t begin = 0;
    uint64_t end = 0;
    while (!lhi_scan_must_stop(j) && take_task(j, &begin, &end)) {
        scan_task(w, begin, end);
        if (atomic_load(&j->stop) != LH_OK || !keep_rows(w, end))
            break;
    }
    if (j->mutex != NULL) {
        lhi_mutex_lock(j->mutex);
        j->running--;
        lhi_cond_broadcast(j->cond);
        lhi_mutex_unlock(j->mutex);
    }
}
