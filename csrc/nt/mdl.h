/* Memory descriptor lists: decoding, and the judgement whether one describes pages locked for a process. */
#ifndef LHI_NT_MDL_H
#define LHI_NT_MDL_H

#include "nt/kernel.h"

/* MDL flags, WDK wdm.h. */
enum {
    LHI_MDL_MAPPED_TO_SYSTEM_VA = 0x0001,
    LHI_MDL_PAGES_LOCKED = 0x0002,
    LHI_MDL_SOURCE_IS_NONPAGED_POOL = 0x0004,
    LHI_MDL_ALLOCATED_FIXED_SIZE = 0x0008,
    LHI_MDL_PARTIAL = 0x0010,
    LHI_MDL_IO_PAGE_READ = 0x0040,
    LHI_MDL_DESCRIBES_AWE = 0x0400,
    LHI_MDL_IO_SPACE = 0x0800
};

typedef enum lhi_mdl_class {
    LHI_MDL_NOT_ONE = 0, /* what is there is no MDL */
    LHI_MDL_CHARGED,     /* a lock of user pages, charged to `process` */
    LHI_MDL_IS_PARTIAL,  /* built by IoBuildPartialMdl over another one: never charged */
    LHI_MDL_STALE,       /* was one; PAGES_LOCKED is clear: unlocked, or never locked */
    LHI_MDL_PAGING, /* in-page I/O of the memory manager in a structure used again: `process` is a leftover */
    LHI_MDL_NONPAGED,  /* describes non-paged pool: never charged */
    LHI_MDL_AWE,       /* a locked AWE or physical region: accounted for elsewhere (facts B.1) */
    LHI_MDL_KERNEL,    /* locked kernel addresses: charged to nobody */
    LHI_MDL_UNREADABLE /* the header crosses into a page that is not there */
} lhi_mdl_class;
/* "charged", "partial", "unlocked", "paging_read", "nonpaged_pool", "kernel_pages", "not_captured". */
const char *lhi_mdl_class_name(lhi_mdl_class klass);

typedef struct lhi_mdl {
    uint64_t address;
    lhi_mdl_class klass;
    const char *reason; /* why it is (or is not) that; a static clause */
    lh_absence absence; /* for LHI_MDL_UNREADABLE */
    uint64_t absent_at;
    uint64_t next, process, mapped_va, start_va;
    uint32_t byte_count, byte_offset;
    uint16_t size, flags;
    uint64_t pages;          /* spanned by offset and count */
    uint64_t frames_checked; /* array entries that were read and are plausible */
    uint64_t frames_absent;  /* array entries in pages that are not there */
    uint64_t frames_hash;    /* of all entries read: equal arrays have equal hashes */
    uint64_t first_frame;    /* 0 when not read */
} lhi_mdl;

#define LHI_MDL_HEADER 0x30u /* sizeof(MDL) on x64, public PDB type _MDL; the frame array follows */

/* Decodes what lies at `address` and classifies it (facts: WDK wdm.h; IoBuildPartialMdl, MmProbeAndLockPages
 * documentation). `process`: the process it should name, 0 for any. *budget counts down the array entries
 * read in the whole case, so that many hostile candidates stay linear; at 0 arrays are no longer checked. */
void lhi_mdl_read(const lh_kernel *kernel, uint64_t address, uint64_t process, uint64_t *budget,
                  lhi_mdl *out);

/* A frame number that can be RAM of this machine. */
bool lhi_frame_plausible(const lh_kernel *kernel, uint64_t frame);

/* The frame array: entries [first, first + count) into `out`; returns how many leading ones could be read. */
size_t lhi_mdl_frames(const lh_kernel *kernel, const lhi_mdl *mdl, uint64_t first, uint64_t *out,
                      size_t count);

#endif
