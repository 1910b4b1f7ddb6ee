/* The table of library drivers, and how their clients are found. */
#include "nt/library.h"

#include <string.h>

#include "base/bytes.h"
#include "nt/read.h"

enum {
    DEVICE = LHI_CLIENT_DEVICE,
    FRAMEWORK = LHI_CLIENT_FRAMEWORK,
    STACK = LHI_CLIENT_STACK,
    LOCKS = LHI_CLIENT_LOCKS
};

/* After Microsoft's documentation of each driver model (WDK), facts J.1 and L.11. A driver that is missing
 * here is judged like any other; one too many costs confidence and a name, never an innocent's. */
static const lhi_library libraries[] = {
    /* Frameworks: the client has a driver object of its own, and the framework dispatches for it. */
    {"wdf01000.sys", DEVICE | FRAMEWORK | STACK | LOCKS}, /* locks and sends for KMDF drivers */
    {"fltmgr.sys", STACK | LOCKS},  /* locks buffers for minifilters (FltLockUserBuffer) */
    {"ndis.sys", DEVICE | STACK},   /* sends and completes requests for network drivers */
    {"netio.sys", STACK},           /* moves buffers for network drivers and their clients */
    {"vmbkmcl.sys", STACK | LOCKS}, /* locks buffers for the channels of virtual machine drivers */
    {"msrpc.sys", STACK},           /* carries calls for kernel components */
    {"cng.sys", STACK},             /* works on buffers of those that encrypt */
    {"wmilib.sys", STACK},          /* answers WMI requests for drivers */
    {"verifierext.sys", STACK},     /* stands in for routines of the kernel while Driver Verifier is on */
    /* Port and class drivers: a miniport's driver object owns the device, the port dispatches. */
    {"ks.sys", DEVICE | STACK | LOCKS},      /* locks stream buffers for its minidrivers (KsProbeStreamIrp) */
    {"portcls.sys", DEVICE | STACK},         /* the port of audio adapters */
    {"stream.sys", DEVICE | STACK},          /* the port of old stream minidrivers */
    {"storport.sys", DEVICE | STACK},        /* the port of storage miniports */
    {"scsiport.sys", DEVICE | STACK},        /* the port of old storage miniports */
    {"classpnp.sys", DEVICE | STACK},        /* the class driver of disks, tapes and their kind */
    {"hidclass.sys", DEVICE | STACK},        /* the class driver of HID minidrivers */
    {"dxgkrnl.sys", DEVICE | STACK | LOCKS}, /* pins allocations for display miniports and programs */
    {"dxgmms1.sys", STACK | LOCKS},          /* pins allocations for display miniports and programs */
    {"dxgmms2.sys", STACK | LOCKS},          /* pins allocations for display miniports and programs */
    /* USB: host controllers and hubs carry the requests of the drivers above. */
    {"usbport.sys", DEVICE},  /* the port of USB host controllers */
    {"ucx01000.sys", DEVICE}, /* the framework's extension for USB host controllers */
    {"usbxhci.sys", 0},       /* carries the transfers of the drivers of USB devices */
    {"usbd.sys", STACK},      /* helps drivers of USB devices */
    {"usbhub.sys", 0},        /* carries the transfers of the drivers of USB devices */
    {"usbhub3.sys", 0},       /* carries the transfers of the drivers of USB devices */
    {"usbccgp.sys", 0},       /* splits a USB device among the drivers of its functions */
    {"winusb.sys", 0},        /* carries the transfers of programs */
    /* Storage stack and file systems: what they hold is some program's or cache's request. */
    {"disk.sys", 0},              /* carries the requests of file systems */
    {"partmgr.sys", 0},           /* carries the requests of file systems */
    {"volmgr.sys", 0},            /* carries the requests of file systems */
    {"volsnap.sys", 0},           /* carries the requests of file systems */
    {"mountmgr.sys", 0},          /* answers requests about volumes */
    {"ntfs.sys", 0},              /* locks buffers of programs that read and write */
    {"refs.sys", 0},              /* locks buffers of programs that read and write */
    {"rdbss.sys", STACK | LOCKS}, /* locks buffers for network file systems */
    {"mrxsmb.sys", 0},            /* locks buffers of programs that use network shares */
    {"mrxsmb20.sys", 0},          /* locks buffers of programs that use network shares */
    /* Networking: sockets of programs, and of drivers by WSK. */
    {"afd.sys", STACK | LOCKS}, /* locks buffers of sockets */
    {"tcpip.sys", STACK},       /* holds buffers until the network has them */
    {"http.sys", 0},            /* locks buffers of web servers */
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
