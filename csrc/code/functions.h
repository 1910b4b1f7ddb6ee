/* The code of one image: its functions by .pdata, each with all its parts, and the code that no row
 * describes. */
#ifndef LHI_CODE_FUNCTIONS_H
#define LHI_CODE_FUNCTIONS_H

#include "code/decode.h"
#include "nt/kernel.h"

/* A stretch of code. Parts of one function (chained unwind data) have the same entry. */
typedef struct lhi_stretch {
    uint32_t entry, begin, end; /* RVAs */
    uint32_t unwind;            /* of its row's unwind data; 0: none */
    bool leaf;                  /* no row of .pdata: leaf functions, thunks, tables of jumps, padding */
} lhi_stretch;

#define LHI_CODE_SECTIONS 96u
typedef struct lhi_code_section {
    uint32_t begin, end;
    bool discardable;
} lhi_code_section;

typedef struct lhi_code_image {
    const lh_kernel *kernel;
    lhi_image image;
    lhi_code_section sections[LHI_CODE_SECTIONS]; /* those that may be executed */
    size_t section_count;
    lhi_stretch *stretches; /* by entry, then begin */
    size_t count;
    bool table_whole; /* every row of .pdata was read and is sound */
    lh_absence absence;
    uint64_t absent_at;
} lhi_code_image;

/* LH_OK with *absence not LH_PRESENT: the image's headers are not there. Only LH_ERR_NO_MEMORY fails. Free it
 * whatever the answer. */
lh_status lhi_code_image_open(const lh_kernel *kernel, const lhi_module *module, lhi_code_image *out,
                              lh_absence *absence, lh_error *err);
void lhi_code_image_free(lhi_code_image *code);

/* The instructions of one function, ascending by address. */
#define LHI_BODY_MOST 65536u /* instructions; nt's largest function has about 30,000 */

/* One value of a jump's selector, and the instruction that it leads to. */
typedef struct lhi_table_entry {
    uint32_t target, value;
} lhi_table_entry;

/* A jump through a table; what selects the case is read in the same block. */
typedef struct lhi_table {
    size_t jump;         /* index */
    size_t first, count; /* of its cases, by target, then value */
} lhi_table;

/* What raises an exception in [from, to) makes the function go on at an instruction. */
typedef struct lhi_guard {
    uint64_t from, to;
    size_t target; /* index */
} lhi_guard;

typedef struct lhi_body {
    uint32_t entry;
    bool leaf;
    size_t first, next; /* its stretches */
    lhi_code *codes;
    uint8_t *leaders; /* 1: begins a block */
    size_t count, room;
    lhi_table *tables; /* ascending by jump */
    size_t table_count, table_room;
    lhi_table_entry *cases;
    size_t case_count, case_room;
    lhi_guard *guards;
    size_t guard_count, guard_room;
    bool strange_handler; /* it has a handler of which it is not known where it goes on */
    uint64_t missing;     /* bytes of it that are not there */
    bool discarded;       /* of a section that was given back after the driver had started */
    lh_absence absence;   /* of the first byte that is not there */
    uint64_t absent_at;
    uint64_t garbled; /* bytes that begin no instruction */
    bool cut;         /* has more instructions than are looked at */
} lhi_body;

/* Reads the function whose first stretch has this index; *next gets the index behind its last. `body` may be
 * used again for another function. Only LH_ERR_NO_MEMORY fails. */
lh_status lhi_body_read(const lhi_code_image *code, size_t first, lhi_body *body, size_t *next,
                        lh_error *err);
/* Index of the instruction that begins at an address; SIZE_MAX: none of this function. */
size_t lhi_body_find(const lhi_body *body, uint64_t address);
/* What lies in [from, to) is no code: it goes nowhere, and is not garbled. */
void lhi_body_take_data(const lhi_code_image *code, lhi_body *body, uint64_t from, uint64_t to);
/* An instruction that gives a register back the caller's value, as a function does before it returns. */
bool lhi_body_restores(const lhi_body *body, size_t index);
void lhi_body_free(lhi_body *body);

#endif
