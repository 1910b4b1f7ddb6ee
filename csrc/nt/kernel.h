/* lh_kernel: the kernel address space of a dump with what is read once: layout, debugger block, modules. */
#ifndef LHI_NT_KERNEL_H
#define LHI_NT_KERNEL_H

#include "image/image.h"
#include "nt/module.h"
#include "symbols/written.h"

#include <stdatomic.h>

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
} lhi_kdbg;

struct lh_kernel {
    atomic_size_t references;
    lh_dump *dump; /* retained */
    lhi_space space;
    const lhi_layout *layout;
    lhi_written_layout written; /* what `layout` points to where no table has a row */
    uint32_t build;             /* what NT itself says, where it can be read; else the header's */
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
/* Reads KDDEBUGGER_DATA64 at the address the header gives; decodes nothing (crash dumps hold it decoded). */
void lhi_kdbg_read(const lhi_space *space, uint64_t address, lhi_kdbg *out);

#endif
