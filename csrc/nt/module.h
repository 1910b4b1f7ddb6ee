/* Loaded modules (KLDR_DATA_TABLE_ENTRY list) and the last 50 unloaded drivers. */
#ifndef LHI_NT_MODULE_H
#define LHI_NT_MODULE_H

#include "image/image.h"
#include "symbols/layout.h"

typedef struct lhi_module {
    uint64_t base, size; /* bytes */
    uint64_t entry;      /* its list entry; for unloaded ones the UNLOADED_DRIVERS element */
    uint32_t timestamp;  /* 0: unknown */
    bool unloaded;
    lh_absence name_absence; /* LH_PRESENT: name is the file's name */
    uint64_t name_address;   /* where the name would be */
    char name[128];          /* lower case, escaped UTF-8; "" when name_absence says so */
    uint64_t reach;          /* look-up: the highest end of this and all loaded ones before it */
} lhi_module;

typedef struct lhi_modules {
    lhi_module *items; /* loaded ones ascending by base, then unloaded ones newest first */
    size_t loaded, count;
    bool complete;      /* the loaded list was walked to its head from at least one side without a gap */
    lh_absence absence; /* of the first gap */
    uint64_t absent_at;
    bool unloaded_known; /* the array of unloaded drivers could be read */
    uint64_t list_head;
} lhi_modules;

typedef struct lhi_module_sources {
    const lhi_space *space;
    const lhi_layout *layout;
    uint64_t list_head;        /* PsLoadedModuleList */
    uint64_t unloaded_drivers; /* address of the variable, 0: unknown */
    uint64_t last_unloaded;    /* likewise */
} lhi_module_sources;

/* Walks the list forward, and backward where a gap stops it; loops and absurd lengths (> 65536) end it. Only
 * LH_ERR_NO_MEMORY fails. */
lh_status lhi_modules_read(const lhi_module_sources *sources, lhi_modules *out, lh_error *err);
void lhi_modules_free(lhi_modules *modules);
/* The loaded module that contains an address; NULL where none does. */
const lhi_module *lhi_module_at(const lhi_modules *modules, uint64_t va);
/* The newest unloaded driver whose range contained it. A range may have been used again by a loaded module:
 * ask that first. */
const lhi_module *lhi_module_unloaded_at(const lhi_modules *modules, uint64_t va);
/* Another file's image lay, or lies, in a part of an unloaded driver's range. */
bool lhi_module_range_shared(const lhi_modules *modules, const lhi_module *unloaded);
/* One list entry by its address (DRIVER_OBJECT.DriverSection), also when the list could not be walked to it.
 * LH_ABSENT_LAYOUT: what is there is no such entry (its base is not page aligned or its size absurd). Name
 * falls back to FullDllName. */
lh_absence lhi_module_from_entry(const lhi_module_sources *sources, uint64_t entry, lhi_module *out);

#endif
