/* The processes of a machine, as far as lists and headers lead to them. */
#ifndef LHI_NT_PROCESS_LIST_H
#define LHI_NT_PROCESS_LIST_H

#include "base/vec.h"
#include "nt/kernel.h"

typedef struct lhi_process_list {
    lhi_vec addresses;  /* of EPROCESS objects, ascending */
    bool complete;      /* the active process list was walked to its end */
    lh_absence absence; /* where not: of the first gap */
    uint64_t absent_at;
} lhi_process_list;

/* The active process list, from both ends where it is broken, and what is known without it: the process that
 * bug check 0x76 names, which has left the list, and the one that ran. A process that exited and is kept by a
 * handle is still in the list. Only LH_ERR_NO_MEMORY fails. Free with lhi_process_list_free. */
lh_status lhi_process_list_read(const lh_kernel *kernel, lhi_process_list *out, lh_error *err);
void lhi_process_list_free(lhi_process_list *list);

/* The process that 0x76 and 0xCB are about: in a parameter, or in the MDL that a parameter has. 0: none. */
uint64_t lhi_bugcheck_process(const lh_kernel *kernel);

#endif
