/* Fields of public headers' structures that name an MDL or belong to a driver. */
#ifndef LHI_NT_TYPED_H
#define LHI_NT_TYPED_H

#include "nt/kernel.h"
#include "nt/mdl.h"

/* "URB.TransferBufferMDL" and its kind: a pointer to the MDL stands at `at`. NULL: in none of them. */
const char *lhi_mdl_field(const lh_kernel *kernel, uint64_t at, const lhi_mdl *mdl);
/* "IRP.Tail.Overlay.DriverContext" and what drivers have in the stack locations behind a packet; NULL. */
const char *lhi_irp_field(uint64_t offset);

#endif
