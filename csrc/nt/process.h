/* Process and thread objects. */
#ifndef LHI_NT_PROCESS_H
#define LHI_NT_PROCESS_H

#include "nt/kernel.h"

/* Address of the KPRCB of processor `index`: KiProcessorBlock[index], accepted when the processor's own
 * pointers to itself agree (KPCR.CurrentPrcb, facts B.9). LH_ABSENT_LAYOUT: where the table lies is not
 * known, or it does not lead to a processor. */
lh_absence lhi_processor(const lh_kernel *kernel, uint32_t index, uint64_t *prcb, uint64_t *at);
/* Stack pointer of the context that the processor saved when the machine stopped; 0 unknown. */
uint64_t lhi_processor_stack_pointer(const lh_kernel *kernel, uint64_t prcb);
/* Processors to ask: as the header counts them, within what Windows supports. */
uint32_t lhi_processor_count(const lh_kernel *kernel);

/* As lh_kernel_get_process. out->struct_size is not looked at. */
lh_status lhi_process_read(const lh_kernel *kernel, uint64_t address, lh_process *out, lh_error *err);

/* Whether it has exited, or is about to: by its ExitTime, or by the flags ProcessExiting and ProcessDelete. A
 * process without them lives; without the flags, ExitTime 0 alone does not tell, as it is set late. */
lhi_answer lhi_process_exited(const lh_process *process);
/* Its last thread is gone: ProcessDelete, which is set then, or ExitTime. */
bool lhi_process_is_dead(const lh_process *process);
/* A thread stands on the process's list: it refers to its process, which therefore was not deleted. False
 * where the list is empty, and where it is not wholly there. */
bool lhi_process_has_threads(const lh_kernel *kernel, uint64_t address);

/* What a process's page directory and its name can be. */
bool lhi_is_directory(const lh_kernel *kernel, uint64_t dtb);
bool lhi_is_file_name(const uint8_t name[15]);
/* The kernel's count of locked pages: NumberOfLockedPages, or the counters that took its place. */
lh_absence lhi_locked_pages(const lh_kernel *kernel, uint64_t process, uint64_t *out, uint64_t *at);

typedef struct lhi_thread_info {
    uint64_t address;
    lh_absence absence; /* LH_PRESENT: the fields below are valid */
    uint64_t absent_at;
    bool is_thread;                 /* dispatcher type 6: alive or at least not yet freed */
    uint64_t process;               /* KTHREAD.Process */
    uint64_t irp_list;              /* address of ETHREAD.IrpList, 0: unknown layout */
    uint64_t thread_id, process_id; /* Cid, 0: unknown */
} lhi_thread_info;
void lhi_thread_read(const lh_kernel *kernel, uint64_t address, lhi_thread_info *out);

/* The thread that ran on the processor which crashed, and its process: from KiProcessorBlock ->
 * KPRCB.CurrentThread of the processor whose saved context has the header's Rsp, or of the only processor. 0
 * with the reason where not known. */
typedef struct lhi_current {
    uint64_t thread, process; /* process is ApcState.Process: the address space in use */
    lh_absence absence;
    uint64_t absent_at;
} lhi_current;
void lhi_current_read(const lh_kernel *kernel, lhi_current *out);

#endif
