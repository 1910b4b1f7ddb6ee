/* What the threads of one scan share: the job, its tasks and the rows each worker found. */
#ifndef LHI_SCAN_JOB_H
#define LHI_SCAN_JOB_H

#include <stdatomic.h>

#include "scan/kernel.h"
#include "source/os.h"

enum {
    LHI_SCAN_TASK_PAGES = 1024 /* of the PFN range of one task: 4 MiB */
};

typedef struct lhi_scan_row {
    uint64_t physical, value;
    uint32_t needle;
} lhi_scan_row;

/* The rows of one task that has any. */
typedef struct lhi_scan_block {
    uint64_t end_pfn; /* of the task; tasks are taken in ascending order */
    lhi_scan_row *rows;
    size_t count;
} lhi_scan_block;

typedef struct lhi_scan_job {
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
} lhi_scan_job;

typedef struct lhi_scan_worker {
    lhi_scan_job *job;
    lhi_thread *thread;
    lhi_scan_block *blocks;
    size_t block_count, block_capacity;
    /* The task at hand. */
    lhi_scan_row *rows;
    size_t row_count, row_capacity;
    lhi_vec needles;
    uint8_t *buffer;
    uint32_t candidates[LHI_SCAN_BATCH];
} lhi_scan_worker;

/* On the calling thread only: deadline and progress. */
void lhi_scan_report(lhi_scan_job *j, bool last);
/* Looks at the cancel flag, and reports when the caller works alone. */
bool lhi_scan_must_stop(lhi_scan_job *j);
/* A thread's whole life: takes tasks until none is left; argument is its worker. */
void lhi_scan_work(void *argument);

#endif
