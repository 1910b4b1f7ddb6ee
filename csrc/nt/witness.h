/* Known objects of a dump, on which a layout is probed: processes of the active list, threads, processors. */
#ifndef LHI_NT_WITNESS_H
#define LHI_NT_WITNESS_H

#include "nt/kernel.h"

/* More objects make no inference surer, only slower. */
#define LHI_WITNESSES 64u

typedef struct lhi_seen_thread {
    uint64_t address, process, pid; /* pid 0: unknown */
} lhi_seen_thread;

typedef struct lhi_witness {
    lh_kernel *kernel;
    uint64_t links[LHI_WITNESSES]; /* ActiveProcessLinks of processes, without the head */
    size_t link_count;
    bool complete;                     /* all links of the list are there */
    uint64_t processes[LHI_WITNESSES]; /* of the links, once their offset is settled */
    uint64_t pids[LHI_WITNESSES];      /* 0: unknown */
    size_t process_count;
    uint64_t system;                        /* the process with PID 4 */
    uint64_t victim;                        /* P2 of 0x76 with P1 = 0, where a process object lies there */
    uint64_t victim_pages, victim_trackers; /* P3 and P4 */
    lhi_seen_thread threads[LHI_WITNESSES];
    size_t thread_count;
} lhi_witness;

/* The list and the victim. */
void lhi_witness_collect(lh_kernel *kernel, lhi_witness *out);
/* Objects whose place follows from the settled offset of ActiveProcessLinks. */
void lhi_witness_processes(lhi_witness *witness);
/* One thread of each process seen, by the lists that no build moved. */
void lhi_witness_threads(lhi_witness *witness);

/* 1: a process object lies there, by its dispatcher header and its page directory; 0: can't be told; -1:
 * none. */
int lhi_looks_like_process(const lh_kernel *kernel, uint64_t address);
/* A thread object, likewise by its dispatcher header. */
int lhi_looks_like_thread(const lh_kernel *kernel, uint64_t address);
/* The first entry of a process's list of threads; false where the list is empty, damaged or not there. */
bool lhi_first_thread_entry(const lh_kernel *kernel, uint64_t process, uint64_t *out);
/* A LIST_ENTRY whose neighbours point back: 1; 0: a neighbour is not there; -1: contradicted. */
int lhi_list_holds(const lh_kernel *kernel, uint64_t entry);

#endif
