/* lh_kernel: the kernel address space of a dump with what is read once: layout, debugger block, modules. */
#ifndef LHI_NT_KERNEL_H
#define LHI_NT_KERNEL_H

#include "image/image.h"
#include "nt/module.h"

#include <stdatomic.h>

/* Offsets and sizes of the kernel's own structures, as its debugger block states them; 0: not stated. */
typedef struct lhi_kdbg_offsets {
    uint32_t thread_apc_process, thread_state, thread_kernel_stack, thread_stack_limit, thread_stack_base;
    uint32_t thread_irp_list, thread_size;
    uint32_t process_size, process_parent, process_directory;
    uint32_t prcb_size, prcb_current_thread, prcb_idle_thread, prcb_number, prcb_context;
    uint32_t prcb_context_frame, prcb_state; /* ContextFrame and ProcessorState, both from the KPRCB */
    uint32_t pcr_size, pcr_self, pcr_current_prcb, pcr_prcb;
} lhi_kdbg_offsets;

/* KDDEBUGGER_DATA64, as far as its own Size reaches; fields not there are 0. */
typedef struct lhi_kdbg {
    bool known;
    lh_absence absence; /* why not known; LH_ABSENT_LAYOUT: no block where the header says */
    uint64_t address;
    uint64_t kernel_base;
    uint64_t loaded_module_list, active_process_head;
    uint64_t processor_block;  /* address of KiProcessorBlock[] */
    uint64_t unloaded_drivers; /* address of the variable MmUnloadedDrivers */
    uint64_t last_unloaded;    /* address of MmLastUnloadedDriver */
    uint64_t pfn_database;     /* address of the variable MmPfnDatabase */
    uint64_t bugcheck_data;    /* address of KiBugCheckData */
    lhi_kdbg_offsets offsets;
} lhi_kdbg;

/* What probing saw besides the state of each field. */
typedef struct lhi_probing {
    uint32_t processes;       /* on the list, that were looked at */
    uint64_t system;          /* the process with PID 4, 0: not found */
    bool identity_failed;     /* a field that the row claimed was contradicted */
    bool counters_settled;    /* which of the two places the counters of 24H2 have */
    const char *counters_why; /* NULL where there are none */
    bool pool_marks;          /* PoolType tells what is in use: no header of a process contradicts */
} lhi_probing;

struct lh_kernel {
    atomic_size_t references;
    lh_dump *dump; /* retained */
    lhi_space space;
    const lhi_layout *layout; /* of `row` */
    lhi_layout_row row;       /* this kernel's own: probed and completed from the dump when it was opened */
    lhi_probing probing;
    uint32_t build;        /* what NT itself says, where it can be read; else the header's */
    uint32_t layout_build; /* the build that chose `layout`; a servicing branch may share an older build's
                              kernel */
    lhi_kdbg kdbg;
    lhi_modules modules;
    bool nt_known;
    lhi_image nt; /* valid when nt_known */
    char nt_version[32];
    lhi_exports exports; /* of nt; empty when not known */
};

lh_kernel *lhi_kernel_retain(lh_kernel *kernel);
/* Is the module, which may be NULL, nt's? */
bool lhi_is_nt(const lh_kernel *kernel, const lhi_module *module);
/* Address of one of nt's globals; 0: not known, as only the table of this very kernel tells. */
uint64_t lhi_kernel_global(const lh_kernel *kernel, lhi_global which);
/* blame.c: the driver that the kernel itself put on the blue screen (KiBugCheckDriver, facts A.6). false:
 * none, or not known. */
bool lhi_blamed_driver(const lh_kernel *kernel, char *name, size_t size, uint64_t *address);
/* Reads KDDEBUGGER_DATA64 at the address the header gives; decodes nothing (crash dumps hold it decoded). */
void lhi_kdbg_read(const lhi_space *space, uint64_t address, lhi_kdbg *out);

#endif
