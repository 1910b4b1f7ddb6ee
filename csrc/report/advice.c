/* The tree's advice: what to set for the next crash, and what to send to the vendor of each suspect. */
#include <inttypes.h>
#include <string.h>

#include "case/method.h"
#include "code/listing.h"
#include "dump/header.h"
#include "image/image.h"
#include "report/report.h"

#define MOST_VENDORS  8u
#define MOST_SITES    4u
#define MOST_LISTINGS 2u
#define MOST_NAME     64u

/* Facts A.3. */
#define TRACKING_KEY "SYSTEM\\CurrentControlSet\\Control\\Session Manager\\Memory Management"
/* MmTrackLockedPages: bit 0 is the setting, bit 28 says that it was taken back at run time (facts A.3). */
#define TRACKING_ON        1u
#define TRACKING_OFF       0x10000000u
#define FIRST_WITH_TRACKER 9600u /* from here on the first parameter of 0xCB is a lock tracker */

/* ------------------------------------------------------------------ tracking */

static const char *state_of(const lhi_case *c, lh_absence *absence, uint64_t *at)
{
    const lh_kernel *kernel = c->kernel;
    const uint32_t *globals = kernel->layout->globals;
    uint32_t value = 0;
    *absence = LH_ABSENT_LAYOUT;
    if (c->code == 0xcb || (c->code == 0x76 && c->parameters[0] == 0 && lhi_case_names_trackers(c)) ||
        (c->code == 0x76 && c->parameters[0] == 1 && c->parameters[3] != 0) ||
        (c->method == &lhi_method_unlock && c->parameters[0] != 1))
        return "on"; /* the process has a list of trackers */
    if (!kernel->nt_known || !globals || globals[LHI_G_MmTrackLockedPages] == 0 ||
        globals[LHI_G_MmTrackLockedPages] >= kernel->nt.size_of_image)
        return NULL;
    *at = kernel->nt.base + globals[LHI_G_MmTrackLockedPages];
    *absence = lhi_space_u32(&kernel->space, *at, &value);
    if (*absence != LH_PRESENT)
        return NULL;
    return value & TRACKING_OFF ? "disabled" : value & TRACKING_ON ? "on" : "off";
}

/* Returns whether it was on already. */
static bool tracking(lhi_case *c, lhi_node *advice, lhi_node *absent)
{
    static const char *const lines[] = {"Windows Registry Editor Version 5.00",
                                        "[HKEY_LOCAL_MACHINE\\" TRACKING_KEY "]",
                                        "\"TrackLockedPages\"=dword:00000001"};
    lhi_arena *arena = &c->arena;
    lh_absence absence = LH_PRESENT;
    uint64_t at = 0;
    const char *state = state_of(c, &absence, &at);
    lhi_node *object = lhi_tree_object(arena, advice, "tracking");
    lhi_tree_text(arena, object, "state", state);
    if (!state)
        lhi_report_absent(c, absent, "advice.tracking.state", absence, at);
    lhi_node *file = lhi_tree_list(arena, object, "reg_file");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        lhi_tree_text(arena, file, NULL, lines[i]);
    lhi_tree_text(arena, object, "command",
                  "reg add \"HKLM\\" TRACKING_KEY "\" /v TrackLockedPages /t REG_DWORD /d 1 /f");
    lhi_tree_text(arena, object, "undo", "reg delete \"HKLM\\" TRACKING_KEY "\" /v TrackLockedPages /f");
    const bool on = state && strcmp(state, "on") == 0;
    lhi_tree_text(
        arena, object, "next_crash",
        lhi_arena_printf(
            arena, "%s The next leak stops the system with bug check 0xCB, %s",
            on ? "It is on already: keep it." : "It works after a restart.",
            lhi_dump_header(c->kernel->dump)->build >= FIRST_WITH_TRACKER
                ? "whose first parameter is the lock tracker: its stack shows who locked, and lockhound "
                  "reads "
                  "it."
                : "whose first two parameters are the caller of the routine that locked, and its caller."));
    return on;
}

/* ------------------------------------------------------------------ Driver Verifier */

/* The name comes from the dump, and what is made of it will be typed into a shell. */
static bool is_plain(const char *name)
{
    const size_t length = strlen(name);
    if (length < 5 || length > MOST_NAME || strcmp(name + length - 4, ".sys") != 0)
        return false;
    for (size_t i = 0; i < length; i++) {
        const char at = name[i];
        if (!((at >= 'a' && at <= 'z') || (at >= 'A' && at <= 'Z') || (at >= '0' && at <= '9') || at == '_' ||
              at == '.' || (at == '-' && i > 0)))
            return false;
    }
    return true;
}

static void verifier(lhi_case *c, lhi_node *advice, const size_t *parties, size_t count, bool on)
{
    lhi_arena *arena = &c->arena;
    const char *names = "";
    for (size_t i = 0; i < count; i++) {
        const lhi_driver *driver = &c->parties[parties[i]].driver;
        if (is_plain(driver->name) && !driver->module.unloaded)
            names = lhi_arena_printf(arena, "%s %s", names, driver->name);
    }
    if (!names[0]) {
        lhi_tree_null(arena, advice, "verifier");
        return;
    }
    lhi_node *object = lhi_tree_object(arena, advice, "verifier");
    lhi_tree_text(arena, object, "command", lhi_arena_printf(arena, "verifier /flags 0x8 /driver%s", names));
    lhi_tree_text(arena, object, "undo", "verifier /reset");
    lhi_tree_text(
        arena, object, "why",
        on ? "It works after a restart. The tracking of locked pages is on already; pool tracking (0x8) also "
             "stops the system when the driver is unloaded and has not freed its pool memory."
           : "It works after a restart. Pool tracking (0x8) turns the tracking of locked pages on as well, "
             "so "
             "that a wrong unlock stops the system at once (0x76, first parameter 1), and stops it when the "
             "driver is unloaded and has not freed its pool memory.");
}

/* ------------------------------------------------------------------ the vendor */

static void line(lhi_case *c, lhi_node *lines, const char *text)
{
    lhi_tree_text(&c->arena, lines, NULL, text);
}

static void pdb(lhi_case *c, lhi_node *vendor, lhi_node *lines, lhi_node *absent, size_t index,
                const lhi_party *party)
{
    lhi_arena *arena = &c->arena;
    lhi_image image = {0};
    lhi_pdb_identity id = {0};
    lh_absence absence = LH_ABSENT_NOT_CAPTURED;
    if (party->driver.has_module && !party->driver.module.unloaded)
        absence =
            lhi_image_open(&c->kernel->space, party->driver.module.base, party->driver.module.size, &image);
    if (absence == LH_PRESENT)
        absence = lhi_image_pdb(&image, &id);
    if (absence != LH_PRESENT) {
        lhi_tree_null(arena, vendor, "pdb");
        lhi_report_absent(c, absent, lhi_arena_printf(arena, "advice.vendors.%zu.pdb", index), absence,
                          party->driver.start);
        return;
    }
    const uint8_t *g = id.guid;
    const char *guid = lhi_arena_printf(
        arena, "%02X%02X%02X%02X-%02X%02X-%02X%02X-%02X%02X-%02X%02X%02X%02X%02X%02X", g[3], g[2], g[1], g[0],
        g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]);
    lhi_node *object = lhi_tree_object(arena, vendor, "pdb");
    lhi_tree_text(arena, object, "name", lhi_arena_strdup(arena, id.name)); /* id is gone with the call */
    lhi_tree_text(arena, object, "guid", guid);
    lhi_tree_count(arena, object, "age", id.age);
    line(c, lines,
         lhi_arena_printf(arena, "PDB: %s {%s} age %" PRIu32, id.name[0] ? id.name : "(no name)", guid,
                          id.age));
}

/* CTL_CODE of the WDK's devioctl.h. */
static void control_code(lhi_case *c, lhi_node *request, lhi_node *lines, uint32_t code)
{
    static const char *const methods[] = {"METHOD_BUFFERED", "METHOD_IN_DIRECT", "METHOD_OUT_DIRECT",
                                          "METHOD_NEITHER"};
    static const char *const accesses[] = {"FILE_ANY_ACCESS", "FILE_READ_ACCESS", "FILE_WRITE_ACCESS",
                                           "FILE_READ_ACCESS | FILE_WRITE_ACCESS"};
    lhi_arena *arena = &c->arena;
    lhi_node *object = lhi_tree_object(arena, request, "ioctl");
    lhi_tree_address(arena, object, "code", code);
    lhi_tree_address(arena, object, "device_type", code >> 16);
    lhi_tree_address(arena, object, "function", code >> 2 & 0xfff);
    lhi_tree_text(arena, object, "method", methods[code & 3]);
    lhi_tree_text(arena, object, "access", accesses[code >> 14 & 3]);
    line(c, lines,
         lhi_arena_printf(arena, "IOCTL: 0x%08" PRIx32 " = CTL_CODE(0x%" PRIx32 ", 0x%" PRIx32 ", %s, %s)",
                          code, code >> 16, code >> 2 & 0xfff, methods[code & 3], accesses[code >> 14 & 3]));
}

/* The devices that the packet went through, from the first to the one where it waits. */
static void device_stack(lhi_case *c, lhi_node *request, lhi_node *lines, const lhi_irp *irp)
{
    lhi_arena *arena = &c->arena;
    lhi_node *list = lhi_tree_list(arena, request, "devices");
    for (size_t i = irp->slot_count; i-- > 0 && i + 1 >= irp->current;) {
        lhi_device device = {0};
        lhi_driver driver = {0};
        if (irp->slots[i].device == 0)
            continue;
        lhi_device_driver(c->kernel, irp->slots[i].device, &device, &driver);
        const char *name =
            driver.absence == LH_PRESENT && driver.name[0] ? lhi_arena_strdup(arena, driver.name) : NULL;
        lhi_node *row = lhi_tree_object(arena, list, NULL);
        lhi_tree_address(arena, row, "address", irp->slots[i].device);
        lhi_tree_text(arena, row, "driver", name);
        lhi_tree_bool(arena, row, "waits", i + 1 == irp->current);
        line(c, lines,
             lhi_arena_printf(arena, "Device: 0x%" PRIx64 " of %s%s", irp->slots[i].device,
                              name ? name : "a driver whose name is not known",
                              i + 1 == irp->current ? ", where the request waits" : ""));
    }
}

/* The driver is named for this lock, or holds it. */
static bool is_of(const lhi_case *c, const lhi_record *r, size_t party)
{
    const size_t who = r->outcome == LHI_OUTCOME_NAMED ? lhi_case_blamed(c, r) : r->holder;
    return r->in_ledger && !c->unlocker && who != LHI_NONE && lhi_case_same_driver(c, who, party);
}

/* The largest lock of a driver. */
static const lhi_record *record_of(const lhi_case *c, size_t party)
{
    const lhi_record *best = NULL;
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_record *r = &c->records[i];
        if (is_of(c, r, party) && (!best || r->mdl.pages > best->mdl.pages))
            best = r;
    }
    return best;
}

static void request(lhi_case *c, lhi_node *vendor, lhi_node *lines, const lhi_record *r)
{
    lhi_arena *arena = &c->arena;
    const lhi_irp *irp = r && r->judged_packet != LHI_NONE ? c->packets[r->judged_packet].irp : NULL;
    if (!irp || irp->state != LHI_IRP_PENDING) {
        lhi_tree_null(arena, vendor, "request");
        return;
    }
    const lhi_slot *slot = &irp->slots[irp->current - 1];
    lhi_node *object = lhi_tree_object(arena, vendor, "request");
    lhi_tree_address(arena, object, "irp", irp->address);
    lhi_tree_text(arena, object, "major", lhi_irp_major_name(slot->major));
    line(c, lines,
         lhi_arena_printf(arena, "Request: %s, IRP 0x%" PRIx64 ", stack location %u of %u",
                          lhi_irp_major_name(slot->major), irp->address, irp->current, irp->stack_count));
    uint32_t code = 0;
    if (lhi_report_control_code(slot, &code))
        control_code(c, object, lines, code);
    else
        lhi_tree_null(arena, object, "ioctl");
    device_stack(c, object, lines, irp);
}

/* Where its code locks, unlocks wrongly, and may lose a lock, as the evidence has it. */
static void sites(lhi_case *c, lhi_node *vendor, lhi_node *lines, size_t party)
{
    lhi_arena *arena = &c->arena;
    const lhi_module *module = &c->parties[party].driver.module;
    lhi_node *list = lhi_tree_list(arena, vendor, "lock_sites");
    size_t told = 0;
    for (size_t i = 0; i < c->evidence_count && told < MOST_SITES; i++) {
        const lhi_evidence *e = &c->evidence[i];
        const bool is_site = strcmp(e->kind, "lock_site") == 0 || strcmp(e->kind, "lock_path") == 0 ||
                             strcmp(e->kind, "unlock_site") == 0;
        if (!is_site || e->party == LHI_NONE || !lhi_case_same_driver(c, e->party, party) ||
            e->address <= module->base || e->address - module->base >= module->size)
            continue;
        told++;
        lhi_node *row = lhi_tree_object(arena, list, NULL);
        lhi_tree_text(arena, row, "kind", e->kind);
        lhi_tree_address(arena, row, "address", e->address);
        lhi_tree_address(arena, row, "offset", e->address - module->base);
        lhi_tree_text(arena, row, "statement", e->statement);
        line(c, lines, lhi_arena_printf(arena, "Code: %s", e->statement));
    }
}

/* The blocks whose tag is the driver's. */
static void pool_tags(lhi_case *c, lhi_node *lines, size_t party)
{
    for (size_t i = 0; i < c->evidence_count; i++) {
        const lhi_evidence *e = &c->evidence[i];
        if (strcmp(e->kind, "pool_tag") == 0 && lhi_case_same_driver(c, e->party, party))
            line(c, lines, lhi_arena_printf(&c->arena, "Pool: %s", e->statement));
    }
}

/* The instructions around those places, by their offsets: addresses are of this machine's run. */
static void listings(lhi_case *c, lhi_node *lines, size_t party)
{
    lhi_arena *arena = &c->arena;
    const uint64_t base = c->parties[party].driver.module.base;
    size_t told = 0;
    for (size_t i = 0; i < c->excerpt_count && told < MOST_LISTINGS; i++) {
        const lhi_excerpt *e = &c->excerpts[i];
        const lhi_listing *listing = e->listing;
        if (!lhi_case_same_driver(c, e->party, party) || listing->count == 0)
            continue;
        told++;
        line(c, lines,
             lhi_arena_printf(arena, "Listing: %s, %s%s%s", e->at, e->statement,
                              listing->bounded ? "; in the function at " : "", e->function));
        for (size_t k = 0; k < listing->count; k++) {
            const lhi_line *one = &listing->lines[k];
            line(c, lines,
                 lhi_arena_printf(arena, "  %s +0x%" PRIx64 "  %s%s%s", k == listing->marked ? ">" : " ",
                                  one->address - base, one->text, one->name[0] ? "  ; " : "", one->name));
        }
    }
}

static const char *stamp_of(lhi_case *c, uint32_t timestamp)
{
    return timestamp ? lhi_arena_printf(&c->arena, "0x%08" PRIx32, timestamp) : "not known";
}

static const char *size_of(lhi_case *c, uint32_t size)
{
    return size ? lhi_arena_printf(&c->arena, "0x%" PRIx32, size) : "not known";
}

static void identity(lhi_case *c, lhi_node *vendor, lhi_node *lines, const lhi_party *party)
{
    lhi_arena *arena = &c->arena;
    lhi_tree_text(arena, vendor, "driver", party->driver.name);
    lhi_tree_text(arena, vendor, "version", party->version_known ? party->version : NULL);
    lhi_tree_count_if(arena, vendor, "timestamp", party->timestamp, party->timestamp);
    lhi_tree_count_if(arena, vendor, "size", party->image_size, party->image_size);
    line(c, lines,
         lhi_arena_printf(arena,
                          "Driver: %s, version %s, time stamp %s, image size %s; Windows build %" PRIu32,
                          party->driver.name, party->version_known ? party->version : "not known",
                          stamp_of(c, party->timestamp), size_of(c, party->image_size),
                          lhi_dump_header(c->kernel->dump)->build));
}

static void victim(lhi_case *c, lhi_node *vendor, lhi_node *lines)
{
    lhi_arena *arena = &c->arena;
    const bool known = c->process_known && c->process.name_known;
    lhi_node *name =
        lhi_tree_text(arena, vendor, "victim", known ? lhi_arena_strdup(arena, c->process.name) : NULL);
    if (name)
        name->personal = true;
    if (!known)
        return;
    lhi_node *row =
        lhi_tree_text(arena, lines, NULL, lhi_arena_printf(arena, "Process: %s", c->process.name));
    if (row)
        row->redacted = "Process: [redacted]";
}

static void vendor_object(lhi_case *c, lhi_node *list, lhi_node *absent, size_t index, size_t party)
{
    lhi_arena *arena = &c->arena;
    const lhi_record *r = record_of(c, party);
    uint64_t pages = 0, bytes = 0;
    bool named = false;
    lhi_node *vendor = lhi_tree_object(arena, list, NULL);
    lhi_node *lines = lhi_tree_list(arena, NULL, "lines"); /* the last child */
    for (size_t i = 0; i < c->named_count; i++)
        named = named || lhi_case_same_driver(c, c->named[i].party, party);
    for (size_t i = 0; i < c->record_count; i++) {
        if (!is_of(c, &c->records[i], party))
            continue;
        pages += c->records[i].mdl.pages;
        bytes += c->records[i].mdl.byte_count;
    }
    identity(c, vendor, lines, &c->parties[party]);
    lhi_tree_bool(arena, vendor, "named", named);
    pdb(c, vendor, lines, absent, index, &c->parties[party]);
    lhi_tree_count(arena, vendor, "pages", pages);
    lhi_tree_count(arena, vendor, "bytes", bytes);
    line(c, lines,
         lhi_arena_printf(arena, "Finding: bug check 0x%" PRIX32 ", %s%s%s", c->code,
                          named ? "the driver is named" : "the driver is a suspect", c->why ? ": " : "",
                          c->why ? c->why : ""));
    if (pages)
        line(c, lines,
             lhi_arena_printf(arena, "Locked: %" PRIu64 " page%s, %" PRIu64 " bytes", pages,
                              pages == 1 ? "" : "s", bytes));
    victim(c, vendor, lines);
    request(c, vendor, lines, r);
    sites(c, vendor, lines, party);
    listings(c, lines, party);
    pool_tags(c, lines, party);
    lhi_report_finish(vendor, lines);
}

/* Those named, or else those with evidence: each driver once, with a file, and none of Windows' own. */
static size_t suspects_of(const lhi_case *c, size_t out[MOST_VENDORS])
{
    const size_t rows = c->named_count                 ? c->named_count
                        : c->kind == LH_VERDICT_KERNEL ? 0
                                                       : c->evidence_count;
    size_t count = 0;
    for (size_t i = 0; i < rows && count < MOST_VENDORS; i++) {
        const size_t party = c->named_count ? c->named[i].party : c->evidence[i].party;
        bool fit = party != LHI_NONE && c->parties[party].driver.has_module &&
                   c->parties[party].driver.absence == LH_PRESENT && !c->parties[party].driver.is_kernel &&
                   !(c->named_count == 0 && (c->parties[party].library || lhi_case_is_cleared(c, party)));
        for (size_t k = 0; k < count && fit; k++)
            fit = !lhi_case_same_driver(c, out[k], party);
        if (fit)
            out[count++] = party;
    }
    return count;
}

void lhi_report_advice(lhi_case *c, lhi_node *root, lhi_node *absent)
{
    size_t parties[MOST_VENDORS] = {0};
    if (c->kind == LH_VERDICT_NOT_APPLICABLE && !c->subject) {
        lhi_tree_null(&c->arena, root, "advice");
        return;
    }
    const size_t count = suspects_of(c, parties);
    lhi_node *object = lhi_tree_object(&c->arena, root, "advice");
    const bool on = tracking(c, object, absent);
    verifier(c, object, parties, count, on);
    lhi_node *vendors = lhi_tree_list(&c->arena, object, "vendors");
    for (size_t i = 0; i < count; i++)
        vendor_object(c, vendors, absent, i, parties[i]);
}
