/* Runs a scan: cuts the present pages into tasks, lets threads take them, merges rows in physical order. */
#include "scan/scan.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "scan/kernel.h"
#include "source/os.h"
#include "source/source.h"

enum {
    TASK_PAGES = 1024,         /* of the PFN range of one task: 4 MiB */
    CHUNK_PAGES = 32,          /* read at once where bytes are not in place */
    SLICE_BYTES = 1024 * 1024, /* between two looks at the cancel flag */
    THREADS_MAX = 64
};
#define REPORT_SECONDS 0.05

typedef struct row {
    uint64_t physical, value;
    uint32_t needle;
} row;

/* The rows of one task that has any. */
typedef struct block {
    uint64_t end_pfn; /* of the task; tasks are taken in ascending order */
    row *rows;
    size_t count;
} block;

typedef struct job {
    const lhi_pages *pages;
    const lhi_scan_options *options;
    const lhi_scan_kernel *kernel;
    lhi_plan plan;
    uint32_t align;
    uint64_t cap;    /* rows wanted: one more than the limit, to know whether there are more */
    atomic_int stop; /* lh_status that ends the call */
    atomic_uint_fast64_t done;
    double next_report; /* the calling thread's */
    /* With threads, the rest is used under the mutex; alone, mutex is NULL. */
    lhi_mutex *mutex;
    lhi_cond *cond;
    uint64_t cursor;
    uint64_t rows; /* of finished tasks */
    uint32_t running;
    lh_error error; /* of the first worker that failed */
} job;

typedef struct worker {
    job *job;
    lhi_thread *thread;
    block *blocks;
    size_t block_count, block_capacity;
    /* The task at hand. */
    row *rows;
    size_t row_count, row_capacity;
    lhi_vec needles;
    uint8_t *buffer;
    uint32_t candidates[LHI_SCAN_BATCH];
} worker;

/* The first reason to stop stays. */
static void stop_with(job *j, lh_status status)
{
    int none = LH_OK;
    atomic_compare_exchange_strong(&j->stop, &none, (int)status);
}

/* On the calling thread only: deadline and progress. */
static void report(job *j, bool last)
{
    const lhi_scan_options *o = j->options;
    double now = lhi_os_now();
    if (!last && o->deadline != 0.0 && now >= o->deadline)
        stop_with(j, LH_ERR_TIMEOUT);
    if (o->progress == NULL || (!last && now < j->next_report))
        return;
    j->next_report = now + REPORT_SECONDS;
    if (!o->progress(o->progress_user, atomic_load(&j->done), j->pages->present * LHI_PAGE_SIZE))
        stop_with(j, LH_ERR_CANCELLED);
}

static bool must_stop(job *j)
{
    if (j->options->cancel != NULL && lh_cancel_is_set(j->options->cancel))
        stop_with(j, LH_ERR_CANCELLED);
    if (j->mutex == NULL && atomic_load_explicit(&j->stop, memory_order_relaxed) == LH_OK)
        report(j, false);
    return atomic_load_explicit(&j->stop, memory_order_relaxed) != LH_OK;
}

static void fail(job *j, const lh_error *error)
{
    if (j->mutex != NULL)
        lhi_mutex_lock(j->mutex);
    if (j->error.code == LH_OK)
        j->error = *error;
    if (j->mutex != NULL)
        lhi_mutex_unlock(j->mutex);
    stop_with(j, error->code);
}

static bool fail_memory(job *j)
{
    lh_error error = {0};
    lhi_fail_memory(&error);
    fail(j, &error);
    return false;
}

/* Grows an array by doubling. */
static bool reserve(void **data, size_t *capacity, size_t count, size_t size)
{
    size_t wanted = *capacity != 0 ? *capacity * 2 : 16;
    void *grown = NULL;
    if (count < *capacity)
        return true;
    grown = lhi_realloc_array(*data, wanted, size);
    if (grown == NULL)
        return false;
    *data = grown;
    *capacity = wanted;
    return true;
}

/* The exact test of one place. False ends the task: enough rows, or no memory. */
static bool resolve(worker *w, uint64_t physical, uint64_t value)
{
    job *j = w->job;
    if (!lhi_plan_resolve(&j->plan, value, &w->needles))
        return fail_memory(j);
    for (size_t i = 0; i < w->needles.count; i++) {
        void *rows = w->rows;
        if (w->row_count >= j->cap)
            return false;
        if (!reserve(&rows, &w->row_capacity, w->row_count, sizeof *w->rows))
            return fail_memory(j);
        w->rows = rows;
        w->rows[w->row_count++] = (row){physical, value, (uint32_t)w->needles.data[i]};
    }
    return true;
}

/* Values that begin in the last 7 bytes of a span and end in the next physical page, when it is there. */
static bool scan_bridge(worker *w, const uint8_t *data, size_t size, uint64_t physical)
{
    job *j = w->job;
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
static bool scan_span(worker *w, const uint8_t *data, size_t size, uint64_t physical)
{
    job *j = w->job;
    size_t at = 0;
    while (at + 8 <= size) {
        size_t before = at;
        size_t slice = size - at > SLICE_BYTES ? at + SLICE_BYTES : size;
        size_t count = j->kernel->find(&j->plan, data, slice, j->align, &at, w->candidates);
        for (size_t i = 0; i < count; i++)
            if (!resolve(w, physical + w->candidates[i], lhi_u64(data + w->candidates[i])))
                return false;
        atomic_fetch_add_explicit(&j->done, (at < size - 7 ? at : size) - before, memory_order_relaxed);
        if (must_stop(j))
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

static bool scan_gathered(worker *w, gather *g)
{
    job *j = w->job;
    lh_error error = {0};
    const uint8_t *data = NULL;
    if (g->pages == 0)
        return true;
    if (w->buffer == NULL)
        w->buffer = lhi_malloc(CHUNK_PAGES * LHI_PAGE_SIZE);
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

static bool gather_run(worker *w, gather *g, lhi_run run)
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

static bool scan_task(worker *w, uint64_t begin, uint64_t end)
{
    job *j = w->job;
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
static bool take_task(job *j, uint64_t *begin, uint64_t *end)
{
    lhi_run run = {0};
    if (j->mutex != NULL)
        lhi_mutex_lock(j->mutex);
    /* Tasks are taken in order: once the finished ones have rows enough, later ones can't matter. */
    if (j->rows < j->cap)
        lhi_pages_next(j->pages, j->cursor, &run);
    if (run.count != 0) {
        *begin = run.pfn;
        *end = run.pfn + TASK_PAGES;
        j->cursor = *end;
    }
    if (j->mutex != NULL)
        lhi_mutex_unlock(j->mutex);
    return run.count != 0;
}

/* Keeps the rows of a task in a block of their size. */
static bool keep_rows(worker *w, uint64_t end)
{
    job *j = w->job;
    void *blocks = w->blocks;
    row *fitted = NULL;
    if (w->row_count == 0)
        return true;
    if (!reserve(&blocks, &w->block_capacity, w->block_count, sizeof *w->blocks))
        return fail_memory(j);
    w->blocks = blocks;
    fitted = lhi_realloc_array(w->rows, w->row_count, sizeof *w->rows);
    if (fitted == NULL)
        return fail_memory(j);
    w->blocks[w->block_count++] = (block){end, fitted, w->row_count};
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

static void work(void *argument)
{
    worker *w = argument;
    job *j = w->job;
    uint64_t begin = 0;
    uint64_t end = 0;
    while (!must_stop(j) && take_task(j, &begin, &end)) {
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

/* Works with threads and waits for all of them; false when none could be started. */
static bool run_threads(job *j, worker *workers, uint32_t count)
{
    uint32_t started = 0;
    j->mutex = lhi_mutex_create();
    j->cond = lhi_cond_create();
    if (j->mutex == NULL || j->cond == NULL)
        goto done;
    lhi_mutex_lock(j->mutex);
    while (started < count && lhi_thread_start(&workers[started].thread, work, &workers[started]) == 0) {
        started++;
        j->running++;
    }
    while (j->running != 0) {
        double wait = REPORT_SECONDS;
        if (j->options->deadline != 0.0) {
            double left = j->options->deadline - lhi_os_now();
            wait = left < wait ? (left > 0.0 ? left : 0.0) : wait;
        }
        /* After the deadline, or a cancel, only the end of the workers is waited for. */
        if (atomic_load(&j->stop) != LH_OK)
            wait = REPORT_SECONDS;
        lhi_cond_wait(j->cond, j->mutex, wait);
        if (j->running == 0 || atomic_load(&j->stop) != LH_OK)
            continue;
        lhi_mutex_unlock(j->mutex);
        report(j, false);
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
static lh_status merge(job *j, worker *workers, uint32_t count, lhi_scan_result *out, lh_error *err)
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
        block *first = NULL;
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

static const lhi_scan_kernel *choose_kernel(const lhi_scan_options *options)
{
    const lhi_scan_kernel *best = options->kernel != NULL ? options->kernel : lhi_scan_avx2();
    return best != NULL ? best : &lhi_scan_serial;
}

static uint32_t choose_threads(const lhi_pages *pages, uint32_t wanted)
{
    uint64_t threads = wanted != 0 ? wanted : lhi_os_cpu_count();
    uint64_t tasks = pages->present / TASK_PAGES + 1;
    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    return (uint32_t)(threads < tasks ? threads : tasks);
}

static lh_status finish(job *j, lh_error *err)
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
    job j = {.pages = pages, .options = options, .kernel = choose_kernel(options)};
    worker *workers = NULL;
    uint32_t threads = choose_threads(pages, options->threads);
    lh_status status = LH_OK;

    j.align = options->align != 0 ? options->align : 8;
    if (j.align != 1 && j.align != 2 && j.align != 4 && j.align != 8)
        return lhi_fail_argument(err, "align", "%u is not 1, 2, 4 or 8", options->align);
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
        j.next_report = lhi_os_now() + REPORT_SECONDS;
    if (!must_stop(&j) && (j.plan.direct_count != 0 || j.plan.window_count != 0)) {
        if (threads == 1 || !run_threads(&j, workers, threads))
            work(&workers[0]);
    }
    if (atomic_load(&j.stop) == LH_OK)
        report(&j, true);
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
