/* Objects of the kernel-mode driver framework (KMDF), and whose they are. */
#ifndef LHI_NT_FRAMEWORK_H
#define LHI_NT_FRAMEWORK_H

#include "nt/kernel.h"

#define LHI_FRAMEWORK "wdf01000.sys"

typedef struct lhi_fx_object {
    uint64_t address;
    uint16_t type;      /* FX_OBJECT_TYPES */
    uint16_t size;      /* of the object; contexts of its client lie behind it */
    int32_t references; /* 0 and below: released */
    uint64_t globals;   /* FX_DRIVER_GLOBALS of the client that it works for */
} lhi_fx_object;

/* LHI_UNKNOWN: *why tells why it is not in the dump. */
lhi_answer lhi_fx_object_read(const lh_kernel *kernel, uint64_t address, lhi_fx_object *out, lh_absence *why);
/* The object in a block of that body and size, or the one that the block is a further context of. */
bool lhi_fx_object_in(const lh_kernel *kernel, uint64_t body, uint64_t size, lhi_fx_object *out);
/* "request", "memory" ...; "object" for any other. */
const char *lhi_fx_type_name(uint16_t type);

/* An image that is bound to the framework: every client may have it lock pages. */
bool lhi_fx_is_bound(const lh_kernel *kernel, const lhi_image *image);
/* The client whose globals lie at an address: the loaded module whose data point at them. LHI_NO: no single
 * such module. LHI_UNKNOWN: one may be in what is not in the dump (*why). */
lhi_answer lhi_fx_client(const lh_kernel *kernel, uint64_t globals, const lhi_module **client,
                         lh_absence *why);

#endif
