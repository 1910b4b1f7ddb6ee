/* Windows' own drivers that lock, send or wait for other drivers, and where the client of each is found. */
#ifndef LHI_NT_LIBRARY_H
#define LHI_NT_LIBRARY_H

#include "nt/device.h"

/* Where the client of a library shows itself. */
enum {
    LHI_CLIENT_DEVICE =
        1, /* the client's driver object owns the device, with the library's dispatch routines */
    LHI_CLIENT_FRAMEWORK = 2, /* objects of the library lead to the client's globals (facts L.5) */
    LHI_CLIENT_STACK = 4,     /* it calls the library: the frame behind the library's is its own */
    LHI_CLIENT_LOCKS = 8      /* and may have the library lock: its own imports need not tell */
};

typedef struct lhi_library {
    const char *file; /* lower case */
    unsigned clients; /* LHI_CLIENT_*; 0: no other driver stands behind it, or only the stack tells which */
} lhi_library;

/* The row of a file name; NULL: no library. */
const lhi_library *lhi_library_find(const char *file);

/* A device's driver is a client of the library whose image its dispatch routines lie in. LHI_UNKNOWN: *why
 * tells why they are not in the dump. */
lhi_answer lhi_serves_device(const lh_kernel *kernel, const lhi_module *library, uint64_t driver,
                             lh_absence *why);

#endif
