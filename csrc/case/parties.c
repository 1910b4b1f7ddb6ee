/* The drivers that play a part in a case, and what their imports say they can do. */
#include <string.h>

#include "case/case.h"
#include "nt/framework.h"

/* Routines that lock pages or have them locked (WDK). A driver that looks routines up by name can call any.
 */
static const char *const locking[] = {
    "MmProbeAndLockPages",           "MmProbeAndLockProcessPages",    "MmProbeAndLockSelectedPages",
    "IoBuildAsynchronousFsdRequest", "IoBuildDeviceIoControlRequest", "IoBuildSynchronousFsdRequest",
    "MmGetSystemRoutineAddress",
};

/* Routines that make a piece of a request (WDK): packets of one's own, partial MDLs. */
static const char *const splitting[] = {
    "IoMakeAssociatedIrp",
    "IoBuildPartialMdl",
    "IoAllocateIrp",
    "IoAllocateIrpEx",
    "IoBuildAsynchronousFsdRequest",
    "IoBuildDeviceIoControlRequest",
    "IoBuildSynchronousFsdRequest",
    "IoInitializeIrp",
    "MmGetSystemRoutineAddress",
};

/* The one routine that makes a packet of memory which the caller brings, such as its own stack (WDK). */
static const char *const placing[] = {"IoInitializeIrp"};
/* Routines that unlock pages (WDK). */
static const char *const unlocking[] = {"MmUnlockPages", "MmGetSystemRoutineAddress"};
/* Routines that hand a packet, or an argument, to other drivers (WDK). */
static const char *const sending[] = {
    "IofCallDriver",
    "IoCallDriver",
    "PoCallDriver",
    "IoForwardIrpSynchronously",
    "IoSynchronousCallDriver",
    "IoMakeAssociatedIrp",
    "IoAllocateIrp",
    "IoAllocateIrpEx",
    "IoBuildAsynchronousFsdRequest",
    "IoBuildDeviceIoControlRequest",
    "IoBuildSynchronousFsdRequest",
    "IoInitializeIrp",
    "ExNotifyCallback",
    "MmGetSystemRoutineAddress",
};

bool lhi_case_same_driver(const lhi_case *c, size_t a, size_t b)
{
    if (a == b)
        return true;
    if (a == LHI_NONE || b == LHI_NONE)
        return false;
    const lhi_driver *x = &c->parties[a].driver, *y = &c->parties[b].driver;
    if (x->has_module && y->has_module)
        return x->module.base == y->module.base && x->module.unloaded == y->module.unloaded;
    return x->address != 0 && x->address == y->address;
}

static void describe(lhi_case *c, lhi_party *party)
{
    const lhi_driver *driver = &party->driver;
    party->library = lhi_is_library(driver->name);
    if (!driver->has_module)
        return;
    party->timestamp = driver->module.timestamp;
    party->image_size = (uint32_t)driver->module.size;
    if (driver->module.unloaded)
        return;
    lhi_image image = {0};
    lh_absence absence = lhi_image_open(&c->kernel->space, driver->module.base, driver->module.size, &image);
    party->silent =
        absence == LH_ABSENT_NOT_MAPPED || (absence == LH_PRESENT && !lhi_image_has_imports(&image));
    if (absence != LH_PRESENT)
        return;
    party->image_known = true;
    if (party->timestamp == 0)
        party->timestamp = image.timestamp;
    party->version_known = lhi_image_version(&image, party->version) == LH_PRESENT;
}

size_t lhi_case_party(lhi_case *c, const lhi_driver *driver, lh_error *err)
{
    for (size_t i = 0; i < c->party_count; i++) {
        const lhi_driver *known = &c->parties[i].driver;
        bool same_module = known->has_module && driver->has_module &&
                           known->module.base == driver->module.base &&
                           known->module.unloaded == driver->module.unloaded;
        if (same_module || (driver->address != 0 && known->address == driver->address)) {
            if (c->parties[i].driver.address == 0) {
                c->parties[i].driver.address = driver->address;
                c->parties[i].driver.object_known = driver->object_known;
                memcpy(c->parties[i].driver.object_name, driver->object_name, sizeof driver->object_name);
            }
            return i;
        }
    }
    lhi_party *party = lhi_case_new_party(c);
    if (!party) {
        lhi_fail_memory(err);
        return LHI_NONE;
    }
    party->driver = *driver;
    describe(c, party);
    return c->party_count - 1;
}

/* By the names of what it imports from, where no slot tells. */
static lhi_answer named_elsewhere(const lhi_image *image)
{
    const lhi_answer alone = lhi_image_imports_nt_alone(image);
    return alone == LHI_YES ? LHI_NO : alone == LHI_NO ? LHI_YES : LHI_UNKNOWN;
}

/* Slots of the import address table that lead elsewhere than nt and hal: KMDF, fltmgr, ndis and their kind
 * lock and split for their clients (facts F.1, L.11). A slot that was never bound leads nowhere, and the
 * name it was to be bound by counts. LHI_UNKNOWN: part of the table is not in the dump. */
static lhi_answer calls_elsewhere(const lhi_case *c, const lhi_image *image)
{
    const lhi_directory table = image->directories[12]; /* IMAGE_DIRECTORY_ENTRY_IAT, PE format */
    const uint32_t slots = table.size / 8 < 65536 ? table.size / 8 : 65536;
    lhi_answer answer = LHI_NO;
    bool bound = table.size != 0;
    for (uint32_t i = 0; i < slots; i++) {
        uint64_t target = 0;
        if (lhi_space_u64(&c->kernel->space, image->base + table.rva + 8ull * i, &target) != LH_PRESENT) {
            answer = LHI_UNKNOWN;
            continue;
        }
        if (target != 0 && !lhi_is_kernel(target)) {
            bound = false;
            continue;
        }
        const lhi_module *module = target ? lhi_module_at(&c->kernel->modules, target) : NULL;
        bool known =
            !target || (module && (lhi_is_nt(c->kernel, module) || strcmp(module->name, "hal.dll") == 0));
        if (!known)
            return LHI_YES;
    }
    if (bound)
        return answer;
    const lhi_answer named = named_elsewhere(image);
    return named == LHI_NO ? answer : named;
}

#define ROUTINES(list)                                                                                       \
    {                                                                                                        \
        (list), sizeof(list) / sizeof((list)[0])                                                             \
    }

static const struct {
    const char *const *names;
    size_t count;
} routines[LHI_ABILITIES] = {
    [LHI_CAN_LOCK] = ROUTINES(locking),     [LHI_CAN_SPLIT] = ROUTINES(splitting),
    [LHI_CAN_UNLOCK] = ROUTINES(unlocking), [LHI_CAN_PLACE] = ROUTINES(placing),
    [LHI_CAN_SEND] = ROUTINES(sending),
};

static lhi_answer ask(const lhi_case *c, lhi_party *party, lhi_ability ability)
{
    const lhi_driver *driver = &party->driver;
    lhi_image image = {0};
    if (!driver->has_module || driver->module.unloaded || driver->is_kernel)
        return driver->is_kernel ? LHI_YES : LHI_UNKNOWN;
    if (lhi_image_open(&c->kernel->space, driver->module.base, driver->module.size, &image) != LH_PRESENT)
        return LHI_UNKNOWN;
    lhi_answer answer = lhi_image_imports(&image, routines[ability].names, routines[ability].count,
                                          &c->kernel->exports, NULL);
    if (answer != LHI_NO)
        return answer;
    lhi_answer elsewhere = calls_elsewhere(c, &image);
    party->framework = elsewhere == LHI_YES;
    party->bound = lhi_fx_is_bound(c->kernel, &image);
    return elsewhere == LHI_NO ? LHI_NO : LHI_UNKNOWN;
}

static lhi_answer can(lhi_case *c, size_t party, lhi_ability ability)
{
    lhi_party *p = &c->parties[party];
    if (!p->asked[ability]) {
        p->can[ability] = ask(c, p, ability);
        p->asked[ability] = true;
    }
    return p->can[ability];
}

lhi_answer lhi_case_can_lock(lhi_case *c, size_t party)
{
    return can(c, party, LHI_CAN_LOCK);
}

lhi_answer lhi_case_can_split(lhi_case *c, size_t party)
{
    return can(c, party, LHI_CAN_SPLIT);
}

bool lhi_case_places_packets(lhi_case *c, size_t party)
{
    return can(c, party, LHI_CAN_PLACE) == LHI_YES;
}

lhi_answer lhi_case_can_unlock(lhi_case *c, size_t party)
{
    return can(c, party, LHI_CAN_UNLOCK);
}

lhi_answer lhi_case_can_send(lhi_case *c, size_t party)
{
    return can(c, party, LHI_CAN_SEND);
}
