/* lh_kernel_locks_json and lh_kernel_locks_text: which drivers are asked, and what stops the work. */
#include <string.h>

#include "base/alloc.h"
#include "dump/header.h"
#include "report/locks.h"
#include "source/os.h"

#define POLL_SECONDS 0.05

/* One question: what it is about, who watches it, and its tree. */
typedef struct inquiry {
    lh_kernel *kernel;
    const char *module; /* NULL: all that could lock */
    lh_investigate_options options;
    double deadline, next_poll;
    uint64_t done, total; /* bytes of images */
    lhi_routines routines;
    lhi_names names;
    lhi_arena arena;
    lhi_node *root, *left_out;
} inquiry;

static lh_status poll(void *user, lh_error *err)
{
    inquiry *q = user;
    double now = lhi_os_now();

    if (q->options.cancel != NULL && lh_cancel_is_set(q->options.cancel))
        return lhi_fail(err, LH_ERR_CANCELLED, "cancelled while code was read");
    if (q->deadline > 0 && now > q->deadline)
        return lhi_fail(err, LH_ERR_TIMEOUT, "the deadline passed while code was read");
    if (q->options.progress != NULL && now >= q->next_poll) {
        q->next_poll = now + POLL_SECONDS;
        if (!q->options.progress(q->options.progress_user, q->done, q->total))
            return lhi_fail(err, LH_ERR_CANCELLED, "stopped by the progress callback");
    }
    return LH_OK;
}

/* One that may have something to show, and of which something is not in the dump. */
static void leave_out(inquiry *q, const lhi_module *module, lh_absence kind, uint64_t address)
{
    lhi_node *row = lhi_tree_object(&q->arena, q->left_out, NULL);

    lhi_tree_text(&q->arena, row, "module",
                  module->name_absence == LH_PRESENT ? lhi_arena_strdup(&q->arena, module->name) : NULL);
    lhi_tree_address(&q->arena, row, "base", module->base);
    lhi_tree_text(&q->arena, row, "kind", lh_absence_name(kind));
    lhi_tree_address(&q->arena, row, "address", address);
}

/* Routines by which a driver's code can take part; who looks routines up by name can call any. */
static bool could_lock(inquiry *q, const lhi_module *module)
{
    static const char *const names[] = {"MmProbeAndLockPages", "MmProbeAndLockProcessPages",
                                        "MmProbeAndLockSelectedPages", "MmUnlockPages",
                                        "MmGetSystemRoutineAddress"};
    lhi_image image = {0};

    if (lhi_is_nt(q->kernel, module))
        return false;
    const lh_absence absence = lhi_image_open(&q->kernel->space, module->base, module->size, &image);
    if (absence != LH_PRESENT) {
        leave_out(q, module, absence, module->base);
        return false;
    }
    return lhi_image_imports(&image, names, sizeof names / sizeof names[0], &q->kernel->exports, NULL) !=
           LHI_NO;
}

static bool is_asked(inquiry *q, const lhi_module *module)
{
    if (q->module == NULL)
        return could_lock(q, module);
    if (strcmp(q->module, "nt") == 0)
        return lhi_is_nt(q->kernel, module);
    size_t length = strlen(q->module);
    for (size_t i = 0; i < length; i++) {
        char c = q->module[i];
        if ((char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c) != module->name[i])
            return false;
    }
    return module->name[length] == 0 || strcmp(module->name + length, ".sys") == 0;
}

/* Drivers that have something to show; one that was asked for by name is shown whatever it has. */
static bool is_shown(const inquiry *q, const lhi_profile *profile)
{
    return q->module != NULL || profile->counts[LHI_ROLE_LOCK] != 0 || profile->counts[LHI_ROLE_UNLOCK] != 0;
}

static lh_status look_at(inquiry *q, const lhi_module *module, lhi_node *list, lh_error *err)
{
    const lhi_watch watch = {poll, q};
    lhi_profile profile = {0};
    lh_status status = lhi_profile_read(&q->routines, module, &watch, &profile, err);

    if (status == LH_OK && is_shown(q, &profile))
        (void)lhi_report_profile(&q->arena, list, &q->names, module, &profile);
    else if (status == LH_OK && profile.absence == LH_PRESENT && profile.gap != LH_PRESENT)
        leave_out(q, module, profile.gap, profile.gap_at);
    lhi_profile_free(&profile);
    q->done += module->size;
    return status;
}

static lh_status look_at_modules(inquiry *q, lh_error *err)
{
    const lhi_modules *modules = &q->kernel->modules;
    lhi_node *list = lhi_tree_list(&q->arena, q->root, "modules");
    q->left_out = lhi_tree_list(&q->arena, q->root, "left_out");
    lhi_tree_bool(&q->arena, q->root, "modules_complete", modules->complete);
    bool *asked = lhi_calloc(modules->loaded + 1, sizeof *asked);
    bool any = false;
    lh_status status = LH_OK;

    if (asked == NULL)
        return lhi_fail_memory(err);
    for (size_t i = 0; i < modules->loaded; i++) {
        asked[i] = is_asked(q, &modules->items[i]);
        any = any || asked[i];
        q->total += asked[i] ? modules->items[i].size : 0;
    }
    if (q->module != NULL && !any)
        status = lhi_fail_argument(
            err, "module", "no loaded module has this name%s",
            modules->complete ? "" : ", and the list of modules is not wholly in this dump");
    for (size_t i = 0; status == LH_OK && i < modules->loaded; i++)
        if (asked[i])
            status = look_at(q, &modules->items[i], list, err);
    lhi_free(asked);
    return status;
}

static void begin(inquiry *q)
{
    q->root = lhi_report_start(&q->arena, "lockhound.locks/1");
    lhi_node *path =
        lhi_tree_text(&q->arena, q->root, "path",
                      q->options.path != NULL ? lhi_arena_strdup(&q->arena, q->options.path) : NULL);
    if (path != NULL)
        path->personal = true;
}

static lh_status check(const lh_kernel *kernel, char *const *out, lh_error *err)
{
    if (kernel == NULL || out == NULL)
        return lhi_fail_argument(err, kernel == NULL ? "kernel" : "out", "is NULL");
    if (!lhi_code_available())
        return lhi_fail(err, LH_ERR_UNSUPPORTED, "this library was built without Zydis, which decodes code");
    if (lhi_dump_header(kernel->dump)->machine != LHI_MACHINE_X64)
        return lhi_fail(err, LH_ERR_UNSUPPORTED, "only x64 code is decoded by this version");
    return LH_OK;
}

static lh_status inquire(lh_kernel *kernel, const char *module, const lh_investigate_options *options,
                         lhi_view *view, uint32_t flags, char **out, size_t *length, lh_error *err)
{
    lh_status status = check(kernel, out, err);
    if (status != LH_OK)
        return status;
    inquiry *q = lhi_calloc(1, sizeof *q);
    if (q == NULL)
        return lhi_fail_memory(err);
    q->kernel = kernel;
    q->module = module;
    q->names.kernel = kernel;
    status = lhi_report_options(options, &q->options, err);
    double seconds = q->options.limits.seconds;
    q->deadline = seconds > 0 ? lhi_os_now() + seconds : 0;
    uint64_t before = lhi_dump_read_failures(kernel->dump);
    if (status == LH_OK)
        status = lhi_routines_find(kernel, &q->routines, err);
    if (status == LH_OK) {
        begin(q);
        status = look_at_modules(q, err);
    }
    if (status == LH_OK)
        status = lhi_dump_check_reads(kernel->dump, before, err);
    if (status == LH_OK && q->arena.failed)
        status = lhi_fail_memory(err);
    if (status == LH_OK)
        status = lhi_report_view(q->root, view, flags, out, length, err);
    lhi_names_free(&q->names);
    lhi_routines_free(&q->routines);
    lhi_arena_free(&q->arena);
    lhi_free(q);
    return status;
}

lh_status lh_kernel_locks_json(lh_kernel *kernel, const char *module, const lh_investigate_options *options,
                               uint32_t flags, char **out, size_t *length, lh_error *err)
{
    return inquire(kernel, module, options, lhi_report_json, flags, out, length, err);
}

lh_status lh_kernel_locks_text(lh_kernel *kernel, const char *module, const lh_investigate_options *options,
                               uint32_t flags, char **out, size_t *length, lh_error *err)
{
    return inquire(kernel, module, options, lhi_report_locks_text, flags, out, length, err);
}
