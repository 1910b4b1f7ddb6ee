/* Reads device, driver and file objects and finds the file a driver was loaded from. */
#include "nt/device.h"

#include "base/bytes.h"
#include "nt/library.h"
#include "nt/read.h"
#include "nt/text.h"

#include <string.h>

/* IO_TYPE_* of wdm.h */
#define TYPE_DEVICE 3
#define TYPE_DRIVER 4
#define TYPE_FILE   5
#define MAX_DEVICES 4096 /* of one driver followed; more can't be told from a loop */

static lh_absence head(const lh_kernel *kernel, uint64_t address, lhi_field type_field, uint16_t type,
                       uint64_t *at)
{
    uint16_t found = 0;
    *at = address;
    if (!lhi_is_kernel(address) || address % 8 != 0)
        return LH_ABSENT_LAYOUT;
    lh_absence absence = lhi_space_u16(&kernel->space, address + kernel->layout->offsets[type_field], &found);
    if (absence != LH_PRESENT)
        return absence;
    return found == type ? LH_PRESENT : LH_ABSENT_LAYOUT;
}

static lh_absence field(const lh_kernel *kernel, uint64_t base, lhi_field name, uint64_t *out, uint64_t *at)
{
    *at = base + kernel->layout->offsets[name];
    return lhi_space_u64(&kernel->space, *at, out);
}

static bool claimed_twice(const lh_kernel *kernel, const lhi_module *module)
{
    for (size_t i = 0; i < kernel->modules.loaded; i++) {
        const lhi_module *other = &kernel->modules.items[i];
        if (other->base == module->base && other->entry != module->entry)
            return true;
    }
    return false;
}

/* The entry point that a module's record has is elsewhere than the image at its base: outside of it, or not
 * where its header says. 0: the record has none. Records before Windows 10 have no time stamp, and still
 * this. */
static bool enters_elsewhere(const lh_kernel *kernel, const lhi_module *module, const lhi_image *image)
{
    uint64_t entry = 0, at = 0;
    if (lhi_read_field(&kernel->space, kernel->layout, module->entry, LHI_F_KLDR_DATA_TABLE_ENTRY_EntryPoint,
                       8, &entry, &at) != LH_PRESENT ||
        entry == 0)
        return false;
    if (entry < module->base || entry - module->base >= module->size)
        return true;
    return image && image->entry != 0 && entry - module->base != image->entry;
}

/* What a module's record says of itself must agree: the two names, the entry point, and the time stamp of the
 * image. *absence and *at tell where the second name is not there to agree. */
static const char *contradiction(const lh_kernel *kernel, const lhi_module *module, lh_absence *absence,
                                 uint64_t *at)
{
    char path[512];
    lhi_image image = {0};
    if (strstr(module->name, "\\u0000"))
        return "its name is no file name";
    if (module->unloaded || module->entry == 0)
        return NULL;
    if (claimed_twice(kernel, module))
        return "two module records claim the same image";
    uint64_t full = module->entry + kernel->layout->offsets[LHI_F_KLDR_DATA_TABLE_ENTRY_FullDllName];
    *absence = lhi_text_unicode_string(&kernel->space, full, true, path, sizeof path, at);
    if (*absence == LH_PRESENT && path[0] && strlen(path) + 8 < sizeof path &&
        strcmp(lhi_text_base_name(path), module->name) != 0)
        return "the two names of its module record differ";
    bool open = lhi_image_open(&kernel->space, module->base, module->size, &image) == LH_PRESENT;
    if (enters_elsewhere(kernel, module, open ? &image : NULL) ||
        (open && module->timestamp != 0 && image.timestamp != 0 && image.timestamp != module->timestamp))
        return "its module record and the image at its base are of different files";
    return NULL;
}

static void doubt(lhi_driver *driver, const char *why)
{
    driver->doubt = why;
    driver->absence = LH_ABSENT_LAYOUT;
    driver->absent_at = driver->module.entry;
}

static void take_module(const lh_kernel *kernel, lhi_driver *driver, const lhi_module *module,
                        lhi_name_basis basis)
{
    driver->has_module = true;
    driver->module = *module;
    driver->start = module->base;
    driver->size = module->size;
    if (module->name_absence == LH_PRESENT && module->name[0] != '\0') {
        memcpy(driver->name, module->name, sizeof driver->name);
        driver->basis = basis;
        driver->absence = LH_PRESENT;
    } else {
        driver->absence = module->name_absence == LH_PRESENT ? LH_ABSENT_LAYOUT : module->name_absence;
        driver->absent_at = module->name_address;
    }
    /* NT's image need not be there to be known: the debugger block has its base too. */
    driver->is_kernel =
        !module->unloaded && (lhi_is_nt(kernel, module) || module->base == kernel->kdbg.kernel_base);
    if (driver->absence != LH_PRESENT || driver->is_kernel)
        return;
    lh_absence absence = LH_PRESENT;
    uint64_t at = 0;
    const char *why = contradiction(kernel, module, &absence, &at);
    if (why) {
        doubt(driver, why);
    } else if (absence == LH_ABSENT_NOT_CAPTURED || absence == LH_ABSENT_CLIPPED ||
               absence == LH_ABSENT_TABLE || absence == LH_ABSENT_NOT_RAM) {
        /* One string that damage leads astray would name a stranger: the other has to be seen. */
        driver->absence = absence;
        driver->absent_at = at;
    }
}

static lhi_module_sources sources_of(const lh_kernel *kernel)
{
    return (lhi_module_sources){.space = &kernel->space,
                                .layout = kernel->layout,
                                .list_head = kernel->modules.list_head,
                                .unloaded_drivers = kernel->kdbg.unloaded_drivers,
                                .last_unloaded = kernel->kdbg.last_unloaded};
}

/* A driver object without an image (IoCreateDriver): the module that all its dispatch routines lie in. */
static bool dispatch_module(const lh_kernel *kernel, uint64_t address, lhi_driver *driver)
{
    const lhi_module *only = NULL;
    for (unsigned i = 0; i < 28; i++) { /* IRP_MJ_MAXIMUM_FUNCTION + 1 */
        uint64_t routine = 0;
        if (lhi_space_u64(&kernel->space,
                          address + kernel->layout->offsets[LHI_F_DRIVER_OBJECT_MajorFunction] + 8ull * i,
                          &routine) != LH_PRESENT)
            return false;
        const lhi_module *module = lhi_module_at(&kernel->modules, routine);
        if (only && lhi_is_nt(kernel, module)) /* IopInvalidDeviceRequest fills the entries a driver leaves */
            continue;
        if (!module || (only && only != module && !lhi_is_nt(kernel, only)))
            return false;
        only = module;
    }
    if (only)
        take_module(kernel, driver, only, LHI_NAME_MODULE);
    return only != NULL;
}

/* DriverSize is the length of the range; a driver object that has none says nothing. */
static bool other_size(const lhi_driver *driver, const lhi_module *module)
{
    return driver->size != 0 && ((driver->size + 0xfff) & ~0xfffull) != module->size;
}

void lhi_driver_read(const lh_kernel *kernel, uint64_t address, lhi_driver *out)
{
    lhi_driver driver = {.address = address};
    uint64_t section = 0;
    driver.absence = head(kernel, address, LHI_F_DRIVER_OBJECT_Type, TYPE_DRIVER, &driver.absent_at);
    if (driver.absence == LH_PRESENT)
        driver.absence =
            field(kernel, address, LHI_F_DRIVER_OBJECT_DriverStart, &driver.start, &driver.absent_at);
    if (driver.absence == LH_PRESENT)
        driver.absence =
            field(kernel, address, LHI_F_DRIVER_OBJECT_DriverSection, &section, &driver.absent_at);
    if (driver.absence != LH_PRESENT)
        goto done;
    driver.object_known = true;
    uint32_t size = 0;
    if (lhi_space_u32(&kernel->space, address + kernel->layout->offsets[LHI_F_DRIVER_OBJECT_DriverSize],
                      &size) == LH_PRESENT)
        driver.size = size;
    uint64_t ignored = 0;
    char path[256];
    if (lhi_text_unicode_string(&kernel->space,
                                address + kernel->layout->offsets[LHI_F_DRIVER_OBJECT_DriverName], false,
                                path, sizeof path, &ignored) == LH_PRESENT) {
        const char *base = lhi_text_base_name(path);
        size_t length = strlen(base);
        if (length >= sizeof driver.object_name)
            length = sizeof driver.object_name - 1;
        memcpy(driver.object_name, base, length);
        driver.object_name[length] = '\0';
    }
    driver.absence = LH_ABSENT_LAYOUT;
    driver.absent_at = address;
    if (driver.start == 0) {
        if (!dispatch_module(kernel, address, &driver) && driver.object_name[0]) {
            memcpy(driver.name, driver.object_name, sizeof driver.name);
            driver.basis = LHI_NAME_OBJECT;
            driver.absence = LH_PRESENT;
        }
        goto done;
    }
    const lhi_module *module = lhi_module_at(&kernel->modules, driver.start);
    bool at_start = module && module->base == driver.start;
    if (at_start) {
        take_module(kernel, &driver, module, LHI_NAME_MODULE);
        lhi_module entry = {0};
        lhi_module_sources sources = sources_of(kernel);
        /* DriverSection is a second witness where it can be read. */
        if (driver.absence == LH_PRESENT && lhi_is_kernel(section) && section != module->entry &&
            lhi_module_from_entry(&sources, section, &entry) == LH_PRESENT && entry.base != driver.start)
            doubt(&driver, "DriverStart and DriverSection lead to different modules");
        if (driver.absence == LH_PRESENT || driver.doubt)
            goto done;
    }
    if (lhi_is_kernel(section)) {
        lhi_module entry = {0};
        lhi_module_sources sources = sources_of(kernel);
        lh_absence absence = lhi_module_from_entry(&sources, section, &entry);
        if (absence == LH_PRESENT && entry.base != driver.start) {
            driver.doubt = "DriverStart and DriverSection lead to different modules";
            goto done;
        }
        if (absence == LH_PRESENT) {
            take_module(kernel, &driver, &entry, LHI_NAME_SECTION);
            goto done;
        }
        if (absence != LH_PRESENT && absence != LH_ABSENT_LAYOUT) {
            driver.absence = absence;
            driver.absent_at = section;
            goto done; /* the file's name is known to exist, and is not captured */
        }
    }
    if (driver.has_module)
        goto done;
    module = lhi_module_unloaded_at(&kernel->modules, driver.start);
    if (module && module->base == driver.start &&
        (lhi_module_range_shared(&kernel->modules, module) || other_size(&driver, module))) {
        driver.doubt = "another driver was loaded where its image was";
    } else if (module && module->base == driver.start) {
        uint64_t ignored_physical = 0;
        lh_absence mapped = lhi_space_translate(&kernel->space, driver.start, &ignored_physical);
        if (mapped == LH_ABSENT_NOT_MAPPED) {
            take_module(kernel, &driver, module, LHI_NAME_UNLOADED);
        } else if (mapped == LH_ABSENT_TABLE) { /* whether anything is there now can't be seen */
            driver.absence = mapped;
            driver.absent_at = driver.start;
        } else {
            driver.doubt = "something is mapped where its unloaded image was";
        }
        goto done;
    }
    if (!kernel->modules.complete) {
        driver.absence = kernel->modules.absence;
        driver.absent_at = kernel->modules.absent_at;
        goto done;
    }
    if (driver.object_name[0]) {
        memcpy(driver.name, driver.object_name, sizeof driver.name);
        driver.basis = LHI_NAME_OBJECT;
        driver.absence = LH_PRESENT;
    }
done:
    *out = driver;
}

void lhi_driver_from_code(const lh_kernel *kernel, uint64_t code, lhi_driver *out)
{
    lhi_driver driver = {.absence = LH_ABSENT_LAYOUT, .absent_at = code};
    const lhi_module *module = lhi_is_kernel(code) ? lhi_module_at(&kernel->modules, code) : NULL;
    lhi_image image = {0};
    if (module) {
        take_module(kernel, &driver, module, LHI_NAME_MODULE);
        /* A record that claims more than its image may cover a module that is in no list. */
        if (driver.absence == LH_PRESENT && !driver.is_kernel &&
            lhi_image_open(&kernel->space, module->base, module->size, &image) == LH_PRESENT &&
            code - module->base >= image.size_of_image)
            doubt(&driver, "its module record claims more than its image has");
    } else if (lhi_is_kernel(code)) {
        /* In a gap of the list the module may be one that was not captured, and an unloaded one's range may
         * be its. */
        if (!kernel->modules.complete) {
            driver.absence = kernel->modules.absence;
            driver.absent_at = kernel->modules.absent_at;
        } else if ((module = lhi_module_unloaded_at(&kernel->modules, code)) != NULL &&
                   lhi_module_range_shared(&kernel->modules, module)) {
            driver.doubt = "it lies where more than one driver was loaded in turn";
        } else if (module != NULL) {
            lh_absence mapped = lhi_space_translate(&kernel->space, code, &(uint64_t){0});
            if (mapped == LH_ABSENT_NOT_MAPPED)
                take_module(kernel, &driver, module, LHI_NAME_UNLOADED);
            else if (mapped == LH_ABSENT_TABLE) /* whether anything is there now can't be seen */
                driver.absence = mapped;
        }
    }
    *out = driver;
}

void lhi_driver_from_routine(const lh_kernel *kernel, uint64_t routine, lhi_driver *out)
{
    lhi_image image = {0};
    lhi_driver_from_code(kernel, routine, out);
    if (!out->has_module || out->module.unloaded)
        return;
    lh_absence absence = lhi_image_open(&kernel->space, out->module.base, out->module.size, &image);
    lhi_answer code = absence == LH_PRESENT ? lhi_image_is_code(&image, routine) : LHI_UNKNOWN;
    /* An image that is not mapped, or has no sections, says of no address that it is data. */
    if (code == LHI_YES || absence == LH_ABSENT_NOT_MAPPED ||
        (absence == LH_PRESENT && image.section_count == 0))
        return;
    out->has_module = false;
    out->absence = LH_ABSENT_LAYOUT;
    out->absent_at = routine;
    if (code == LHI_NO)
        out->doubt = "it lies in a module's data";
    else
        out->absence = absence == LH_PRESENT ? LH_ABSENT_NOT_CAPTURED : absence;
}

static lhi_answer in_device_list(const lh_kernel *kernel, uint64_t driver, uint64_t device,
                                 lh_absence *absence)
{
    uint64_t at = 0, next = 0;
    *absence = field(kernel, driver, LHI_F_DRIVER_OBJECT_DeviceObject, &next, &at);
    if (*absence != LH_PRESENT || next == 0)
        return LHI_UNKNOWN;
    for (unsigned i = 0; i < MAX_DEVICES && lhi_is_kernel(next); i++) {
        if (next == device)
            return LHI_YES;
        *absence = field(kernel, next, LHI_F_DEVICE_OBJECT_NextDevice, &next, &at);
        if (*absence != LH_PRESENT)
            return LHI_UNKNOWN;
    }
    return next == 0 ? LHI_NO : LHI_UNKNOWN;
}

/* DEVOBJ_EXTENSION.AttachedTo, if that extension is the device's. */
static uint64_t attached_to(const lh_kernel *kernel, uint64_t address)
{
    uint64_t extension = 0, owner = 0, below = 0, at = 0;
    if (field(kernel, address, LHI_F_DEVICE_OBJECT_DeviceObjectExtension, &extension, &at) != LH_PRESENT ||
        !lhi_is_object(extension, 8) ||
        field(kernel, extension, LHI_F_DEVOBJ_EXTENSION_DeviceObject, &owner, &at) != LH_PRESENT ||
        owner != address ||
        field(kernel, extension, LHI_F_DEVOBJ_EXTENSION_AttachedTo, &below, &at) != LH_PRESENT)
        return 0;
    return below;
}

void lhi_device_read(const lh_kernel *kernel, uint64_t address, lhi_device *out)
{
    lhi_device device = {.address = address};
    const uint16_t *at = kernel->layout->offsets;
    device.absence = head(kernel, address, LHI_F_DEVICE_OBJECT_Type, TYPE_DEVICE, &device.absent_at);
    if (device.absence == LH_PRESENT)
        device.absence =
            field(kernel, address, LHI_F_DEVICE_OBJECT_DriverObject, &device.driver, &device.absent_at);
    if (device.absence != LH_PRESENT)
        goto done;
    if (!lhi_is_kernel(device.driver)) {
        device.absence = LH_ABSENT_LAYOUT;
        device.absent_at = address;
        goto done;
    }
    /* What else there is helps, and is not needed. */
    (void)lhi_space_u64(&kernel->space, address + at[LHI_F_DEVICE_OBJECT_AttachedDevice], &device.attached);
    (void)lhi_space_u64(&kernel->space, address + at[LHI_F_DEVICE_OBJECT_DeviceExtension], &device.extension);
    (void)lhi_space_u32(&kernel->space, address + at[LHI_F_DEVICE_OBJECT_DeviceType], &device.device_type);
    (void)lhi_space_u16(&kernel->space, address + at[LHI_F_DEVICE_OBJECT_Size], &device.size);
    device.below = attached_to(kernel, address);
    device.listed = in_device_list(kernel, device.driver, address, &device.listed_absence);
    if (device.listed == LHI_NO) { /* a leftover: its driver does not know it */
        device.absence = LH_ABSENT_LAYOUT;
        device.absent_at = address;
    }
done:
    *out = device;
}

void lhi_device_driver(const lh_kernel *kernel, uint64_t address, lhi_device *device, lhi_driver *driver)
{
    lhi_device_read(kernel, address, device);
    if (device->absence == LH_PRESENT)
        lhi_driver_read(kernel, device->driver, driver);
    else
        *driver = (lhi_driver){.absence = device->absence, .absent_at = device->absent_at};
}

void lhi_file_read(const lh_kernel *kernel, uint64_t address, lhi_file *out)
{
    lhi_file file = {.address = address};
    file.absence = head(kernel, address, LHI_F_FILE_OBJECT_Type, TYPE_FILE, &file.absent_at);
    if (file.absence == LH_PRESENT)
        file.absence = field(kernel, address, LHI_F_FILE_OBJECT_DeviceObject, &file.device, &file.absent_at);
    if (file.absence == LH_PRESENT) {
        file.absent_at = address + kernel->layout->offsets[LHI_F_FILE_OBJECT_Flags];
        file.absence = lhi_space_u32(&kernel->space, file.absent_at, &file.flags);
    }
    *out = file;
}

bool lhi_is_library(const char *name)
{
    return lhi_library_find(name) != NULL;
}
