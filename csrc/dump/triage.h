/* Triage dumps (type 4): tables of a small memory dump, and its pieces of virtual memory. */
#ifndef LHI_DUMP_TRIAGE_H
#define LHI_DUMP_TRIAGE_H

#include "dump/blocks.h"
#include "dump/notes.h"

/* A part of the file that the triage header describes; size 0: it is not there. */
typedef struct lhi_part {
    uint64_t offset, size;
} lhi_part;

typedef struct lhi_triage {
    const lh_source *source; /* borrowed */
    lhi_blocks blocks;       /* settled; with the copies below that have an address */
    /* The thread that ran, and the process whose address space it used: addresses of the objects of which the
     * dump has copies, 0 where that can't be told. */
    uint64_t thread, process;
    lhi_part drivers;       /* LHI_TRIAGE_DRIVER_SIZE bytes each, whole ones only */
    uint64_t drivers_told;  /* as the header counts them */
    lhi_part unloaded;      /* LHI_TRIAGE_UNLOADED_SIZE bytes each, newest first */
    uint64_t unloaded_told; /* likewise */
    lhi_part strings;       /* in which a driver's name lies */
    lhi_part stack;         /* call stack from top_of_stack on, also in `blocks` */
    uint64_t top_of_stack;
    uint64_t blocks_told; /* data blocks as the header counts them */
} lhi_triage;

/* An entry of the driver list: the name's file offset (u32), 4 bytes, KLDR_DATA_TABLE_ENTRY64 (0x88 bytes;
 * WDK dump headers, facts dump-formats 1.7; held against real dumps). */
#define LHI_TRIAGE_DRIVER_SIZE  0x90u
#define LHI_TRIAGE_DRIVER_ENTRY 8u
/* UNICODE_STRING64, 12 characters of the name, begin, end (likewise). */
#define LHI_TRIAGE_UNLOADED_SIZE 0x38u

void lhi_triage_destroy(lhi_triage *triage);

/* NULL for every other kind of dump. */
const lhi_triage *lhi_dump_triage(const lh_dump *dump);

#endif
