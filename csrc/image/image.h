/* A PE32+ image as it lies mapped in kernel memory: headers, directories, exports, imports, version, PDB
 * identity. */
#ifndef LHI_IMAGE_IMAGE_H
#define LHI_IMAGE_IMAGE_H

#include "space/space.h"

typedef struct lhi_directory {
    uint32_t rva, size;
} lhi_directory;

typedef struct lhi_image {
    const lhi_space *space;
    uint64_t base;
    uint16_t machine;
    uint16_t section_count;
    uint32_t timestamp, size_of_image, checksum, entry;
    uint32_t span;     /* no RVA at or above it is read */
    uint32_t sections; /* RVA of the section headers */
    lhi_directory directories[16];
} lhi_image;

/* Three-valued: an answer that needs a page which is not there is LHI_UNKNOWN. */
typedef enum lhi_answer { LHI_NO = 0, LHI_YES = 1, LHI_UNKNOWN = 2 } lhi_answer;

/* Reads the headers at `base`. LH_PRESENT and *out, or why not; LH_ABSENT_LAYOUT means the bytes are there
 * and are no PE32+ image. `span` bounds every RVA (size from the module list; 0: the image's own size). */
lh_absence lhi_image_open(const lhi_space *space, uint64_t base, uint64_t span, lhi_image *out);

/* File version "1.2.3.4" of the version resource (VS_FIXEDFILEINFO). LH_ABSENT_NOT_MAPPED: has none;
 * LH_ABSENT_LAYOUT: damaged. */
lh_absence lhi_image_version(const lhi_image *image, char out[32]);

typedef struct lhi_pdb_identity {
    uint8_t guid[16]; /* as stored */
    uint32_t age;
    char name[64]; /* escaped ASCII file name, no folder; "" where it can't be read */
} lhi_pdb_identity;
/* LH_ABSENT_NOT_MAPPED: has no CodeView entry; LH_ABSENT_LAYOUT: damaged. */
lh_absence lhi_image_pdb(const lhi_image *image, lhi_pdb_identity *out);

/* Exports by name, and by address for naming. Forwarders are left out. Bounded by the directory's size. */
typedef struct lhi_export {
    uint64_t address;
    uint32_t name; /* offset in `names` */
} lhi_export;
typedef struct lhi_exports {
    lhi_export *items; /* ascending address, then name */
    size_t count;
    char *names;
    uint32_t *by_name; /* indices, ascending strcmp */
    bool complete; /* false: pages of the table are not in the dump, or it is damaged, or odd names were left
                      out */
} lhi_exports;
lh_status lhi_exports_read(const lhi_image *image, lhi_exports *out,
                           lh_error *err);                                  /* only LH_ERR_NO_MEMORY fails */
const char *lhi_exports_name(const lhi_exports *exports, uint64_t address); /* exact address; NULL */
uint64_t lhi_exports_address(const lhi_exports *exports, const char *name); /* 0: none */
void lhi_exports_free(lhi_exports *exports);

/* Does the image import one of the named routines of the kernel? By the import table's names where they are
 * still in memory (INIT is often discarded), else by comparing the import address table's values with the
 * kernel's exports. *which (nullable) gets the first name found, a pointer out of `names`. LHI_NO only when
 * all that could say yes was read. `kernel_exports` may be NULL. */
lhi_answer lhi_image_imports(const lhi_image *image, const char *const *names, size_t count,
                             const lhi_exports *kernel_exports, const char **which);

/* False: it has neither an import table nor an address table, and never had. */
bool lhi_image_has_imports(const lhi_image *image);
/* Are nt and hal all that it imports from? By the import table's names; LHI_UNKNOWN where one is not there.
 */
lhi_answer lhi_image_imports_nt_alone(const lhi_image *image);

/* IMAGE_SCN_MEM_EXECUTE and IMAGE_SCN_MEM_WRITE, PE format. */
#define LHI_SECTION_EXECUTE 0x20000000u
#define LHI_SECTION_WRITE   0x80000000u
typedef struct lhi_section {
    char name[16]; /* escaped */
    uint32_t rva, size, flags;
} lhi_section;
/* Section `index`, from 0. LH_ABSENT_NOT_MAPPED: there are not so many; else its header is not there. */
lh_absence lhi_image_section(const lhi_image *image, uint32_t index, lhi_section *out);
/* The section an address lies in. false, *out untouched: none, or its header is not there. */
bool lhi_image_section_of(const lhi_image *image, uint64_t va, lhi_section *out);
#define LHI_IMPORT_NAME 128u
/* The routine of the kernel that the slot at an RVA was bound to, by the import table's names: what a driver
 * meant to call, whatever stands in the slot now. false: no such slot, or the names are not there. */
bool lhi_image_import_name(const lhi_image *image, uint32_t slot, char out[LHI_IMPORT_NAME]);

#define LHI_IMPORT_FILE    256u /* a file's name has 255 characters at most (NTFS) */
#define LHI_IMPORT_ROUTINE 512u /* names that compilers decorate are long */
/* Calls `visit` for each routine that is imported by name and whose name, shorter than these, can be read:
 * the DLL's file name and the routine's, as they stand there, and the address of its slot in the address
 * table. */
typedef void lhi_import_visit(void *user, const char *dll, const char *name, uint64_t slot);
void lhi_image_each_import(const lhi_image *image, lhi_import_visit *visit, void *user);

/* A file's name as an import table has it, in any case, is this one, in lower case. */
bool lhi_import_is_of(const char *dll, const char *file);

/* Does the address lie in a section whose pages may be executed? LHI_NO also where it lies in none. */
lhi_answer lhi_image_is_code(const lhi_image *image, uint64_t va);

#endif
