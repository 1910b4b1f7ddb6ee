/* What stands beside a pointer that leads to an MDL, and says that the memory behind it is another driver's
 * than the one whose memory the way ends in.
 *
 * Whoever registers a routine gives a context with it, and the pair stands where the routine will be called
 * from: in another driver's memory, in a work item, in a DPC; and an interface that a driver was given has a
 * context and the routines that take it. The context is of the driver that the routine is of. And what
 * FsContext and FsContext2 of an open file lead to belongs to a driver of the file's devices. Neither makes
 * its driver an owner: the pair may be left over. */
#include "case/holder_graph.h"
#include "nt/read.h"

#define WORD      8u
#define FSCONTEXT 0x18u /* FILE_OBJECT.FsContext, then FsContext2 (WDK wdm.h; facts B.4) */
/* of an INTERFACE: with its header alone, and more than any has */
#define INTERFACE_LEAST 0x20u
#define INTERFACE_MOST  0x1000u
#define MOST_STACK      32u /* devices of one stack */

lh_status lhi_holder_is_other(lhi_case *c, const lhi_driver *driver, size_t party, bool *other, lh_error *err)
{
    size_t own = LHI_NONE;
    *other = true;
    if (driver->absence != LH_PRESENT)
        return LH_OK; /* somebody's, nobody knows whose */
    own = lhi_case_party(c, driver, err);
    if (own == LHI_NONE)
        return LH_ERR_NO_MEMORY;
    *other = !driver->is_kernel && !c->parties[own].library && !lhi_case_same_driver(c, own, party) &&
             lhi_case_can_lock(c, own) != LHI_NO;
    return LH_OK;
}

static bool read_word(const lhi_holders *h, uint64_t at, uint64_t *out)
{
    return lhi_space_u64(&h->c->kernel->space, at, out) == LH_PRESENT;
}

static bool is_routine(const lh_kernel *kernel, uint64_t word, lhi_driver *driver)
{
    if (!lhi_module_at(&kernel->modules, word))
        return false;
    lhi_driver_from_routine(kernel, word, driver);
    return driver->has_module; /* else it is no code, or a page of the image is missing, which is counted */
}

/* A routine stands in front of the pointer: of IO_WORKITEM (public PDB type) a device or driver object is
 * between the two, in a table of a driver's own there may be flags. */
static bool routine_before(const lhi_holders *h, uint64_t at, lhi_driver *driver)
{
    const lh_kernel *kernel = h->c->kernel;
    uint64_t word = 0;
    if (!read_word(h, at - WORD, &word))
        return false;
    if (!lhi_is_kernel(word)) {
        if (!read_word(h, at - (uint64_t)2 * WORD, &word))
            return false;
    } else if (lhi_is_object(word, WORD) && !lhi_module_at(&kernel->modules, word)) {
        lhi_device device = {0};
        lhi_driver object = {0};
        lhi_device_read(kernel, word, &device);
        if (device.absence != LH_PRESENT)
            lhi_driver_read(kernel, word, &object);
        if ((device.absence != LH_PRESENT && !object.object_known) ||
            !read_word(h, at - (uint64_t)2 * WORD, &word))
            return false;
    }
    return is_routine(kernel, word, driver);
}

/* Or right behind it. */
static bool routine_behind(const lhi_holders *h, uint64_t at, lhi_driver *driver)
{
    uint64_t word = 0;
    return read_word(h, at + WORD, &word) && is_routine(h->c->kernel, word, driver);
}

/* INTERFACE, which others start with (WDK wdm.h): size and version, the context, and two routines. */
static bool routines_behind(const lhi_holders *h, uint64_t at, lhi_driver *driver)
{
    const lh_kernel *kernel = h->c->kernel;
    uint64_t head = 0, first = 0, second = 0;
    if (!read_word(h, at - WORD, &head) || (head & 0xffff) < INTERFACE_LEAST ||
        (head & 0xffff) > INTERFACE_MOST || head >> 32 != 0 || !read_word(h, at + WORD, &first) ||
        !read_word(h, at + (uint64_t)2 * WORD, &second))
        return false;
    const lhi_module *module = lhi_module_at(&kernel->modules, first);
    if (!module || lhi_module_at(&kernel->modules, second) != module)
        return false;
    lhi_driver_from_routine(kernel, first, driver);
    return driver->has_module;
}

/* A head of a list is no context, and a packed field has no routine beside it. */
static bool may_be_context(const lhi_holders *h, const lhi_grip *grip)
{
    const lhi_thing *held = &h->things[grip->held];
    const bool head = held->site.kind == LHI_SITE_LIST && held->members.count == 0;
    return !head && grip->at % WORD == 0;
}

/* The driver whose routine is to be called with what the pointer leads to. */
static bool find_routine(const lhi_holders *h, const lhi_grip *grip, lhi_driver *driver)
{
    return may_be_context(h, grip) &&
           (routine_before(h, grip->at, driver) || routines_behind(h, grip->at, driver));
}

static lh_status ask_routine(lhi_holders *h, const lhi_grip *grip, size_t party, bool *other, lh_error *err)
{
    lhi_driver driver = {0};
    lhi_driver behind = {0};
    lh_status status = LH_OK;
    if (grip->queued)
        return LH_OK;
    if (find_routine(h, grip, &driver))
        status = lhi_holder_is_other(h->c, &driver, party, other, err);
    if (status == LH_OK && !*other && may_be_context(h, grip) && routine_behind(h, grip->at, &behind))
        status = lhi_holder_is_other(h->c, &behind, party, other, err);
    return status;
}

lh_status lhi_holder_device_is_other(lhi_holders *h, uint64_t address, size_t party, bool *other,
                                     lh_error *err)
{
    const lh_kernel *kernel = h->c->kernel;
    lhi_driver driver = {0};
    lhi_device device = {0};
    lhi_device_driver(kernel, address, &device, &driver);
    lh_status status = lhi_holder_is_other(h->c, &driver, party, other, err);
    for (unsigned way = 0; way < 2; way++) {
        uint64_t at = way ? device.below : device.attached;
        for (unsigned i = 0; status == LH_OK && *other && at != 0 && i < MOST_STACK; i++) {
            lhi_device next = {0};
            lhi_driver of = {0};
            lhi_device_driver(kernel, at, &next, &of);
            if (!of.object_known)
                break;
            size_t own = lhi_case_party(h->c, &of, err);
            if (own == LHI_NONE)
                return LH_ERR_NO_MEMORY;
            *other = !lhi_case_same_driver(h->c, own, party);
            at = way ? next.below : next.attached;
        }
    }
    return status;
}

/* Is the driver one of the file's devices'? */
static lh_status ask_file(lhi_holders *h, const lhi_grip *grip, size_t party, bool *other, lh_error *err)
{
    lhi_file file = {0};
    const uint64_t object = h->things[grip->holder].site.object;
    if (grip->at != object + FSCONTEXT && grip->at != object + FSCONTEXT + WORD)
        return LH_OK;
    lhi_file_read(h->c->kernel, object, &file);
    return file.absence == LH_PRESENT ? lhi_holder_device_is_other(h, file.device, party, other, err) : LH_OK;
}

lh_status lhi_holder_beside(lhi_holders *h, size_t grip, size_t party, const char **why, lh_error *err)
{
    const lhi_grip *g = &h->grips[grip];
    const lhi_site *site = &h->things[g->holder].site;
    bool other = false;
    lh_status status = LH_OK;
    *why = NULL;
    switch (site->kind) {
    case LHI_SITE_MODULE:
    case LHI_SITE_DEVICE:
    case LHI_SITE_EXTENSION:
    case LHI_SITE_POOL:
        status = ask_routine(h, g, party, &other, err);
        *why = other ? "a routine of another driver's is to be called with what leads to it" : NULL;
        if (status != LH_OK || other || site->kind != LHI_SITE_POOL || site->what)
            return status;
        status = lhi_holder_content(h, site, party, &other, err);
        *why = other ? "a block that leads to it has another driver's routines or objects in it" : NULL;
        return status;
    case LHI_SITE_BOOKS:
        if (site->object != 0)
            status = ask_file(h, g, party, &other, err);
        *why = other ? "an open file of another driver's device leads to it" : NULL;
        return status;
    default:
        return LH_OK;
    }
}

lh_status lhi_holder_backs(lhi_holders *h, size_t grip, size_t party, bool *own, lh_error *err)
{
    const lhi_grip *g = &h->grips[grip];
    lhi_driver driver = {0};
    *own = false;
    if (h->things[g->holder].site.kind != LHI_SITE_POOL || !find_routine(h, g, &driver) ||
        driver.absence != LH_PRESENT)
        return LH_OK;
    const size_t whose = lhi_case_party(h->c, &driver, err);
    if (whose == LHI_NONE)
        return LH_ERR_NO_MEMORY;
    *own = lhi_case_same_driver(h->c, whose, party);
    return LH_OK;
}
