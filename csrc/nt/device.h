/* Device, driver and file objects, and from a driver object to the file it was loaded from. */
#ifndef LHI_NT_DEVICE_H
#define LHI_NT_DEVICE_H

#include "nt/kernel.h"

/* How a driver's name was found; best first. */
typedef enum lhi_name_basis {
    LHI_NAME_NONE = 0,
    LHI_NAME_MODULE,   /* the loaded module that DriverStart or the address lies in */
    LHI_NAME_SECTION,  /* the module entry that DriverSection points to */
    LHI_NAME_UNLOADED, /* an unloaded driver's record */
    LHI_NAME_OBJECT    /* only the driver object's name: no module is left */
} lhi_name_basis;

typedef struct lhi_driver {
    uint64_t address; /* DRIVER_OBJECT; 0 when known by an address in its image only */
    lh_absence
        absence; /* why the driver could not be identified, LH_PRESENT: `name` is valid. LH_ABSENT_LAYOUT:
                    what is there is no driver object, or nothing names it and all of it was captured */
    uint64_t absent_at;
    lhi_name_basis basis;
    bool object_known;     /* a DRIVER_OBJECT was read */
    char name[128];        /* "leaky.sys"; with LHI_NAME_OBJECT "\\Driver\\leaky"'s last part */
    char object_name[128]; /* escaped, "" when not captured */
    uint64_t start, size;  /* of the image, 0 unknown */
    bool has_module;
    lhi_module module; /* valid when has_module */
    bool is_kernel;    /* the image is nt itself */
    const char *doubt; /* why a name that is there is not believed; NULL */
} lhi_driver;
void lhi_driver_read(const lh_kernel *kernel, uint64_t address, lhi_driver *out);
/* The driver whose image contains a code address. */
void lhi_driver_from_code(const lh_kernel *kernel, uint64_t code, lhi_driver *out);
/* The driver that a routine is of: as before, and the address lies in code. has_module is false where it
 * doesn't, or where that can't be told; `doubt` or `absence` says which. */
void lhi_driver_from_routine(const lh_kernel *kernel, uint64_t routine, lhi_driver *out);

typedef struct lhi_device {
    uint64_t address;
    lh_absence absence; /* LH_ABSENT_LAYOUT: what is there is no device object */
    uint64_t absent_at;
    uint64_t driver, attached, extension;
    uint64_t below; /* the device it is attached to, by its DEVOBJ_EXTENSION; 0: none, or not known */
    uint32_t device_type;
    uint16_t size;
    lh_absence listed_absence; /* of a page of that list which is not there; LH_PRESENT: none was missed */
    lhi_answer
        listed; /* in its driver's list of devices; LHI_UNKNOWN: the list is empty or not wholly there */
} lhi_device;
void lhi_device_read(const lh_kernel *kernel, uint64_t address, lhi_device *out);
/* A device and the driver that it is of. Where the device is not there, the driver has its absence. */
void lhi_device_driver(const lh_kernel *kernel, uint64_t address, lhi_device *device, lhi_driver *driver);

typedef struct lhi_file {
    uint64_t address;
    lh_absence absence; /* LH_ABSENT_LAYOUT: no file object */
    uint64_t absent_at;
    uint64_t device;
    uint32_t flags; /* FO_*, WDK wdm.h */
} lhi_file;
void lhi_file_read(const lh_kernel *kernel, uint64_t address, lhi_file *out);

/* Windows' own drivers that lock, send or wait for their clients: the code in front is not the one that owes.
 * Lower-case file names: the table is in nt/library.c. */
bool lhi_is_library(const char *name);

#endif
