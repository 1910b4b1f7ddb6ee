/* Opening a kernel: which NT this is, its layouts, debugger block, modules and exports, read once.
 *
 * Nothing of it has to be there: a kernel without page tables opens too, and answers every question with why
 * it can't. Only memory of our own can run out. */
#include "nt/kernel.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "dump/header.h"
#include "nt/probe.h"
#include "nt/read.h"
#include "nt/triage.h"
#include "symbols/written.h"

#include <string.h>

/* KUSER_SHARED_DATA, at this address on every x64 Windows, and its fields (ntddk.h). */
#define KUSER             0xfffff78000000000ull
#define KUSER_BUILD       0x260u /* NtBuildNumber: from Windows 10 on; zero before */
#define KUSER_MAJOR       0x26cu /* NtMajorVersion, then NtMinorVersion */
#define FIRST_BUILD_OF_10 10240u
#define BUILD_MOST        0xffffu

/* ------------------------------------------------------------------ which build */

/* What the shared page says: the build from Windows 10 on; before, the release of the minor version unless
 * the header already has one of that release. 0: unknown. */
static uint32_t shared_page_build(const lhi_space *space, uint32_t header_build)
{
    uint8_t version[8] = {0};
    uint8_t build[4] = {0};
    uint64_t at = 0;
    if (lhi_read(space, KUSER + KUSER_MAJOR, version, sizeof version, &at) != LH_PRESENT ||
        lhi_read(space, KUSER + KUSER_BUILD, build, sizeof build, &at) != LH_PRESENT)
        return 0;
    uint32_t number = lhi_u32(build) & BUILD_MOST;
    if (lhi_u32(version) == 10)
        return number >= FIRST_BUILD_OF_10 ? number : 0;
    if (lhi_u32(version) != 6)
        return 0;
    switch (lhi_u32(version + 4)) {
    case 1:
        return header_build == 7600 ? 7600 : 7601;
    case 2:
        return 9200;
    case 3:
        return 9600;
    default:
        return 0;
    }
}

/* The third number of a version "10.0.19041.804"; 0: none. */
static uint32_t version_build(const char *version)
{
    uint32_t dots = 0;
    uint32_t number = 0;
    for (const char *p = version; *p && dots < 3; p++) {
        if (*p == '.')
            dots++;
        else if (dots == 2 && *p >= '0' && *p <= '9' && number <= BUILD_MOST)
            number = number * 10 + (uint32_t)(*p - '0');
    }
    return dots >= 2 && number <= BUILD_MOST ? number : 0;
}

/* The header's build can be a lie (LiveKD writes 9200: facts dump-formats 1.2): it counts only where NT
 * itself can't be asked. The image's version comes first for the layout, since a release like 19045 runs the
 * kernel of 19041; the shared page comes first for the name of the build. */
static void choose_layout(lh_kernel *kernel, const lhi_pdb_identity *pdb)
{
    const uint32_t header = lhi_dump_header(kernel->dump)->build;
    const uint32_t shared = shared_page_build(&kernel->space, header);
    const uint32_t image = version_build(kernel->nt_version);
    const uint8_t *guid = pdb ? pdb->guid : NULL;
    uint32_t age = pdb ? pdb->age : 0;
    kernel->build = shared ? shared : image ? image : header;
    kernel->layout_build = image ? image : kernel->build;
    lhi_layout_choose(kernel->layout_build, guid, age, &kernel->row);
    if (kernel->row.layout.basis == LHI_LAYOUT_STABLE && kernel->layout_build != kernel->build) {
        kernel->layout_build = kernel->build;
        lhi_layout_choose(kernel->build, guid, age, &kernel->row);
    }
    /* The tables are of x64 kernels. */
    if (lhi_dump_header(kernel->dump)->machine == LHI_MACHINE_ARM64)
        lhi_layout_arm64(kernel->build, &kernel->row);
    kernel->layout = &kernel->row.layout;
}

/* ------------------------------------------------------------------ nt and the modules */

/* Only LH_ERR_NO_MEMORY fails. Keeps what is there already when the new walk finds less. */
static lh_status read_modules(lh_kernel *kernel, uint64_t list_head, lh_error *err)
{
    const lhi_module_sources sources = {&kernel->space, kernel->layout, list_head,
                                        kernel->kdbg.unloaded_drivers, kernel->kdbg.last_unloaded};
    const lhi_triage *triage = lhi_dump_triage(kernel->dump);
    lhi_modules modules = {0};
    lh_status status = lhi_modules_read(&sources, &modules, err);
    if (status == LH_OK && triage)
        status = lhi_triage_modules(triage, &modules, err);
    if (status != LH_OK)
        return status;
    if (modules.loaded >= kernel->modules.loaded) {
        lhi_modules_free(&kernel->modules);
        kernel->modules = modules;
    } else {
        lhi_modules_free(&modules);
    }
    return LH_OK;
}

static bool is_nt_name(const char *name)
{
    /* File names of NT's images, by processor and paging (facts E.1, H.1). */
    static const char *const names[] = {"ntoskrnl.exe", "ntkrnlmp.exe", "ntkrla57.exe"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

/* Opens NT's image: the module at KernBase, else the one with its name, else what lies at KernBase. */
static void open_nt(lh_kernel *kernel, lhi_pdb_identity *pdb, bool *pdb_known)
{
    const uint64_t kernel_base = kernel->kdbg.kernel_base;
    const lhi_module *found = kernel_base ? lhi_module_at(&kernel->modules, kernel_base) : NULL;
    uint64_t base = kernel_base;
    uint64_t span = 0;
    for (size_t i = 0; i < kernel->modules.loaded && !found; i++) {
        if (is_nt_name(kernel->modules.items[i].name))
            found = &kernel->modules.items[i];
    }
    if (found) {
        base = found->base;
        span = found->size;
    }
    *pdb_known = false;
    lh_absence absence = base ? lhi_image_open(&kernel->space, base, span, &kernel->nt) : LH_ABSENT_LAYOUT;
    kernel->nt_known = absence == LH_PRESENT;
    if (kernel_base == 0 && (absence == LH_ABSENT_NOT_MAPPED || absence == LH_ABSENT_LAYOUT))
        kernel->kdbg.kernel_base = base; /* all that there is of it is its record */
    if (!kernel->nt_known)
        return;
    *pdb_known = lhi_image_pdb(&kernel->nt, pdb) == LH_PRESENT;
    if (lhi_image_version(&kernel->nt, kernel->nt_version) != LH_PRESENT)
        kernel->nt_version[0] = 0;
}

bool lhi_is_nt(const lh_kernel *kernel, const lhi_module *module)
{
    return module && kernel->nt_known && module->base == kernel->nt.base;
}

uint64_t lhi_kernel_global(const lh_kernel *kernel, lhi_global which)
{
    const uint32_t *globals = kernel->layout->globals;
    if (!kernel->nt_known || !globals || globals[which] == 0 || globals[which] >= kernel->nt.size_of_image)
        return 0;
    return kernel->nt.base + globals[which];
}

/* What the debugger block does not say, the very kernel's table of globals may. */
static void fill_from_globals(lh_kernel *kernel)
{
    lhi_kdbg *kdbg = &kernel->kdbg;
    if (!kdbg->known && lhi_kernel_global(kernel, LHI_G_KdDebuggerDataBlock)) {
        lhi_kdbg other;
        lhi_kdbg_read(&kernel->space, lhi_kernel_global(kernel, LHI_G_KdDebuggerDataBlock), &other);
        if (other.known)
            *kdbg = other;
    }
    const struct {
        uint64_t *field;
        lhi_global which;
    } fields[] = {
        {&kdbg->loaded_module_list, LHI_G_PsLoadedModuleList},
        {&kdbg->active_process_head, LHI_G_PsActiveProcessHead},
        {&kdbg->processor_block, LHI_G_KiProcessorBlock},
        {&kdbg->unloaded_drivers, LHI_G_MmUnloadedDrivers},
        {&kdbg->last_unloaded, LHI_G_MmLastUnloadedDriver},
        {&kdbg->pfn_database, LHI_G_MmPfnDatabase},
        {&kdbg->bugcheck_data, LHI_G_KiBugCheckData},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (*fields[i].field == 0)
            *fields[i].field = lhi_kernel_global(kernel, fields[i].which);
    }
    if (kdbg->kernel_base == 0 && kernel->nt_known)
        kdbg->kernel_base = kernel->nt.base;
}

static lh_status read_everything(lh_kernel *kernel, lh_error *err)
{
    const lh_dump_info *header = lhi_dump_header(kernel->dump);
    lhi_pdb_identity pdb = {0};
    bool pdb_known = false;
    lh_status status = LH_OK;
    /* The first fields of a list entry are the same in every build, so any layout finds NT; its identity then
     * chooses the layout for all the rest. */
    choose_layout(kernel, NULL);
    lhi_kdbg_read(&kernel->space, header->debugger_data_block, &kernel->kdbg);
    status = read_modules(kernel, header->loaded_module_list, err);
    if (status == LH_OK && !kernel->modules.complete && kernel->kdbg.loaded_module_list &&
        kernel->kdbg.loaded_module_list != header->loaded_module_list)
        status = read_modules(kernel, kernel->kdbg.loaded_module_list, err);
    if (status != LH_OK)
        return status;
    open_nt(kernel, &pdb, &pdb_known);
    const uint16_t stamp = kernel->row.offsets[LHI_F_KLDR_DATA_TABLE_ENTRY_TimeDateStamp];
    const lhi_kdbg before = kernel->kdbg;
    choose_layout(kernel, pdb_known ? &pdb : NULL);
    fill_from_globals(kernel);
    if (header->machine != LHI_MACHINE_ARM64) /* what it probes by are x64 objects */
        lhi_layout_probe(kernel);
    /* Again with the right layout (the time stamp's place) and with addresses that only now are known. */
    if (kernel->row.offsets[LHI_F_KLDR_DATA_TABLE_ENTRY_TimeDateStamp] != stamp ||
        kernel->kdbg.unloaded_drivers != before.unloaded_drivers ||
        kernel->kdbg.last_unloaded != before.last_unloaded) {
        uint64_t head = kernel->modules.loaded ? kernel->modules.list_head : kernel->kdbg.loaded_module_list;
        status = read_modules(kernel, head, err);
    }
    if (status == LH_OK && kernel->nt_known)
        status = lhi_exports_read(&kernel->nt, &kernel->exports, err);
    return status;
}

/* ------------------------------------------------------------------ life */

lh_status lh_kernel_open(lh_dump *dump, lh_kernel **out, lh_error *err)
{
    lh_kernel *kernel = NULL;
    lh_status status = LH_OK;
    if (!dump)
        return lhi_fail_argument(err, "dump", "is NULL");
    if (!out)
        return lhi_fail_argument(err, "out", "is NULL");
    kernel = lhi_calloc(1, sizeof *kernel);
    if (!kernel)
        return lhi_fail_memory(err);
    atomic_init(&kernel->references, 1);
    kernel->probing.pool_marks = true;
    kernel->dump = lhi_dump_retain(dump);
    lhi_space_init(&kernel->space, lhi_dump_pages(dump), lhi_dump_header(dump)->directory_table_base);
    kernel->space.blocks = lhi_dump_blocks(dump);
    uint64_t before = lhi_dump_read_failures(dump);
    status = read_everything(kernel, err);
    if (status == LH_OK)
        status = lhi_dump_check_reads(dump, before, err);
    if (status != LH_OK) {
        lh_kernel_release(kernel);
        return status;
    }
    *out = kernel;
    return LH_OK;
}

lh_kernel *lhi_kernel_retain(lh_kernel *kernel)
{
    atomic_fetch_add_explicit(&kernel->references, 1, memory_order_relaxed);
    return kernel;
}

void lh_kernel_release(lh_kernel *kernel)
{
    if (!kernel || atomic_fetch_sub_explicit(&kernel->references, 1, memory_order_acq_rel) != 1)
        return;
    lhi_exports_free(&kernel->exports);
    lhi_modules_free(&kernel->modules);
    lh_dump_release(kernel->dump);
    lhi_free(kernel);
}
