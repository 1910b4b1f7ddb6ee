/* The drivers that play a part in a case, and what their imports say they can do. */
#include <string.h>

#include "case/case.h"
#include "code/routines.h"
#include "nt/framework.h"

#define LOADER "wdfldr.sys"

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
 * name it was to be bound by counts. LHI_UNKNOWN: part of the table is not in the dump. `loader`: counts
 * those that lead to KMDF's loader, which are none then; NULL: they are like any. */
static lhi_answer calls_elsewhere(const lhi_case *c, const lhi_image *image, uint32_t *loader)
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
        if (loader && module && strcmp(module->name, LOADER) == 0) {
            ++*loader;
            known = true;
        }
        if (!known)
            return LHI_YES;
    }
    if (bound)
        return answer;
    const lhi_answer named = named_elsewhere(image);
    return named == LHI_NO ? answer : named;
}

#define LIST(list)                                                                                           \
    {                                                                                                        \
        .names = (list), .name_count = sizeof(list) / sizeof((list)[0])                                      \
    }
#define MOST_NAMES 32u

/* The kernel's routines by which a driver can do something: named here, or those of the table of the code
 * witness with a role. A driver that looks routines up by name can call any. */
static const struct {
    const char *const *names;
    size_t name_count;
    lhi_role roles[3];
    size_t role_count;
} routines[LHI_ABILITIES] = {
    [LHI_CAN_LOCK] = {.roles = {LHI_ROLE_LOCK, LHI_ROLE_LOCK_FOR, LHI_ROLE_LOOK_UP}, .role_count = 3},
    [LHI_CAN_SPLIT] = LIST(splitting),
    [LHI_CAN_UNLOCK] = {.roles = {LHI_ROLE_UNLOCK, LHI_ROLE_LOOK_UP}, .role_count = 2},
    [LHI_CAN_PLACE] = LIST(placing),
    [LHI_CAN_SEND] = LIST(sending),
};

static size_t names_of(lhi_ability ability, const char *out[MOST_NAMES])
{
    size_t count = 0;

    for (size_t i = 0; i < routines[ability].name_count; i++)
        out[count++] = routines[ability].names[i];
    for (size_t i = 0; i < routines[ability].role_count; i++)
        count += lhi_routine_names(routines[ability].roles[i], out + count, MOST_NAMES - count);
    return count;
}

static lhi_answer ask(const lhi_case *c, lhi_party *party, lhi_ability ability)
{
    const lhi_driver *driver = &party->driver;
    lhi_image image = {0};
    if (!driver->has_module || driver->module.unloaded || driver->is_kernel)
        return driver->is_kernel ? LHI_YES : LHI_UNKNOWN;
    if (lhi_image_open(&c->kernel->space, driver->module.base, driver->module.size, &image) != LH_PRESENT)
        return LHI_UNKNOWN;
    const char *names[MOST_NAMES] = {NULL};
    lhi_answer answer = lhi_image_imports(&image, names, names_of(ability, names), &c->kernel->exports, NULL);
    if (answer != LHI_NO)
        return answer;
    lhi_answer elsewhere = calls_elsewhere(c, &image, NULL);
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

lhi_answer lhi_case_may_unlock(lhi_case *c, size_t party)
{
    const lhi_answer answer = lhi_case_can_unlock(c, party);
    const lhi_party *p = &c->parties[party];
    const bool unloaded = p->driver.has_module && p->driver.module.unloaded;
    return answer == LHI_UNKNOWN && (p->framework || unloaded || p->silent) ? LHI_YES : answer;
}

lhi_answer lhi_case_can_send(lhi_case *c, size_t party)
{
    return can(c, party, LHI_CAN_SEND);
}

/* Routines by which a driver and the framework know each other, and no more: by others of its loader it gets
 * the tables of class extensions (wdfldr.h). */
static void count_binding(void *user, const char *dll, const char *name, uint64_t slot)
{
    uint32_t *count = user;
    (void)slot;
    if (lhi_import_is_of(dll, LOADER) &&
        (strcmp(name, "WdfVersionBind") == 0 || strcmp(name, "WdfVersionUnbind") == 0))
        ++*count;
}

bool lhi_case_calls_framework_alone(lhi_case *c, size_t party)
{
    const lhi_driver *driver = &c->parties[party].driver;
    uint32_t bindings = 0, slots = 0;
    lhi_image image = {0};
    if (!driver->has_module ||
        lhi_image_open(&c->kernel->space, driver->module.base, driver->module.size, &image) != LH_PRESENT ||
        calls_elsewhere(c, &image, &slots) != LHI_NO)
        return false;
    lhi_image_each_import(&image, count_binding, &bindings);
    return slots > 0 && bindings == slots;
}
