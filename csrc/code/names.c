/* Naming addresses by modules and their exports, which are read when first asked for. */
#include "code/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The exports of a loaded module; NULL where they can't be read or there is no room for another table. */
static lh_status exports_of(lhi_names *names, const lhi_module *module, const lhi_exports **out,
                            lh_error *err)
{
    lhi_image image = {0};
    lh_status status = LH_OK;

    *out = NULL;
    if (lhi_is_nt(names->kernel, module)) {
        *out = &names->kernel->exports;
        return LH_OK;
    }
    for (size_t i = 0; i < names->count; i++) {
        if (names->tables[i].base == module->base) {
            *out = &names->tables[i].exports;
            return LH_OK;
        }
    }
    if (names->count == LHI_CODE_TABLES ||
        lhi_image_open(&names->kernel->space, module->base, module->size, &image) != LH_PRESENT)
        return LH_OK;
    status = lhi_exports_read(&image, &names->tables[names->count].exports, err);
    if (status != LH_OK)
        return status;
    names->tables[names->count].base = module->base;
    *out = &names->tables[names->count++].exports;
    return LH_OK;
}

lh_status lhi_names_export(lhi_names *names, uint64_t address, const char **out, lh_error *err)
{
    const lhi_module *module = lhi_module_at(&names->kernel->modules, address);
    const lhi_exports *exports = NULL;
    lh_status status = LH_OK;

    *out = NULL;
    if (module == NULL)
        return LH_OK;
    status = exports_of(names, module, &exports, err);
    if (status == LH_OK && exports != NULL)
        *out = lhi_exports_name(exports, address);
    return status;
}

/* File name without its extension, as a debugger has it. */
static int stem(const char *name)
{
    const char *dot = strrchr(name, '.');

    return (int)(dot != NULL && dot != name ? (size_t)(dot - name) : strlen(name));
}

lh_status lhi_names_find(lhi_names *names, uint64_t address, char out[LHI_CODE_NAME], lh_error *err)
{
    const lhi_modules *modules = &names->kernel->modules;
    const lhi_module *module = lhi_module_at(modules, address);
    bool unloaded = module == NULL;
    const char *export = NULL;

    out[0] = 0;
    if (unloaded)
        module = lhi_module_unloaded_at(modules, address);
    if (module == NULL)
        return LH_OK;
    const char *name = module->name_absence == LH_PRESENT ? module->name : "a module without a name";
    uint64_t offset = address - module->base;
    if (unloaded) {
        snprintf(out, LHI_CODE_NAME, "<unloaded %s>+0x%" PRIx64, name, offset);
        return LH_OK;
    }
    lh_status status = lhi_names_export(names, address, &export, err);
    bool nt = lhi_is_nt(names->kernel, module);
    if (export != NULL)
        snprintf(out, LHI_CODE_NAME, "%.*s!%s", nt ? 2 : stem(name), nt ? "nt" : name, export);
    else
        snprintf(out, LHI_CODE_NAME, "%s+0x%" PRIx64, nt ? "nt" : name, offset);
    return status;
}

void lhi_names_free(lhi_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        lhi_exports_free(&names->tables[i].exports);
    names->count = 0;
}
