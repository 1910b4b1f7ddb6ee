/* The object around an address: devices, drivers, processes, threads, files, packets and MDLs.
 *
 * A type number in memory proves nothing: each object is believed only when another one agrees with it. */
#include "base/bytes.h"
#include "nt/device.h"
#include "nt/identify.h"
#include "nt/irp.h"
#include "nt/mdl.h"
#include "nt/memory.h"
#include "nt/process.h"
#include "nt/read.h"
#include "nt/text.h"
#include "nt/witness.h"

#include <stdio.h>
#include <string.h>

#define REACH        0x10000u /* DEVICE_OBJECT.Size has 16 bits, IRP.Size too */
#define MOST_TRIES   64u      /* candidates looked at closely for one address */
#define MARGIN       0x2000ull /* at both ends of the kernel half: no object lies there, and sums do not wrap */
#define TYPE_DEVICE  3u        /* IO_TYPE_*, WDK wdm.h */
#define TYPE_DRIVER  4u
#define TYPE_FILE    5u
#define TYPE_PROCESS 3u /* DISPATCHER_HEADER.Type */
#define TYPE_THREAD  6u
/* DRIVER_OBJECT, and FILE_OBJECT from Vista on, on every x64 build (facts B.4). */
#define DRIVER_SIZE 0x150u
#define FILE_SIZE   0xd8u
#define STEP        16u /* pool blocks, and with them objects, lie on multiples of it */
/* OBJECT_HEADER and OBJECT_HEADER_NAME_INFO in front of a body, public PDB types, Windows 7 and later. */
#define HEADER_SIZE    0x30u
#define HEADER_MASK    0x1au /* InfoMask: bit 0 creator information, bit 1 name information */
#define CREATOR_SIZE   0x20u
#define NAME_INFO_SIZE 0x20u
#define NAME_INFO_NAME 0x8u
#define MOST_PARENTS   8u
/* DRIVER_EXTENSION.ClientDriverExtension; IO_CLIENT_EXTENSION: NextExtension, then the client's key. */
#define CLIENT_HEAD  0x28u
#define CLIENT_KEY   0x8u
#define MOST_CLIENTS 256u

typedef struct lhi_seek {
    const lh_kernel *kernel;
    uint64_t va, lowest;
    unsigned tries;
    lh_identity found;
} lhi_seek;

/* ------------------------------------------------------------------ names */

/* The name information in front of a body: name and directory. */
static bool name_info(const lh_kernel *kernel, uint64_t object, char *name, size_t size, uint64_t *directory)
{
    const lhi_space *space = &kernel->space;
    uint8_t mask = 0;
    uint64_t at = 0;
    if (!lhi_is_object(object, 8) || object - LHI_KERNEL_HALF < MARGIN ||
        lhi_read(space, object - HEADER_SIZE + HEADER_MASK, &mask, 1, &at) != LH_PRESENT || !(mask & 2))
        return false;
    uint64_t info = object - HEADER_SIZE - ((mask & 1) ? CREATOR_SIZE : 0) - NAME_INFO_SIZE;
    return lhi_read_u64(space, info, directory, &at) == LH_PRESENT &&
           lhi_text_unicode_string(space, info + NAME_INFO_NAME, false, name, size, &at) == LH_PRESENT;
}

void lhi_object_name(const lh_kernel *kernel, uint64_t object, char *out, size_t size)
{
    char path[512] = "";
    uint64_t directory = 0;
    char name[128] = "";
    out[0] = 0;
    if (!name_info(kernel, object, name, sizeof name, &directory) || !name[0])
        return;
    lhi_text_copy(name, path, sizeof path);
    for (unsigned i = 0; i < MOST_PARENTS && directory != 0; i++) {
        char longer[sizeof path + sizeof name + 2];
        uint64_t parent = 0;
        if (!name_info(kernel, directory, name, sizeof name, &parent))
            break;
        bool root = strcmp(name, "\\\\") == 0; /* one backslash, escaped */
        (void)snprintf(longer, sizeof longer, "%s\\\\%s", root ? "" : name, path);
        lhi_text_copy(longer, path, sizeof path);
        if (root)
            break;
        directory = parent;
    }
    lhi_text_copy(path, out, size);
}

static void name_driver(const lh_kernel *kernel, uint64_t address, lh_identity *out)
{
    lhi_driver driver = {0};
    lhi_driver_read(kernel, address, &driver);
    out->owner = address;
    lhi_text_copy(driver.absence == LH_PRESENT ? driver.name : driver.object_name, out->owner_name,
                  sizeof out->owner_name);
}

/* ------------------------------------------------------------------ containers */

static bool spans(lhi_seek *seek, lh_place place, uint64_t base, uint64_t size)
{
    if (seek->va < base || seek->va - base >= size)
        return false;
    seek->found.place = place;
    seek->found.base = base;
    seek->found.size = size;
    seek->found.offset = seek->va - base;
    return true;
}

/* The size of an object by the layout, else by the debugger block; where neither tells, its first byte alone.
 */
static uint64_t size_or(const lh_kernel *kernel, lhi_size_of which, uint32_t stated)
{
    uint32_t size = kernel->layout->sizes[which];
    return size ? size : stated ? stated : 1;
}

static bool is_device(lhi_seek *seek, uint64_t at)
{
    lhi_device device = {0};
    lhi_device_read(seek->kernel, at, &device);
    if (device.absence != LH_PRESENT || device.listed != LHI_YES ||
        !spans(seek, LH_PLACE_DEVICE, at, device.size))
        return false;
    uint64_t extension = device.extension;
    if (extension > at && extension - at < device.size && seek->va >= extension)
        (void)spans(seek, LH_PLACE_DEVICE_EXTENSION, extension, device.size - (extension - at));
    name_driver(seek->kernel, device.driver, &seek->found);
    lhi_object_name(seek->kernel, at, seek->found.name, sizeof seek->found.name);
    return true;
}

static bool is_driver(lhi_seek *seek, uint64_t at)
{
    const lh_kernel *kernel = seek->kernel;
    const uint16_t *offsets = kernel->layout->offsets;
    uint64_t extension = 0, back = 0, ignored = 0;
    if (lhi_read_u64(&kernel->space, at + offsets[LHI_F_DRIVER_OBJECT_DriverExtension], &extension,
                     &ignored) != LH_PRESENT ||
        !lhi_is_object(extension, 8) ||
        lhi_read_u64(&kernel->space, extension + offsets[LHI_F_DRIVER_EXTENSION_DriverObject], &back,
                     &ignored) != LH_PRESENT ||
        back != at)
        return false;
    if (!spans(seek, LH_PLACE_DRIVER, at, DRIVER_SIZE) &&
        !spans(seek, LH_PLACE_DRIVER_EXTENSION, extension,
               size_or(kernel, LHI_SIZE_DRIVER_EXTENSION, CLIENT_HEAD + 8)))
        return false;
    name_driver(kernel, at, &seek->found);
    return true;
}

bool lhi_client_extensions(const lh_kernel *kernel, uint64_t driver, uint64_t *first)
{
    uint64_t extension = 0, at = 0;
    return lhi_read_u64(&kernel->space, driver + kernel->layout->offsets[LHI_F_DRIVER_OBJECT_DriverExtension],
                        &extension, &at) == LH_PRESENT &&
           lhi_is_object(extension, 8) &&
           lhi_read_u64(&kernel->space, extension + CLIENT_HEAD, first, &at) == LH_PRESENT;
}

bool lhi_client_extension(const lh_kernel *kernel, uint64_t body, uint64_t *driver)
{
    uint64_t key = 0, at = 0, client = 0;
    uint16_t type = 0;
    if (lhi_read_u64(&kernel->space, body + CLIENT_KEY, &key, &at) != LH_PRESENT || !lhi_is_object(key, 8) ||
        lhi_space_u16(&kernel->space, key, &type) != LH_PRESENT || type != TYPE_DRIVER ||
        !lhi_client_extensions(kernel, key, &client))
        return false;
    for (unsigned i = 0; i < MOST_CLIENTS && lhi_is_object(client, 8); i++) {
        if (client == body) {
            *driver = key;
            return true;
        }
        if (lhi_read_u64(&kernel->space, client, &client, &at) != LH_PRESENT)
            return false;
    }
    return false;
}

static bool is_process(lhi_seek *seek, uint64_t at)
{
    lh_process process = {0};
    lh_error ignored = {0};
    if (lhi_looks_like_process(seek->kernel, at) <= 0 ||
        lhi_process_read(seek->kernel, at, &process, &ignored) != LH_OK ||
        !spans(seek, LH_PLACE_PROCESS, at,
               size_or(seek->kernel, LHI_SIZE_EPROCESS, seek->kernel->kdbg.offsets.process_size)))
        return false;
    lhi_text_copy(process.name, seek->found.name, sizeof seek->found.name);
    return true;
}

static void name_process(const lh_kernel *kernel, uint64_t address, lh_identity *out)
{
    lh_process process = {0};
    lh_error ignored = {0};
    out->owner = address;
    if (lhi_process_read(kernel, address, &process, &ignored) == LH_OK)
        lhi_text_copy(process.name, out->owner_name, sizeof out->owner_name);
}

static bool is_thread(lhi_seek *seek, uint64_t at)
{
    lhi_thread_info thread = {0};
    lhi_kernel_stack stack = {0};
    uint64_t ignored = 0;
    lhi_thread_read(seek->kernel, at, &thread);
    if (thread.absence != LH_PRESENT || !thread.is_thread ||
        lhi_looks_like_process(seek->kernel, thread.process) <= 0 ||
        lhi_stack_bounds(seek->kernel, at, &stack, &ignored) != LH_PRESENT ||
        !spans(seek, LH_PLACE_THREAD, at,
               size_or(seek->kernel, LHI_SIZE_ETHREAD, seek->kernel->kdbg.offsets.thread_size)))
        return false;
    name_process(seek->kernel, thread.process, &seek->found);
    return true;
}

static bool container_at(lhi_seek *seek, uint64_t at, const uint8_t *head)
{
    uint16_t type = lhi_u16(head), size = lhi_u16(head + 2);
    if (type == TYPE_DEVICE && size > seek->va - at && is_device(seek, at))
        return true;
    if (type == TYPE_DRIVER && size == DRIVER_SIZE)
        return is_driver(seek, at);
    if (head[0] == TYPE_PROCESS)
        return is_process(seek, at);
    return head[0] == TYPE_THREAD && is_thread(seek, at);
}

/* ------------------------------------------------------------------ what stands alone */

static bool is_file(lhi_seek *seek, uint64_t at)
{
    lhi_file file = {0};
    lhi_device device = {0};
    lhi_file_read(seek->kernel, at, &file);
    if (file.absence != LH_PRESENT)
        return false;
    lhi_device_read(seek->kernel, file.device, &device);
    if (device.absence != LH_PRESENT || !spans(seek, LH_PLACE_FILE, at, FILE_SIZE))
        return false;
    name_driver(seek->kernel, device.driver, &seek->found);
    seek->found.owner = file.device;
    return true;
}

static bool is_packet(lhi_seek *seek, uint64_t at)
{
    lhi_irp irp;
    lhi_irp_read(seek->kernel, at, 0, NULL, &irp);
    return (irp.state == LHI_IRP_PENDING || irp.state == LHI_IRP_RETURNED ||
            irp.state == LHI_IRP_COMPLETED) &&
           spans(seek, LH_PLACE_IRP, at, irp.size);
}

static bool is_mdl(lhi_seek *seek, uint64_t at)
{
    uint64_t budget = LHI_PAGE_SIZE;
    lhi_mdl mdl = {0};
    lhi_mdl_read(seek->kernel, at, 0, &budget, &mdl);
    if (mdl.klass == LHI_MDL_NOT_ONE || mdl.klass == LHI_MDL_UNREADABLE)
        return false;
    /* One that was unlocked has few marks left: the process that it still names is a further one. */
    if (mdl.klass == LHI_MDL_STALE && lhi_looks_like_process(seek->kernel, mdl.process) <= 0)
        return false;
    if (!spans(seek, LH_PLACE_MDL, at, LHI_MDL_HEADER + 8 * mdl.pages))
        return false;
    if (lhi_looks_like_process(seek->kernel, mdl.process) > 0)
        name_process(seek->kernel, mdl.process, &seek->found);
    return true;
}

static bool alone_at(lhi_seek *seek, uint64_t at, const uint8_t *head)
{
    uint16_t type = lhi_u16(head), size = lhi_u16(head + 2);
    if (type == TYPE_FILE && size == FILE_SIZE)
        return is_file(seek, at);
    return type == LHI_IRP_TYPE && size > seek->va - at && is_packet(seek, at);
}

/* ------------------------------------------------------------------ the way back */

/* Asks at each multiple of 16 at and in front of the address, nearest first, as far as the pages are there.
 */
static bool look_back(lhi_seek *seek, bool (*ask)(lhi_seek *, uint64_t, const uint8_t *))
{
    uint8_t page[LHI_PAGE_SIZE] = {0};
    uint64_t end = (seek->va & ~(uint64_t)(STEP - 1)) + STEP; /* 0 at the very top */
    seek->tries = 0;
    while (end - 1 >= seek->lowest) {
        uint64_t begin = (end - 1) & ~(uint64_t)(LHI_PAGE_SIZE - 1);
        uint64_t ignored = 0;
        if (lhi_read(&seek->kernel->space, begin, page, (size_t)(end - begin), &ignored) != LH_PRESENT)
            return false;
        for (uint64_t at = end; at > begin && at - STEP >= seek->lowest;) {
            at -= STEP;
            const uint8_t *head = page + (at - begin);
            if (head[0] < TYPE_DEVICE || head[0] > LHI_IRP_TYPE)
                continue;
            if (ask(seek, at, head))
                return true;
            if (++seek->tries == MOST_TRIES)
                return false;
        }
        end = begin;
    }
    return false;
}

static bool mdl_around(lhi_seek *seek)
{
    lhi_pool_block block = {0};
    for (uint64_t back = 0; back < LHI_MDL_HEADER; back += 8)
        if (is_mdl(seek, (seek->va & ~7ull) - back))
            return true;
    lhi_pool_block_at(seek->kernel, seek->va, &block);
    return block.found && block.state != LHI_POOL_FREE && is_mdl(seek, block.body);
}

uint64_t lhi_object_lowest(uint64_t va)
{
    return va - LHI_KERNEL_HALF > REACH ? va - REACH : LHI_KERNEL_HALF;
}

bool lhi_object_around(const lh_kernel *kernel, uint64_t va, uint64_t lowest, lh_identity *out)
{
    lhi_seek seek = {.kernel = kernel, .va = va, .lowest = lowest, .found = *out};
    lhi_pool_block block = {0};
    if (va - LHI_KERNEL_HALF < MARGIN || va > UINT64_MAX - MARGIN)
        return false;
    bool found = look_back(&seek, container_at);
    if (!found) {
        uint64_t driver = 0;
        lhi_pool_block_at(kernel, va, &block);
        found = block.found && lhi_client_extension(kernel, block.body, &driver) &&
                spans(&seek, LH_PLACE_DRIVER_EXTENSION, block.body, block.size);
        if (found)
            name_driver(kernel, driver, &seek.found);
    }
    if (found || look_back(&seek, alone_at) || mdl_around(&seek)) {
        *out = seek.found;
        return true;
    }
    return false;
}
