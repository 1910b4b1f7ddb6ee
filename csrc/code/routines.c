/* The table of routines, each with what it does to an MDL, after the documentation of the WDK. */
#include "code/routines.h"

#include <string.h>

#include "base/error.h"
#include "nt/framework.h"

static const lhi_routine table[] = {
    {.name = "MmProbeAndLockPages", .role = LHI_ROLE_LOCK, .source = "WDK, wdm.h"},
    {.name = "MmProbeAndLockProcessPages", .role = LHI_ROLE_LOCK, .source = "WDK, ntddk.h"},
    {.name = "MmProbeAndLockSelectedPages", .role = LHI_ROLE_LOCK, .source = "WDK, wdm.h"},
    {.name = "MmUnlockPages", .role = LHI_ROLE_UNLOCK},
    {.name = "IoAllocateMdl", .role = LHI_ROLE_ALLOCATE},
    {.name = "IoFreeMdl", .role = LHI_ROLE_FREE},
    {.name = "MmBuildMdlForNonPagedPool", .role = LHI_ROLE_BUILD},
    {.name = "IoBuildPartialMdl", .role = LHI_ROLE_BUILD},
    {.name = "MmPrepareMdlForReuse", .role = LHI_ROLE_MAP},
    {.name = "IoBuildDeviceIoControlRequest",
     .role = LHI_ROLE_LOCK_FOR,
     .source = "WDK, wdm.h: the output buffer of METHOD_IN_DIRECT and METHOD_OUT_DIRECT"},
    {.name = "IoBuildAsynchronousFsdRequest",
     .role = LHI_ROLE_LOCK_FOR,
     .source = "WDK, wdm.h: where the device does direct I/O"},
    {.name = "IoBuildSynchronousFsdRequest",
     .role = LHI_ROLE_LOCK_FOR,
     .source = "WDK, wdm.h: where the device does direct I/O"},
    /* Libraries: the packet that they lock for has the MDL afterwards, and its completion unlocks. */
    {.name = "FltLockUserBuffer",
     .role = LHI_ROLE_LOCK_FOR,
     .module = "fltmgr.sys",
     .source = "WDK, fltkernel.h"},
    {.name = "KsProbeStreamIrp",
     .role = LHI_ROLE_LOCK_FOR,
     .module = "ks.sys",
     .source = "WDK, ks.h: KSPROBE_PROBEANDLOCK"},
    {.name = "VideoPortLockBuffer",
     .role = LHI_ROLE_LOCK_FOR,
     .module = "videoprt.sys",
     .source = "WDK, video.h: VideoPortUnlockBuffer unlocks"},
    {.name = "MmAllocatePagesForMdl", .role = LHI_ROLE_PAGES},
    {.name = "MmAllocatePagesForMdlEx", .role = LHI_ROLE_PAGES},
    {.name = "MmAllocateMdlForIoSpace", .role = LHI_ROLE_PAGES},
    {.name = "MmFreePagesFromMdl", .role = LHI_ROLE_PAGES},
    {.name = "IofCallDriver", .role = LHI_ROLE_SEND},
    {.name = "IoCallDriver", .role = LHI_ROLE_SEND},
    {.name = "PoCallDriver", .role = LHI_ROLE_SEND},
    {.name = "IofCompleteRequest", .role = LHI_ROLE_COMPLETE},
    {.name = "IoCompleteRequest", .role = LHI_ROLE_COMPLETE},
    {.name = "MmGetSystemRoutineAddress", .role = LHI_ROLE_LOOK_UP},
    {.name = "FltGetRoutineAddress", .role = LHI_ROLE_LOOK_UP, .module = "fltmgr.sys"},
    {.name = "MmMapLockedPages", .role = LHI_ROLE_MAP},
    {.name = "MmMapLockedPagesSpecifyCache", .role = LHI_ROLE_MAP},
    {.name = "MmMapLockedPagesWithReservedMapping", .role = LHI_ROLE_MAP},
    {.name = "MmUnmapLockedPages", .role = LHI_ROLE_MAP},
    {.name = "MmUnmapReservedMapping", .role = LHI_ROLE_MAP},
    {.name = "MmProtectMdlSystemAddress", .role = LHI_ROLE_MAP},
    {.name = "MmAdvanceMdl", .role = LHI_ROLE_MAP},
    {.name = "MmSizeOfMdl", .role = LHI_ROLE_HARMLESS},
    {.name = "KeFlushIoBuffers", .role = LHI_ROLE_MAP},
    {.name = "ExAllocatePoolWithTag", .role = LHI_ROLE_HARMLESS},
    {.name = "ExAllocatePool2", .role = LHI_ROLE_HARMLESS},
    {.name = "ExAllocatePool3", .role = LHI_ROLE_HARMLESS},
    {.name = "ExFreePoolWithTag", .role = LHI_ROLE_HARMLESS},
    {.name = "ExFreePool", .role = LHI_ROLE_HARMLESS},
    {.name = "DbgPrint", .role = LHI_ROLE_HARMLESS},
    {.name = "DbgPrintEx", .role = LHI_ROLE_HARMLESS},
    {.name = "KeGetCurrentIrql", .role = LHI_ROLE_HARMLESS},
    {.name = "PsGetCurrentProcess", .role = LHI_ROLE_HARMLESS},
    {.name = "IoGetCurrentProcess", .role = LHI_ROLE_HARMLESS},
    {.name = "PsGetCurrentProcessId", .role = LHI_ROLE_HARMLESS},
    {.name = "PsGetCurrentThread", .role = LHI_ROLE_HARMLESS},
    {.name = "memcpy", .role = LHI_ROLE_COPY},
    {.name = "memmove", .role = LHI_ROLE_COPY},
    {.name = "memset", .role = LHI_ROLE_COPY},
    {.name = "RtlCopyMemory", .role = LHI_ROLE_COPY},
    {.name = "KeBugCheck", .role = LHI_ROLE_NO_RETURN},
    {.name = "KeBugCheckEx", .role = LHI_ROLE_NO_RETURN},
    {.name = "ExRaiseStatus", .role = LHI_ROLE_NO_RETURN},
    {.name = "ExRaiseAccessViolation", .role = LHI_ROLE_NO_RETURN},
    {.name = "ExRaiseDatatypeMisalignment", .role = LHI_ROLE_NO_RETURN},
    /* KMDF's routines by their places in its table (wdffuncenum.h), after Microsoft's open source of the
     * framework. It unlocks what it locked when the request is completed, formatted anew or deleted. */
    {.name = "WdfRequestProbeAndLockUserBufferForRead",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 278,
     .source = "fxrequestkm.cpp: until the request is completed"},
    {.name = "WdfRequestProbeAndLockUserBufferForWrite",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 279,
     .source = "fxrequestkm.cpp: until the request is completed"},
    {.name = "WdfIoTargetSendReadSynchronously",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 182,
     .source = "fxiotargetkm.cpp: where the target does direct I/O"},
    {.name = "WdfIoTargetFormatRequestForRead",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 183,
     .source = "fxiotargetkm.cpp: where the target does direct I/O"},
    {.name = "WdfIoTargetSendWriteSynchronously",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 184,
     .source = "fxiotargetkm.cpp: where the target does direct I/O"},
    {.name = "WdfIoTargetFormatRequestForWrite",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 185,
     .source = "fxiotargetkm.cpp: where the target does direct I/O"},
    {.name = "WdfIoTargetSendIoctlSynchronously",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 186,
     .source = "fxiotargetkm.cpp: where the target does direct I/O"},
    {.name = "WdfIoTargetFormatRequestForIoctl",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 187,
     .source = "fxiotargetkm.cpp: where the target does direct I/O"},
    {.name = "WdfIoTargetSendInternalIoctlSynchronously",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 188,
     .source = "fxiotargetkm.cpp: where the target does direct I/O"},
    {.name = "WdfIoTargetFormatRequestForInternalIoctl",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 189,
     .source = "fxiotargetkm.cpp: where the target does direct I/O"},
    {.name = "WdfUsbTargetDeviceSendControlTransferSynchronously",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 333,
     .source = "fxusbdevicekm.cpp: where there is a buffer"},
    {.name = "WdfUsbTargetDeviceFormatRequestForControlTransfer",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 334,
     .source = "fxusbdevicekm.cpp: where there is a buffer"},
    {.name = "WdfUsbTargetPipeWriteSynchronously",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 346,
     .source = "fxusbpipekm.cpp: where there is a buffer"},
    {.name = "WdfUsbTargetPipeFormatRequestForWrite",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 347,
     .source = "fxusbpipekm.cpp: where there is a buffer"},
    {.name = "WdfUsbTargetPipeReadSynchronously",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 348,
     .source = "fxusbpipekm.cpp: where there is a buffer"},
    {.name = "WdfUsbTargetPipeFormatRequestForRead",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 349,
     .source = "fxusbpipekm.cpp: where there is a buffer"},
    {.name = "WdfUsbTargetPipeConfigContinuousReader",
     .role = LHI_ROLE_LOCK_FOR,
     .module = LHI_FRAMEWORK,
     .entry = 350,
     .source = "fxusbpipekm.cpp: where there is a buffer"},
    {.name = "WdfRequestRetrieveInputWdmMdl", .role = LHI_ROLE_LEND, .module = LHI_FRAMEWORK, .entry = 271},
    {.name = "WdfRequestRetrieveOutputWdmMdl", .role = LHI_ROLE_LEND, .module = LHI_FRAMEWORK, .entry = 272},
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
    case LHI_ROLE_LEND:
        return "lend";
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

/* Of another module than the kernel. */
static bool is_exported_by(const lhi_routine *routine, const char *module)
{
    return routine->module != NULL && routine->entry == 0 && strcmp(routine->module, module) == 0;
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
        if (is_exported_by(&table[i], module->name))
            kept = put(out, lhi_exports_address(&exports, table[i].name), i);
    lhi_exports_free(&exports);
    return kept ? status : lhi_fail_memory(err);
}

static bool has_module(const char *name)
{
    for (size_t i = 0; i < TABLE_COUNT; i++)
        if (is_exported_by(&table[i], name))
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

/* By an import table's name for its file; NULL: the kernel's. */
static bool is_of(const char *dll, const char *module)
{
    if (module == NULL)
        return lhi_import_is_of(dll, "ntoskrnl.exe") || lhi_import_is_of(dll, "ntkrnlmp.exe");
    return lhi_import_is_of(dll, module);
}

const lhi_routine *lhi_routine_named(const char *dll, const char *name)
{
    for (size_t i = 0; i < TABLE_COUNT; i++)
        if (table[i].entry == 0 && strcmp(table[i].name, name) == 0 && is_of(dll, table[i].module))
            return &table[i];
    return NULL;
}

const lhi_routine *lhi_routine_of_framework(uint64_t entry)
{
    for (size_t i = 0; i < TABLE_COUNT; i++)
        if (table[i].entry != 0 && table[i].entry == entry)
            return &table[i];
    return NULL;
}

size_t lhi_routine_names(lhi_role role, const char **out, size_t most)
{
    size_t count = 0;

    for (size_t i = 0; i < TABLE_COUNT && count < most; i++)
        if (table[i].module == NULL && table[i].role == role)
            out[count++] = table[i].name;
    return count;
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
