/* The physical memory descriptor of a dump header: the machine's memory runs, checked. */
#ifndef LHI_DUMP_RUNS_H
#define LHI_DUMP_RUNS_H

#include "dump/notes.h"

/* 700 bytes of PhysicalMemoryBlockBuffer hold 42 runs of 16 bytes behind 16 of head (facts 1.4). */
#define LHI_MOST_RUNS 42u
/* Physical addresses have 52 bits at most (Intel SDM vol. 3A, 4.1.4: MAXPHYADDR), so a PFN has 40. */
#define LHI_PFN_LIMIT ((uint64_t)1 << 40)

typedef struct lhi_memory_run {
    uint64_t pfn;
    uint64_t count;
    uint64_t first; /* number of the run's first page in a full dump: the pages of the runs before it */
} lhi_memory_run;

typedef struct lhi_runs {
    uint32_t count;
    bool cut;                          /* runs of the header were left out, and pages are missing with them */
    bool ascending;                    /* as Windows writes them */
    uint64_t pages;                    /* in these runs */
    uint64_t claimed;                  /* NumberOfPages; 0 where it was never set */
    lhi_memory_run run[LHI_MOST_RUNS]; /* ascending, disjoint, none empty */
} lhi_runs;

/* The runs that can be right: inside physical memory and in conflict with no other. LH_ERR_FORMAT when not
 * one is left. Notes what it left out. */
lh_status lhi_runs_parse(const uint8_t *header, lhi_runs *out, lhi_notes *notes, lh_error *err);

/* The machine's memory runs, put into *out; NULL where the header's are not flawless. Of a dump whose pages
 * are found without them they are a help, not a need: only flawless ones tell what is no RAM. */
const lhi_runs *lhi_runs_of_machine(const uint8_t *header, lhi_runs *out);

/* The run that holds pfn, or NULL. */
const lhi_memory_run *lhi_runs_find(const lhi_runs *runs, uint64_t pfn);

/* The machine's memory runs, where the header has them; else NULL. */
const lhi_runs *lhi_dump_runs(const lh_dump *dump);

#endif
