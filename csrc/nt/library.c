/* The table of library drivers, and how their clients are found. */
#include "nt/library.h"

#include <string.h>

#include "base/bytes.h"
#include "nt/read.h"

/* After Microsoft's documentation of each driver model (WDK), facts J.1 and L.11. A driver that is missing
 * here is judged like any other; one too many costs confidence and a name, never an innocent's. */
static const lhi_library libraries[] = {
    /* Frameworks: the client has a driver object of its own, and the framework dispatches for it. */
    {"wdf01000.sys", LHI_CLIENT_DEVICE | LHI_CLIENT_FRAMEWORK}, /* locks and sends for KMDF drivers */
    {"fltmgr.sys", 0},               /* locks buffers for minifilters (FltLockUserBuffer) */
    {"ndis.sys", LHI_CLIENT_DEVICE}, /* sends and completes requests for network drivers */
    {"netio.sys", 0},                /* moves buffers for network drivers and their clients */
    {"vmbkmcl.sys", 0},              /* locks buffers for the channels of virtual machine drivers */
    {"msrpc.sys", 0},                /* carries calls for kernel components */
    {"cng.sys", 0},                  /* works on buffers of those that encrypt */
    {"wmilib.sys", 0},               /* answers WMI requests for drivers */
    {"verifierext.sys", 0},          /* stands in for routines of the kernel while Driver Verifier is on */
    /* Port and class drivers: a miniport's driver object owns the device, the port dispatches. */
    {"ks.sys", LHI_CLIENT_DEVICE},       /* locks stream buffers for its minidrivers (KsProbeStreamIrp) */
    {"portcls.sys", LHI_CLIENT_DEVICE},  /* the port of audio adapters */
    {"stream.sys", LHI_CLIENT_DEVICE},   /* the port of old stream minidrivers */
    {"storport.sys", LHI_CLIENT_DEVICE}, /* the port of storage miniports */
    {"scsiport.sys", LHI_CLIENT_DEVICE}, /* the port of old storage miniports */
    {"classpnp.sys", LHI_CLIENT_DEVICE}, /* the class driver of disks, tapes and their kind */
    {"hidclass.sys", LHI_CLIENT_DEVICE}, /* the class driver of HID minidrivers */
    {"dxgkrnl.sys", LHI_CLIENT_DEVICE},  /* pins allocations for display miniports and programs */
    {"dxgmms1.sys", 0},                  /* pins allocations for display miniports and programs */
    {"dxgmms2.sys", 0},                  /* pins allocations for display miniports and programs */
    /* USB: host controllers and hubs carry the requests of the drivers above. */
    {"usbport.sys", LHI_CLIENT_DEVICE},  /* the port of USB host controllers */
    {"ucx01000.sys", LHI_CLIENT_DEVICE}, /* the framework's extension for USB host controllers */
    {"usbxhci.sys", 0},                  /* carries the transfers of the drivers of USB devices */
    {"usbd.sys", 0},                     /* helps drivers of USB devices */
    {"usbhub.sys", 0},                   /* carries the transfers of the drivers of USB devices */
    {"usbhub3.sys", 0},                  /* carries the transfers of the drivers of USB devices */
    {"usbccgp.sys", 0},                  /* splits a USB device among the drivers of its functions */
    {"winusb.sys", 0},                   /* carries the transfers of programs */
    /* Storage stack and file systems: what they hold is some program's or cache's request. */
    {"disk.sys", 0},     /* carries the requests of file systems */
    {"partmgr.sys", 0},  /* carries the requests of file systems */
    {"volmgr.sys", 0},   /* carries the requests of file systems */
    {"volsnap.sys", 0},  /* carries the requests of file systems */
    {"mountmgr.sys", 0}, /* answers requests about volumes */
    {"ntfs.sys", 0},     /* locks buffers of programs that read and write */
    {"refs.sys", 0},     /* locks buffers of programs that read and write */
    {"rdbss.sys", 0},    /* locks buffers for network file systems */
    {"mrxsmb.sys", 0},   /* locks buffers of programs that use network shares */
    {"mrxsmb20.sys", 0}, /* locks buffers of programs that use network shares */
    /* Networking: sockets of programs, and of drivers by WSK. */
    {"afd.sys", 0},   /* locks buffers of sockets */
    {"tcpip.sys", 0}, /* holds buffers until the network has them */
    {"http.sys", 0},  /* locks buffers of web servers */
    /* The rest. */
    {"pci.sys", 0}, /* passes requests of the drivers of PCI devices */
    {"vid.sys", 0}, /* pins memory of virtual machines */
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
                             lh_absence *why)
{
    uint8_t table[MAJORS * 8] = {0};
    uint64_t at = 0;
    *why = lhi_read(&kernel->space, driver + kernel->layout->offsets[LHI_F_DRIVER_OBJECT_MajorFunction],
                    table, sizeof table, &at);
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

/* A word of the image that points to the globals. *why: a page of it was not there. */
static bool points_to(const lh_kernel *kernel, const lhi_module *module, uint64_t globals, lh_absence *why)
{
    const uint64_t size = module->size < MOST_IMAGE ? module->size : MOST_IMAGE;
    for (uint64_t page = 0; page < size; page += LHI_PAGE_SIZE) {
        uint8_t bytes[LHI_PAGE_SIZE] = {0};
        lh_absence absence = lhi_space_get(&kernel->space, module->base + page, bytes, sizeof bytes);
        if (absence != LH_PRESENT && absence != LH_ABSENT_NOT_MAPPED)
            *why = absence;
        for (size_t i = 0; absence == LH_PRESENT && i < LHI_PAGE_SIZE; i += 8) {
            const uint64_t word = lhi_u64(bytes + i);
            if (word >= globals && word - globals < FX_GLOBALS_SIZE)
                return true;
        }
    }
    return false;
}

lhi_answer lhi_framework_client(const lh_kernel *kernel, const lhi_module *library, uint64_t object,
                                const lhi_module **client, lh_absence *why)
{
    uint8_t head[FX_HEAD] = {0};
    uint64_t at = 0;
    *why = LH_PRESENT;
    if (!lhi_is_object(object, 8))
        return LHI_NO;
    *why = lhi_read(&kernel->space, object, head, sizeof head, &at);
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
            continue;
        }
        if (!is_bound(kernel, &image) || !points_to(kernel, module, globals, why))
            continue;
        if (*client)
            return LHI_NO;
        *client = module;
    }
    if (*client)
        return LHI_YES;
    return *why == LH_PRESENT || *why == LH_ABSENT_LAYOUT ? LHI_NO : LHI_UNKNOWN;
}
