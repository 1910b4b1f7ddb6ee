/* What a bug check means, from its number and its parameters alone: names, variants, parameters.
 *
 * Sources: the numbers and names are those of the WDK's bugcodes.h and of Microsoft's public "Bug Check Code
 * Reference"; the parameters of 0x1A, 0x4E, 0x76, 0xC4, 0xCB, 0xCE, 0xD4, 0xD9, 0xE6 and 0x12E are those of
 * its pages, told here in our own words. 0x76 with 5, 6, 7 and 9 is not documented by Microsoft and the
 * meaning of the old 0xCB comes from the debugger's older help: facts A.1 and A.8. */
#include "nt/bugcheck.h"

#include <stddef.h>

#include "lockhound.h"

typedef struct name_row {
    uint32_t code;
    const char *name;
} name_row;

/* Ascending: looked up by halving. */
static const name_row names[] = {
    {0x01, "APC_INDEX_MISMATCH"},
    {0x05, "INVALID_PROCESS_ATTACH_ATTEMPT"},
    {0x09, "IRQL_NOT_GREATER_OR_EQUAL"},
    {0x0a, "IRQL_NOT_LESS_OR_EQUAL"},
    {0x12, "TRAP_CAUSE_UNKNOWN"},
    {0x18, "REFERENCE_BY_POINTER"},
    {0x19, "BAD_POOL_HEADER"},
    {0x1a, "MEMORY_MANAGEMENT"},
    {0x1b, "PFN_SHARE_COUNT"},
    {0x1c, "PFN_REFERENCE_COUNT"},
    {0x1e, "KMODE_EXCEPTION_NOT_HANDLED"},
    {0x20, "KERNEL_APC_PENDING_DURING_EXIT"},
    {0x21, "QUOTA_UNDERFLOW"},
    {0x23, "FAT_FILE_SYSTEM"},
    {0x24, "NTFS_FILE_SYSTEM"},
    {0x27, "RDR_FILE_SYSTEM"},
    {0x2a, "INCONSISTENT_IRP"},
    {0x2e, "DATA_BUS_ERROR"},
    {0x34, "CACHE_MANAGER"},
    {0x35, "NO_MORE_IRP_STACK_LOCATIONS"},
    {0x36, "DEVICE_REFERENCE_COUNT_NOT_ZERO"},
    {0x39, "SYSTEM_EXIT_OWNED_MUTEX"},
    {0x3b, "SYSTEM_SERVICE_EXCEPTION"},
    {0x3d, "INTERRUPT_EXCEPTION_NOT_HANDLED"},
    {0x3f, "NO_MORE_SYSTEM_PTES"},
    {0x40, "TARGET_MDL_TOO_SMALL"},
    {0x44, "MULTIPLE_IRP_COMPLETE_REQUESTS"},
    {0x48, "CANCEL_STATE_IN_COMPLETED_IRP"},
    {0x49, "PAGE_FAULT_WITH_INTERRUPTS_OFF"},
    {0x4a, "IRQL_GT_ZERO_AT_SYSTEM_SERVICE"},
    {0x4c, "FATAL_UNHANDLED_HARD_ERROR"},
    {0x4d, "NO_PAGES_AVAILABLE"},
    {0x4e, "PFN_LIST_CORRUPT"},
    {0x50, "PAGE_FAULT_IN_NONPAGED_AREA"},
    {0x51, "REGISTRY_ERROR"},
    {0x5a, "CRITICAL_SERVICE_FAILED"},
    {0x5c, "HAL_INITIALIZATION_FAILED"},
    {0x5d, "UNSUPPORTED_PROCESSOR"},
    {0x6b, "PROCESS1_INITIALIZATION_FAILED"},
    {0x74, "BAD_SYSTEM_CONFIG_INFO"},
    {0x76, "PROCESS_HAS_LOCKED_PAGES"},
    {0x77, "KERNEL_STACK_INPAGE_ERROR"},
    {0x7a, "KERNEL_DATA_INPAGE_ERROR"},
    {0x7b, "INACCESSIBLE_BOOT_DEVICE"},
    {0x7c, "BUGCODE_NDIS_DRIVER"},
    {0x7e, "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED"},
    {0x7f, "UNEXPECTED_KERNEL_MODE_TRAP"},
    {0x80, "NMI_HARDWARE_FAILURE"},
    {0x8e, "KERNEL_MODE_EXCEPTION_NOT_HANDLED"},
    {0x92, "UP_DRIVER_ON_MP_SYSTEM"},
    {0x93, "INVALID_KERNEL_HANDLE"},
    {0x94, "KERNEL_STACK_LOCKED_AT_EXIT"},
    {0x96, "INVALID_WORK_QUEUE_ITEM"},
    {0x9c, "MACHINE_CHECK_EXCEPTION"},
    {0x9e, "USER_MODE_HEALTH_MONITOR"},
    {0x9f, "DRIVER_POWER_STATE_FAILURE"},
    {0xa0, "INTERNAL_POWER_ERROR"},
    {0xa3, "ACPI_DRIVER_INTERNAL"},
    {0xa5, "ACPI_BIOS_ERROR"},
    {0xab, "SESSION_HAS_VALID_POOL_ON_EXIT"},
    {0xac, "HAL_MEMORY_ALLOCATION"},
    {0xb8, "ATTEMPTED_SWITCH_FROM_DPC"},
    {0xba, "SESSION_HAS_VALID_VIEWS_ON_EXIT"},
    {0xbe, "ATTEMPTED_WRITE_TO_READONLY_MEMORY"},
    {0xc1, "SPECIAL_POOL_DETECTED_MEMORY_CORRUPTION"},
    {0xc2, "BAD_POOL_CALLER"},
    {0xc4, "DRIVER_VERIFIER_DETECTED_VIOLATION"},
    {0xc5, "DRIVER_CORRUPTED_EXPOOL"},
    {0xc6, "DRIVER_CAUGHT_MODIFYING_FREED_POOL"},
    {0xc7, "TIMER_OR_DPC_INVALID"},
    {0xc8, "IRQL_UNEXPECTED_VALUE"},
    {0xc9, "DRIVER_VERIFIER_IOMANAGER_VIOLATION"},
    {0xca, "PNP_DETECTED_FATAL_ERROR"},
    {0xcb, "DRIVER_LEFT_LOCKED_PAGES_IN_PROCESS"},
    {0xcc, "PAGE_FAULT_IN_FREED_SPECIAL_POOL"},
    {0xcd, "PAGE_FAULT_BEYOND_END_OF_ALLOCATION"},
    {0xce, "DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS"},
    {0xcf, "TERMINAL_SERVER_DRIVER_MADE_INCORRECT_MEMORY_REFERENCE"},
    {0xd0, "DRIVER_CORRUPTED_MMPOOL"},
    {0xd1, "DRIVER_IRQL_NOT_LESS_OR_EQUAL"},
    {0xd2, "BUGCODE_ID_DRIVER"},
    {0xd3, "DRIVER_PORTION_MUST_BE_NONPAGED"},
    {0xd4, "SYSTEM_SCAN_AT_RAISED_IRQL_CAUGHT_IMPROPER_DRIVER_UNLOAD"},
    {0xd5, "DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL"},
    {0xd6, "DRIVER_PAGE_FAULT_BEYOND_END_OF_ALLOCATION"},
    {0xd7, "DRIVER_UNMAPPING_INVALID_VIEW"},
    {0xd8, "DRIVER_USED_EXCESSIVE_PTES"},
    {0xd9, "LOCKED_PAGES_TRACKER_CORRUPTION"},
    {0xda, "SYSTEM_PTE_MISUSE"},
    {0xdb, "DRIVER_CORRUPTED_SYSPTES"},
    {0xdc, "DRIVER_INVALID_STACK_ACCESS"},
    {0xde, "POOL_CORRUPTION_IN_FILE_AREA"},
    {0xe1, "WORKER_THREAD_RETURNED_AT_BAD_IRQL"},
    {0xe2, "MANUALLY_INITIATED_CRASH"},
    {0xe3, "RESOURCE_NOT_OWNED"},
    {0xe4, "WORKER_INVALID"},
    {0xe6, "DRIVER_VERIFIER_DMA_VIOLATION"},
    {0xea, "THREAD_STUCK_IN_DEVICE_DRIVER"},
    {0xed, "UNMOUNTABLE_BOOT_VOLUME"},
    {0xef, "CRITICAL_PROCESS_DIED"},
    {0xf1, "SCSI_VERIFIER_DETECTED_VIOLATION"},
    {0xf4, "CRITICAL_OBJECT_TERMINATION"},
    {0xf5, "FLTMGR_FILE_SYSTEM"},
    {0xf7, "DRIVER_OVERRAN_STACK_BUFFER"},
    {0xfc, "ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY"},
    {0xfe, "BUGCODE_USB_DRIVER"},
    {0x101, "CLOCK_WATCHDOG_TIMEOUT"},
    {0x108, "THIRD_PARTY_FILE_SYSTEM_FAILURE"},
    {0x109, "CRITICAL_STRUCTURE_CORRUPTION"},
    {0x10d, "WDF_VIOLATION"},
    {0x10e, "VIDEO_MEMORY_MANAGEMENT_INTERNAL"},
    {0x113, "VIDEO_DXGKRNL_FATAL_ERROR"},
    {0x116, "VIDEO_TDR_FAILURE"},
    {0x117, "VIDEO_TDR_TIMEOUT_DETECTED"},
    {0x119, "VIDEO_SCHEDULER_INTERNAL_ERROR"},
    {0x11b, "DRIVER_RETURNED_HOLDING_CANCEL_LOCK"},
    {0x121, "DRIVER_VIOLATION"},
    {0x124, "WHEA_UNCORRECTABLE_ERROR"},
    {0x127, "PAGE_NOT_ZERO"},
    {0x12b, "FAULTY_HARDWARE_CORRUPTED_PAGE"},
    {0x12e, "INVALID_MDL_RANGE"},
    {0x133, "DPC_WATCHDOG_VIOLATION"},
    {0x139, "KERNEL_SECURITY_CHECK_FAILURE"},
    {0x13a, "KERNEL_MODE_HEAP_CORRUPTION"},
    {0x141, "VIDEO_ENGINE_TIMEOUT_DETECTED"},
    {0x144, "BUGCODE_USB3_DRIVER"},
    {0x154, "UNEXPECTED_STORE_EXCEPTION"},
    {0x157, "KERNEL_THREAD_PRIORITY_FLOOR_VIOLATION"},
    {0x15f, "CONNECTED_STANDBY_WATCHDOG_TIMEOUT_LIVEDUMP"},
    {0x161, "LIVE_SYSTEM_DUMP"},
    {0x17e, "MICROCODE_REVISION_MISMATCH"},
    {0x18b, "SECURE_KERNEL_ERROR"},
    {0x192, "KERNEL_AUTO_BOOST_LOCK_ACQUISITION_WITH_RAISED_IRQL"},
    {0x1c8, "MANUALLY_INITIATED_POWER_BUTTON_HOLD"},
    {0x1ca, "SYNTHETIC_WATCHDOG_TIMEOUT"},
    {0x1d3, "VERIFIER_DRIVER_IRQL_VIOLATION"},
    /* Bit 28 marks the same stop taken on a smaller dump setting (the _M names of bugcodes.h). */
    {0x1000007e, "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED_M"},
    {0x1000007f, "UNEXPECTED_KERNEL_MODE_TRAP_M"},
    {0x1000008e, "KERNEL_MODE_EXCEPTION_NOT_HANDLED_M"},
    {0x100000ea, "THREAD_STUCK_IN_DEVICE_DRIVER_M"},
    {0xc000021a, "WINLOGON_FATAL_ERROR"},
    {0xdeaddead, "MANUALLY_INITIATED_CRASH1"},
};

/* One variant of a bug check. `selector`: what parameter 1 must be; ANY fits every value. Rows of one code
 * stand together, the special ones first. An empty meaning is NULL: unknown is not "reserved". */
#define ANY UINT64_MAX

typedef struct variant {
    uint32_t code;
    uint64_t selector;
    const char *subtype;
    const char *meaning[4];
} variant;

static const char mdl[] = "address of the MDL";
static const char mdl_flags[] = "MDL flags";
static const char irql[] = "current IRQL";
static const char subcode[] = "kind of violation";
static const char pfn[] = "page frame number";
static const char lock_header[] =
    "LockedPagesList of the process (LOCK_HEADER), 0 when locks were not tracked";
static const char tracker[] = "address of the LOCK_TRACKER";
static const char pages[] = "number of locked pages";
static const char verifier_data[] = "Driver Verifier's record of the adapter";
static const char adapter[] = "address of the DMA adapter";

/* About an MDL, and no source says which parameter it is. */
static const variant unplaced[] = {
    {0x1a, 0x61946, "a flawed MDL was being locked", {subcode, NULL, NULL, NULL}},
    {0xc4, 0xb5, "a wrong unmapping of an MDL", {subcode, NULL, NULL, NULL}},
    {0xc4, 0xb6, "a wrong unmapping of an MDL", {subcode, NULL, NULL, NULL}},
    {0xc4, 0xb9, "an MDL was used wrongly", {subcode, NULL, NULL, NULL}},
    {0xc4,
     0x140,
     "an MDL was built over memory that can be paged out, without locking it",
     {subcode, NULL, NULL, NULL}},
    {0xc4, 0x1010, "an MDL that must not change was changed", {subcode, NULL, NULL, NULL}},
    {0xc4, 0x1011, "an MDL that must not change was changed", {subcode, NULL, NULL, NULL}},
};

static const variant variants[] = {
    {0x1a, 0x403, "page table and page frame entry disagree", {subcode, "address of the PTE", NULL, NULL}},
    {0x1a, 0x411, "a page table entry is corrupt", {subcode, "address of the PTE", NULL, NULL}},
    {0x1a,
     0x1000,
     "a cached page was to be mapped uncached through an MDL that forbids failure",
     {subcode, NULL, NULL, NULL}},
    {0x1a, 0x1010, "unlock of a pageable section that is not locked", {subcode, NULL, NULL, NULL}},
    {0x1a, 0x1233, "a driver mapped a physical page that is not locked", {subcode, pfn, NULL, NULL}},
    {0x1a, 0x1234, "lock of a pageable section that does not exist", {subcode, NULL, NULL, NULL}},
    {0x1a, 0x1235, "protection of an MDL whose mapping is invalid", {subcode, mdl, NULL, NULL}},
    {0x1a,
     0x1236,
     "an MDL contains a page that is not locked or not valid",
     {subcode, mdl, "address of the page frame number inside the MDL", pfn}},
    {0x1a,
     0x1240,
     "an MDL was built over memory that is not resident",
     {subcode, mdl, "address of the PTE", NULL}},
    {0x1a,
     0x1241,
     "an MDL was built over memory that is not mapped",
     {subcode, mdl, "address of the PTE", NULL}},
    {0x1a,
     0x5200,
     "a page on a free list of the pool was written to",
     {subcode, "address of the free pool block", "value found", "value expected"}},
    {0x1a, 0x41284, "a PTE or the working set list is corrupt", {subcode, NULL, NULL, NULL}},
    {0x1a, 0x41790, "a page table page is corrupt", {subcode, "address of its page frame entry", NULL, NULL}},
    {0x1a,
     0x41792,
     "a corrupt page table entry was found",
     {subcode, "address of the PTE", "content of the PTE", NULL}},
    {0x1a, 0x61941, "the page table hierarchy is corrupt", {subcode, "virtual address", NULL, NULL}},
    {0x1a, ANY, NULL, {subcode, NULL, NULL, NULL}},

    {0x4e, 0x01, "a page list's head is corrupt", {subcode, "the list head", "pages available", NULL}},
    {0x4e,
     0x02,
     "a page list's entry is corrupt",
     {subcode, "entry being removed", "highest physical page", "reference count of the entry"}},
    {0x4e,
     0x07,
     "a page was unlocked more often than locked",
     {subcode, pfn, "share count of the page", NULL}},
    {0x4e, 0x8d, "the free page list is inconsistent", {subcode, pfn, NULL, NULL}},
    {0x4e,
     0x8f,
     "the head of the free or zeroed page list is corrupt",
     {subcode, "new page frame number", "old page frame number", NULL}},
    {0x4e, 0x99, "a PTE or page frame entry is corrupt", {subcode, pfn, "state of the page", NULL}},
    {0x4e,
     0x9a,
     "a page was freed while still locked for I/O",
     {subcode, pfn, "state of the page", "reference count of the page"}},
    {0x4e, ANY, NULL, {subcode, NULL, NULL, NULL}},

    {0x76,
     0x00,
     "pages still locked when the process object was deleted",
     {subcode, "address of the process object", pages, lock_header}},
    {0x76,
     0x01,
     "unlock of an MDL that the lock tracker does not know",
     {subcode, mdl, "number of pages the process has locked", lock_header}},
    {0x76,
     0x05,
     "the length of an MDL changed between lock and unlock (undocumented)",
     {subcode, mdl, tracker, "pages in the tracker (upper half) and pages of the MDL now (lower half)"}},
    {0x76,
     0x06,
     "the first page of an MDL changed between lock and unlock (undocumented)",
     {subcode, mdl, tracker, "first page in the tracker (upper half) and in the MDL now (lower half)"}},
    {0x76,
     0x07,
     "the pages of an MDL changed between lock and unlock (undocumented)",
     {subcode, mdl, tracker,
      "first page in the tracker (upper half) and hash of the pages now (lower half)"}},
    {0x76,
     0x09,
     "no tracker was found for an MDL whose pages were switched (undocumented)",
     {subcode, mdl, pages, lock_header}},
    {0x76, ANY, NULL, {subcode, NULL, NULL, NULL}},

    {0xc4, 0x6f, "a mapped page is not in the page frame database", {subcode, NULL, NULL, NULL}},
    {0xc4, 0x70, "MmProbeAndLockPages at too high an IRQL", {subcode, irql, mdl, "access mode"}},
    {0xc4,
     0x71,
     "MmProbeAndLockProcessPages at too high an IRQL",
     {subcode, irql, mdl, "address of the process object"}},
    {0xc4,
     0x72,
     "MmProbeAndLockSelectedPages at too high an IRQL",
     {subcode, irql, mdl, "address of the process object"}},
    {0xc4, 0x74, "MmMapLockedPages (kernel mode) at too high an IRQL", {subcode, irql, mdl, "access mode"}},
    {0xc4, 0x75, "MmMapLockedPages (user mode) at too high an IRQL", {subcode, irql, mdl, "access mode"}},
    {0xc4,
     0x76,
     "MmMapLockedPagesSpecifyCache (kernel mode) at too high an IRQL",
     {subcode, irql, mdl, "access mode"}},
    {0xc4,
     0x77,
     "MmMapLockedPagesSpecifyCache (user mode) at too high an IRQL",
     {subcode, irql, mdl, "access mode"}},
    {0xc4, 0x78, "MmUnlockPages at too high an IRQL", {subcode, irql, mdl, NULL}},
    {0xc4,
     0x79,
     "MmUnmapLockedPages (kernel mode) at too high an IRQL",
     {subcode, irql, "virtual address being unmapped", mdl}},
    {0xc4,
     0x7a,
     "MmUnmapLockedPages (user mode) at too high an IRQL",
     {subcode, irql, "virtual address being unmapped", mdl}},
    {0xc4, 0x7c, "unlock of an MDL that was never locked", {subcode, mdl, mdl_flags, NULL}},
    {0xc4, 0x7d, "unlock of an MDL of non-paged pool", {subcode, mdl, mdl_flags, NULL}},
    {0xc4, 0x7f, "an MDL for non-paged pool was built over paged pool", {subcode, irql, mdl, mdl_flags}},
    {0xc4, 0x81, "use of MmMapLockedPages, which can't fail", {subcode, mdl, mdl_flags, NULL}},
    {0xc4,
     0x82,
     "use of MmMapLockedPagesSpecifyCache with a bug check on failure",
     {subcode, mdl, mdl_flags, NULL}},
    {0xc4,
     0x83,
     "MmMapIoSpace over pages that are not locked",
     {subcode, "physical address", "number of bytes", pfn}},
    {0xc4,
     0x85,
     "MmMapLockedPages of an MDL that is not locked",
     {subcode, mdl, "number of pages", "first page that is not locked"}},
    {0xc4,
     0x89,
     "an MDL not marked as I/O space contains a page that is not memory",
     {subcode, mdl, "address of the page frame number inside the MDL", pfn}},
    {0xc4, 0xb0, "MmProbeAndLockPages with wrong MDL flags", {subcode, mdl, mdl_flags, "the wrong flags"}},
    {0xc4,
     0xb1,
     "MmProbeAndLockProcessPages with wrong MDL flags",
     {subcode, mdl, mdl_flags, "the wrong flags"}},
    {0xc4, 0xb2, "MmMapLockedPages with wrong MDL flags", {subcode, mdl, mdl_flags, "the wrong flags"}},
    {0xc4,
     0xb3,
     "MmMapLockedPages without the MDL flags it needs",
     {subcode, mdl, mdl_flags, "flags of which one is needed"}},
    {0xc4, 0xb4, "unlock of a partial MDL", {subcode, mdl, mdl_flags, "the partial flag"}},
    {0xc4, 0xb8, "an MDL was freed while its pages are mapped", {subcode, mdl, mdl_flags, NULL}},
    {0xc4, ANY, NULL, {subcode, NULL, NULL, NULL}},

    {0xce,
     ANY,
     "a driver was unloaded while something was still to call it",
     {"memory referenced", "0 read, 1 write", "address that referenced the memory", NULL}},

    {0xd4,
     ANY,
     "a driver was unloaded improperly and used at raised IRQL",
     {"memory referenced", "IRQL at the time of reference", "0 read, 1 write",
      "address that referenced the memory"}},

    {0xd9,
     0x01,
     "the MDL is already in the process's lock tracker",
     {subcode, "address of the tracker that is already there", mdl, "trackers of this process"}},
    {0xd9,
     0x02,
     "the MDL is already in the system's lock tracker",
     {subcode, tracker, mdl, "number of trackers"}},
    {0xd9,
     0x03,
     "an MDL was found twice at its unlock",
     {subcode, "address of the first tracker", tracker, mdl}},
    {0xd9, 0x04, "an MDL was still tracked after its removal", {subcode, tracker, mdl, NULL}},
    {0xd9, ANY, NULL, {subcode, NULL, NULL, NULL}},

    {0xe6, 0x03, "common buffers were freed too often", {subcode, "extra buffers freed", NULL, NULL}},
    {0xe6, 0x04, "adapter channels were freed too often", {subcode, "extra channels freed", NULL, NULL}},
    {0xe6, 0x05, "map registers were freed too often", {subcode, "extra map registers freed", NULL, NULL}},
    {0xe6,
     0x06,
     "scatter/gather lists were freed too often",
     {subcode, "lists allocated", "lists freed", NULL}},
    {0xe6,
     0x07,
     "an adapter was released with common buffers outstanding",
     {subcode, adapter, "common buffers outstanding", verifier_data}},
    {0xe6,
     0x08,
     "an adapter was released with channels outstanding",
     {subcode, adapter, "channels outstanding", verifier_data}},
    {0xe6,
     0x09,
     "an adapter was released with map registers outstanding",
     {subcode, adapter, "map registers outstanding", verifier_data}},
    {0xe6,
     0x0a,
     "an adapter was released with scatter/gather lists outstanding",
     {subcode, adapter, "lists outstanding", verifier_data}},
    {0xe6, 0x0e, "a DMA transfer without locking the buffer", {subcode, mdl, NULL, NULL}},
    {0xe6, 0x0f, "memory around a DMA buffer was overwritten", {subcode, "kind of overwrite", NULL, NULL}},
    {0xe6,
     0x10,
     "map registers were freed while still mapped",
     {subcode, "registers still mapped", NULL, NULL}},
    {0xe6, 0x18, "DMA through an adapter that was released", {subcode, adapter, verifier_data, NULL}},
    {0xe6, 0x1b, "an address outside the MDL it came with", {subcode, "virtual address", mdl, NULL}},
    {0xe6,
     0x1d,
     "a range was mapped that is mapped already",
     {subcode, "begin of the buffer", "end of the buffer", "address that is mapped already"}},
    {0xe6,
     0x20,
     "a map register was flushed that is not mapped",
     {subcode, "map register base", "begin of the buffer", mdl}},
    {0xe6, 0x22, "a DMA buffer without a system address", {subcode, mdl, NULL, NULL}},
    {0xe6, 0x23, "a channel was flushed before its transfer ended", {subcode, NULL, "controller", "channel"}},
    {0xe6, 0x24, "a buffer too small for the transfer", {subcode, "bytes without a buffer", NULL, NULL}},
    {0xe6,
     0x26,
     "the IOMMU stopped a device",
     {subcode, "device object", "fault information, usually the physical address", "kind of fault"}},
    {0xe6, ANY, NULL, {subcode, NULL, NULL, NULL}},

    {0x12e,
     ANY,
     "a partial MDL was to be built outside its source",
     {"address of the source MDL", "address of the target MDL", "virtual address", "length in bytes"}},

    {0x161, ANY, "a dump of a running system: nothing crashed", {NULL, NULL, NULL, NULL}},
};

/* 0x1F of 0xE6: where the MDL stands depends on parameter 2. */
static const variant dma_bounds[] = {
    {0xe6, 0x01, "a DMA buffer begins before its first MDL", {subcode, subcode, "begin of the buffer", mdl}},
    {0xe6, 0x02, "a DMA buffer begins after its first MDL", {subcode, subcode, "begin of the buffer", mdl}},
    {0xe6, 0x03, "a transfer longer than its MDL", {subcode, subcode, mdl, "length of the transfer"}},
    {0xe6, 0x04, "a DMA buffer is not cache aligned", {subcode, subcode, "begin of the buffer", mdl}},
    {0xe6,
     0x05,
     "a DMA buffer's length is not cache aligned",
     {subcode, subcode, "length of the buffer", mdl}},
    {0xe6, ANY, "a DMA buffer outside its MDL", {subcode, subcode, NULL, NULL}},
};

/* 0xCB: parameter 1 is a tracker on newer kernels, which set parameter 2 to 0; on older ones two addresses in
 * drivers (facts C.4). */
static const variant left_locked_new = {
    0xcb,
    ANY,
    "pages still locked at the end of the process, with lock tracking on",
    {tracker, "0: parameter 1 is a LOCK_TRACKER", mdl, pages},
};
static const variant left_locked_old = {
    0xcb,
    ANY,
    "pages still locked at the end of the process, with lock tracking on (older form)",
    {"address in the driver that locked, or dispatch routine of the top driver",
     "its caller, or device object of the top driver", mdl, pages},
};

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static const variant *pick(const variant *rows, size_t count, uint32_t code, uint64_t selector)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].code == code && (rows[i].selector == selector || rows[i].selector == ANY))
            return &rows[i];
    }
    return NULL;
}

static const variant *find_variant(uint32_t code, const uint64_t parameters[4])
{
    if (code == 0xcb)
        return parameters[1] == 0 ? &left_locked_new : &left_locked_old;
    if (code == 0xe6 && parameters[0] == 0x1f)
        return pick(dma_bounds, COUNT(dma_bounds), code, parameters[1]);
    const variant *found = pick(unplaced, COUNT(unplaced), code, parameters[0]);
    return found ? found : pick(variants, COUNT(variants), code, parameters[0]);
}

const char *lh_bugcheck_name(uint32_t code)
{
    size_t low = 0;
    size_t high = COUNT(names);

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (names[middle].code == code)
            return names[middle].name;
        if (names[middle].code < code)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const char *lh_bugcheck_subtype(uint32_t code, const uint64_t parameters[4])
{
    const variant *found = parameters ? find_variant(code, parameters) : NULL;

    return found ? found->subtype : NULL;
}

const char *lh_bugcheck_meaning(uint32_t code, const uint64_t parameters[4], uint32_t index)
{
    const variant *found = parameters && index < 4 ? find_variant(code, parameters) : NULL;

    return found ? found->meaning[index] : NULL;
}

/* Meanings stand once each, so that their address tells what a parameter is. */
static int parameter_with(const char *meaning, uint32_t code, const uint64_t parameters[4])
{
    const variant *found = find_variant(code, parameters);
    for (int i = 0; found && i < 4; i++)
        if (found->meaning[i] == meaning)
            return i;
    return -1;
}

int lhi_bugcheck_mdl(uint32_t code, const uint64_t parameters[4])
{
    return parameter_with(mdl, code, parameters);
}

int lhi_bugcheck_frame(uint32_t code, const uint64_t parameters[4])
{
    return parameter_with(pfn, code, parameters);
}

bool lhi_bugcheck_about_mdl(uint32_t code, const uint64_t parameters[4])
{
    return pick(unplaced, COUNT(unplaced), code, parameters[0]) != NULL;
}
