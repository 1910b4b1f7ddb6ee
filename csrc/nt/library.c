/* The table of library drivers, and how their clients are found. */
#include "nt/library.h"

#include <string.h>

#include "base/bytes.h"
#include "nt/read.h"

/* After Microsoft's documentation of each driver model (WDK), facts J.1 and L.11. A driver that is missing
 * here is judged like any other; one too many costs confidence and a name, never an innocent's. */
static const lhi_library libraries[] = {
    /* Frameworks: the client has a driver object of its own, and the framework dispatches for it. */
    {"wdf01000.sys", "is the framework that locks and sends requests for KMDF drivers",
     LHI_CLIENT_DEVICE | LHI_CLIENT_FRAMEWORK | LHI_CLIENT_STACK},
    {"fltmgr.sys", "locks buffers for minifilters (FltLockUserBuffer)", LHI_CLIENT_STACK},
    {"ndis.sys", "sends and completes requests for network drivers", LHI_CLIENT_DEVICE | LHI_CLIENT_STACK},
    {"netio.sys", "moves buffers for network drivers and their clients", LHI_CLIENT_STACK},
    {"vmbkmcl.sys", "locks buffers for the channels of virtual machine drivers", LHI_CLIENT_STACK},
    {"msrpc.sys", "carries calls for kernel components", LHI_CLIENT_STACK},
    {"cng.sys", "works on buffers of those that encrypt", LHI_CLIENT_STACK},
    {"wmilib.sys", "answers WMI requests for drivers", LHI_CLIENT_STACK},
    {"verifierext.sys", "stands in for routines of the kernel while Driver Verifier is on", LHI_CLIENT_STACK},
    /* Port and class drivers: a miniport's driver object owns the device, the port dispatches. */
    {"ks.sys", "probes and locks stream buffers for its minidrivers (KsProbeStreamIrp)",
     LHI_CLIENT_DEVICE | LHI_CLIENT_STACK},
    {"portcls.sys", "is the port of audio adapters", LHI_CLIENT_DEVICE | LHI_CLIENT_STACK},
    {"stream.sys", "is the port of old stream minidrivers", LHI_CLIENT_DEVICE | LHI_CLIENT_STACK},
    {"storport.sys", "is the port of storage miniports", LHI_CLIENT_DEVICE | LHI_CLIENT_STACK},
    {"scsiport.sys", "is the port of old storage miniports", LHI_CLIENT_DEVICE | LHI_CLIENT_STACK},
    {"classpnp.sys", "is the class driver of disks, tapes and their kind",
     LHI_CLIENT_DEVICE | LHI_CLIENT_STACK},
    {"hidclass.sys", "is the class driver of HID minidrivers", LHI_CLIENT_DEVICE | LHI_CLIENT_STACK},
    {"dxgkrnl.sys", "pins allocations for display miniports and programs",
     LHI_CLIENT_DEVICE | LHI_CLIENT_STACK},
    {"dxgmms1.sys", "pins allocations for display miniports and programs", LHI_CLIENT_STACK},
    {"dxgmms2.sys", "pins allocations for display miniports and programs", LHI_CLIENT_STACK},
    /* USB: host controllers and hubs carry the requests of the drivers above. */
    {"usbport.sys", "is the port of USB host controllers", LHI_CLIENT_DEVICE},
    {"ucx01000.sys", "is the framework's extension for USB host controllers", LHI_CLIENT_DEVICE},
    {"usbxhci.sys", "carries the transfers of the drivers of USB devices", 0},
    {"usbd.sys", "helps drivers of USB devices", LHI_CLIENT_STACK},
    {"usbhub.sys", "carries the transfers of the drivers of USB devices", 0},
    {"usbhub3.sys", "carries the transfers of the drivers of USB devices", 0},
    {"usbccgp.sys", "splits a USB device among the drivers of its functions", 0},
    {"winusb.sys", "carries the transfers of programs", 0},
    /* Storage stack and file systems: what they hold is some program's or cache's request. */
    {"disk.sys", "carries the requests of file systems", 0},
    {"partmgr.sys", "carries the requests of file systems", 0},
    {"volmgr.sys", "carries the requests of file systems", 0},
    {"volsnap.sys", "carries the requests of file systems", 0},
    {"mountmgr.sys", "answers requests about volumes", 0},
    {"ntfs.sys", "locks buffers of programs that read and write", 0},
    {"refs.sys", "locks buffers of programs that read and write", 0},
    {"rdbss.sys", "locks buffers for network file systems", LHI_CLIENT_STACK},
    {"mrxsmb.sys", "locks buffers of programs that use network shares", 0},
    {"mrxsmb20.sys", "locks buffers of programs that use network shares", 0},
    /* Networking: sockets of programs, and of drivers by WSK. */
    {"afd.sys", "locks buffers of sockets", LHI_CLIENT_STACK},
    {"tcpip.sys", "holds buffers until the network has them", LHI_CLIENT_STACK},
    {"http.sys", "locks buffers of web servers", 0},
    /* The rest. */
    {"pci.sys", "passes requests of the drivers of PCI devices", 0},
    {"vid.sys", "pins memory of virtual machines", 0},
};

const lhi_library *lhi_library_find(const char *file)
{
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++)
        if (strcmp(file, libraries[i].file) == 0)
            return &libraries[i];
    return NULL;
}

static bool inside(const lhi_module *module, uint64_t va)
{
    return va >= module->base && va - module->base < module->size;
}

#define MAJORS 28u /* IRP_MJ_MAXIMUM_FUNCTION + 1, wdm.h */

lhi_answer lhi_serves_device(const lh_kernel *kernel, const lhi_module *library, uint64_t driver,
                             lh_absence *why, uint64_t *at)
{
    uint8_t table[MAJORS * 8] = {0};
    *why = lhi_read(&kernel->space, driver + kernel->layout->offsets[LHI_F_DRIVER_OBJECT_MajorFunction],
                    table, sizeof table, at);
    if (*why != LH_PRESENT)
        return LHI_UNKNOWN;
    for (size_t i = 0; i < MAJORS; i++)
        if (inside(library, lhi_u64(table + 8 * i)))
            return LHI_YES;
    return LHI_NO;
}

/* FxObject of KMDF (Microsoft's open source; facts L.5): a table of routines in the framework, type, size,
 * references, and the globals of its client. */
enum { FX_GLOBALS = 0x10, FX_HEAD = 0x18 };
#define FX_GLOBALS_SIZE 0x1000u /* more than the client's globals have in any version */
#define MOST_IMAGE      0x800000u

/* A client of KMDF is bound through wdfldr.sys. */
static bool is_bound(const lh_kernel *kernel, const lhi_image *image)
{
    const lhi_directory table = image->directories[12]; /* IMAGE_DIRECTORY_ENTRY_IAT, PE format */
    const uint32_t slots = table.size / 8 < 4096 ? table.size / 8 : 4096;
    for (uint32_t i = 0; i < slots; i++) {
        uint64_t target = 0;
        if (lhi_space_u64(&kernel->space, image->base + table.rva + 8ull * i, &target) != LH_PRESENT)
            continue;
        const lhi_module *module = target ? lhi_module_at(&kernel->modules, target) : NULL;
        if (module && strcmp(module->name, "wdfldr.sys") == 0)
            return true;
    }
    return false;
}

/* A word of the image that points to the globals. *missing: a page of it was not there. */
static bool points_to(const lh_kernel *kernel, const lhi_module *module, uint64_t globals, uint64_t *missing,
                      lh_absence *why)
{
    const uint64_t size = module->size < MOST_IMAGE ? module->size : MOST_IMAGE;
    for (uint64_t page = 0; page < size; page += LHI_PAGE_SIZE) {
        uint8_t bytes[LHI_PAGE_SIZE] = {0};
        lh_absence absence = lhi_space_get(&kernel->space, module->base + page, bytes, sizeof bytes);
        if (absence != LH_PRESENT && absence != LH_ABSENT_NOT_MAPPED) {
            *missing = module->base + page;
            *why = absence;
        }
        for (size_t i = 0; absence == LH_PRESENT && i < LHI_PAGE_SIZE; i += 8) {
            const uint64_t word = lhi_u64(bytes + i);
            if (word >= globals && word - globals < FX_GLOBALS_SIZE)
                return true;
        }
    }
    return false;
}

lhi_answer lhi_framework_client(const lh_kernel *kernel, const lhi_module *library, uint64_t object,
                                const lhi_module **client, lh_absence *why, uint64_t *at)
{
    uint8_t head[FX_HEAD] = {0};
    *why = LH_PRESENT;
    if (!lhi_is_object(object, 8))
        return LHI_NO;
    *why = lhi_read(&kernel->space, object, head, sizeof head, at);
    if (*why != LH_PRESENT)
        return LHI_UNKNOWN;
    const uint64_t globals = lhi_u64(head + FX_GLOBALS);
    if (!inside(library, lhi_u64(head)) || !lhi_is_object(globals, 8))
        return LHI_NO;
    *client = NULL;
    for (size_t i = 0; i < kernel->modules.loaded; i++) {
        const lhi_module *module = &kernel->modules.items[i];
        lhi_image image = {0};
        if (module->base == library->base || lhi_library_find(module->name))
            continue;
        lh_absence absence = lhi_image_open(&kernel->space, module->base, module->size, &image);
        if (absence != LH_PRESENT) {
            *why = absence; /* it could be the one */
            *at = module->base;
            continue;
        }
        if (!is_bound(kernel, &image) || !points_to(kernel, module, globals, at, why))
            continue;
        if (*client)
            return LHI_NO;
        *client = module;
    }
    if (*client)
        return LHI_YES;
    return *why == LH_PRESENT || *why == LH_ABSENT_LAYOUT ? LHI_NO : LHI_UNKNOWN;
}
