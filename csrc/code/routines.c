/* The table of routines, each with what it does to an MDL, after the documentation of the WDK. */
#include "code/routines.h"

#include <string.h>

#include "base/error.h"

static const lhi_routine table[] = {
    {"MmProbeAndLockPages", LHI_ROLE_LOCK, NULL},
    {"MmProbeAndLockProcessPages", LHI_ROLE_LOCK, NULL},
    {"MmProbeAndLockSelectedPages", LHI_ROLE_LOCK, NULL},
    {"MmUnlockPages", LHI_ROLE_UNLOCK, NULL},
    {"IoAllocateMdl", LHI_ROLE_ALLOCATE, NULL},
    {"IoFreeMdl", LHI_ROLE_FREE, NULL},
    {"MmBuildMdlForNonPagedPool", LHI_ROLE_BUILD, NULL},
    {"IoBuildPartialMdl", LHI_ROLE_BUILD, NULL},
    {"MmPrepareMdlForReuse", LHI_ROLE_MAP, NULL},
    {"IoBuildDeviceIoControlRequest", LHI_ROLE_LOCK_FOR, NULL},
    {"IoBuildAsynchronousFsdRequest", LHI_ROLE_LOCK_FOR, NULL},
    {"IoBuildSynchronousFsdRequest", LHI_ROLE_LOCK_FOR, NULL},
    {"FltLockUserBuffer", LHI_ROLE_LOCK_FOR, "fltmgr.sys"},
    {"MmAllocatePagesForMdl", LHI_ROLE_PAGES, NULL},
    {"MmAllocatePagesForMdlEx", LHI_ROLE_PAGES, NULL},
    {"MmAllocateMdlForIoSpace", LHI_ROLE_PAGES, NULL},
    {"MmFreePagesFromMdl", LHI_ROLE_PAGES, NULL},
    {"IofCallDriver", LHI_ROLE_SEND, NULL},
    {"IoCallDriver", LHI_ROLE_SEND, NULL},
    {"PoCallDriver", LHI_ROLE_SEND, NULL},
    {"IofCompleteRequest", LHI_ROLE_COMPLETE, NULL},
    {"IoCompleteRequest", LHI_ROLE_COMPLETE, NULL},
    {"MmGetSystemRoutineAddress", LHI_ROLE_LOOK_UP, NULL},
    {"FltGetRoutineAddress", LHI_ROLE_LOOK_UP, "fltmgr.sys"},
    {"MmMapLockedPages", LHI_ROLE_MAP, NULL},
    {"MmMapLockedPagesSpecifyCache", LHI_ROLE_MAP, NULL},
    {"MmMapLockedPagesWithReservedMapping", LHI_ROLE_MAP, NULL},
    {"MmUnmapLockedPages", LHI_ROLE_MAP, NULL},
    {"MmUnmapReservedMapping", LHI_ROLE_MAP, NULL},
    {"MmProtectMdlSystemAddress", LHI_ROLE_MAP, NULL},
    {"MmAdvanceMdl", LHI_ROLE_MAP, NULL},
    {"MmSizeOfMdl", LHI_ROLE_HARMLESS, NULL},
    {"KeFlushIoBuffers", LHI_ROLE_MAP, NULL},
    {"ExAllocatePoolWithTag", LHI_ROLE_HARMLESS, NULL},
    {"ExAllocatePool2", LHI_ROLE_HARMLESS, NULL},
    {"ExAllocatePool3", LHI_ROLE_HARMLESS, NULL},
    {"ExFreePoolWithTag", LHI_ROLE_HARMLESS, NULL},
    {"ExFreePool", LHI_ROLE_HARMLESS, NULL},
    {"DbgPrint", LHI_ROLE_HARMLESS, NULL},
    {"DbgPrintEx", LHI_ROLE_HARMLESS, NULL},
    {"KeGetCurrentIrql", LHI_ROLE_HARMLESS, NULL},
    {"PsGetCurrentProcess", LHI_ROLE_HARMLESS, NULL},
    {"IoGetCurrentProcess", LHI_ROLE_HARMLESS, NULL},
    {"PsGetCurrentProcessId", LHI_ROLE_HARMLESS, NULL},
    {"PsGetCurrentThread", LHI_ROLE_HARMLESS, NULL},
    {"memcpy", LHI_ROLE_COPY, NULL},
    {"memmove", LHI_ROLE_COPY, NULL},
    {"memset", LHI_ROLE_HARMLESS, NULL},
    {"RtlCopyMemory", LHI_ROLE_COPY, NULL},
    {"KeBugCheck", LHI_ROLE_NO_RETURN, NULL},
    {"KeBugCheckEx", LHI_ROLE_NO_RETURN, NULL},
    {"ExRaiseStatus", LHI_ROLE_NO_RETURN, NULL},
    {"ExRaiseAccessViolation", LHI_ROLE_NO_RETURN, NULL},
    {"ExRaiseDatatypeMisalignment", LHI_ROLE_NO_RETURN, NULL},
};
#define TABLE_COUNT (sizeof table / sizeof table[0])

const char *lhi_role_name(lhi_role role)
{
    switch (role) {
    case LHI_ROLE_LOCK:
        return "lock";
    case LHI_ROLE_UNLOCK:
        return "unlock";
    case LHI_ROLE_ALLOCATE:
        return "allocate";
    case LHI_ROLE_FREE:
        return "free";
    case LHI_ROLE_BUILD:
        return "build";
    case LHI_ROLE_LOCK_FOR:
        return "lock_for";
    case LHI_ROLE_PAGES:
        return "pages";
    case LHI_ROLE_SEND:
        return "send";
    case LHI_ROLE_COMPLETE:
        return "complete";
    case LHI_ROLE_LOOK_UP:
        return "look_up";
    case LHI_ROLE_MAP:
    case LHI_ROLE_COPY:
    case LHI_ROLE_HARMLESS:
    case LHI_ROLE_NO_RETURN:
        break;
    }
    return NULL;
}

static bool put(lhi_routines *out, uint64_t address, size_t index)
{
    return address == 0 || lhi_map_put(&out->by_address, address, index);
}

/* Those of another module, by its exports. */
static lh_status find_of(const lh_kernel *kernel, const lhi_module *module, lhi_routines *out, lh_error *err)
{
    lhi_image image = {0};
    lhi_exports exports = {0};
    bool kept = true;

    if (lhi_image_open(&kernel->space, module->base, module->size, &image) != LH_PRESENT)
        return LH_OK;
    lh_status status = lhi_exports_read(&image, &exports, err);
    for (size_t i = 0; status == LH_OK && kept && i < TABLE_COUNT; i++)
        if (table[i].module != NULL && strcmp(table[i].module, module->name) == 0)
            kept = put(out, lhi_exports_address(&exports, table[i].name), i);
    lhi_exports_free(&exports);
    return kept ? status : lhi_fail_memory(err);
}

static bool has_module(const char *name)
{
    for (size_t i = 0; i < TABLE_COUNT; i++)
        if (table[i].module != NULL && strcmp(table[i].module, name) == 0)
            return true;
    return false;
}

lh_status lhi_routines_find(const lh_kernel *kernel, lhi_routines *out, lh_error *err)
{
    lh_status status = LH_OK;

    *out = (lhi_routines){.kernel = kernel};
    for (size_t i = 0; i < TABLE_COUNT; i++)
        if (table[i].module == NULL && !put(out, lhi_exports_address(&kernel->exports, table[i].name), i))
            return lhi_fail_memory(err);
    for (size_t i = 0; status == LH_OK && i < kernel->modules.loaded; i++)
        if (has_module(kernel->modules.items[i].name))
            status = find_of(kernel, &kernel->modules.items[i], out, err);
    return status;
}

const lhi_routine *lhi_routines_at(const lhi_routines *routines, uint64_t address)
{
    size_t index = lhi_map_get(&routines->by_address, address);

    return index == SIZE_MAX ? NULL : &table[index];
}

/* File names of the kernel in import tables. */
static bool is_same_dll(const char *dll, const char *module)
{
    size_t i = 0;

    if (module == NULL)
        return is_same_dll(dll, "ntoskrnl.exe") || is_same_dll(dll, "ntkrnlmp.exe");
    for (; dll[i] != 0 && module[i] != 0; i++) {
        char lower = dll[i] >= 'A' && dll[i] <= 'Z' ? (char)(dll[i] + ('a' - 'A')) : dll[i];
        if (lower != module[i])
            return false;
    }
    return dll[i] == module[i];
}

const lhi_routine *lhi_routine_named(const char *dll, const char *name)
{
    for (size_t i = 0; i < TABLE_COUNT; i++)
        if (strcmp(table[i].name, name) == 0 && is_same_dll(dll, table[i].module))
            return &table[i];
    return NULL;
}

size_t lhi_routine_index(const lhi_routine *routine)
{
    return (size_t)(routine - table);
}

const lhi_routine *lhi_routine_by_index(size_t index)
{
    return &table[index];
}

void lhi_routines_free(lhi_routines *routines)
{
    lhi_map_free(&routines->by_address);
}
