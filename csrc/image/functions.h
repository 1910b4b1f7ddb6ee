/* The functions of an image by its exception directory (.pdata), and their x64 unwind data, decoded. */
#ifndef LHI_IMAGE_FUNCTIONS_H
#define LHI_IMAGE_FUNCTIONS_H

#include "image/image.h"

/* A RUNTIME_FUNCTION: all RVAs, and begin < end <= the image's span. */
typedef struct lhi_function {
    uint32_t begin, end;
    uint32_t unwind; /* of its UNWIND_INFO */
} lhi_function;

/* The row whose range contains an RVA; a row that stands for another one (bit 0 of UnwindData) keeps its
 * range and takes the other's unwind data. LHI_NO: no row does, so the code there is a leaf function or none.
 * LHI_UNKNOWN: *why and *at tell what is missing, LH_ABSENT_LAYOUT: the table contradicts itself. */
lhi_answer lhi_function_at(const lhi_image *image, uint32_t rva, lhi_function *out, lh_absence *why,
                           uint64_t *at);

/* False: the image has no table of functions. */
bool lhi_image_lists_functions(const lhi_image *image);

/* What one step of a prologue did. */
typedef enum lhi_unwind_kind {
    LHI_UNWIND_PUSH,          /* pushed a register */
    LHI_UNWIND_ALLOC,         /* took `value` bytes of the stack */
    LHI_UNWIND_SET_FRAME,     /* set the frame register */
    LHI_UNWIND_SAVE,          /* stored a register at frame base + `value` */
    LHI_UNWIND_SAVE_XMM,      /* stored an XMM register there */
    LHI_UNWIND_MACHINE_FRAME, /* no instruction: the processor pushed RIP, CS, EFLAGS, RSP and SS */
} lhi_unwind_kind;
typedef struct lhi_unwind_op {
    lhi_unwind_kind kind;
    uint8_t at;      /* offset from the function's begin, behind the instruction */
    uint8_t reg;     /* by its encoding */
    bool error_code; /* of a machine frame: an error code lies in front of RIP */
    uint32_t value;
} lhi_unwind_op;

#define LHI_UNWIND_MOST 255u /* CountOfCodes is a byte */

typedef struct lhi_unwind_info {
    uint8_t version; /* 1 or 2 */
    uint8_t prologue;
    uint8_t frame_register; /* 0: none */
    uint32_t frame_offset;  /* bytes */
    size_t op_count;
    lhi_unwind_op ops[LHI_UNWIND_MOST]; /* in the order they are undone */
    /* Version 2: where the epilogues begin (their pops and the return), as distances from the end. */
    uint32_t epilogue_size;
    size_t epilogue_count;
    uint32_t epilogues[LHI_UNWIND_MOST];
    bool chained; /* what `parent` did comes before it */
    lhi_function parent;
} lhi_unwind_info;

/* LH_PRESENT, why a byte is absent, or LH_ABSENT_LAYOUT: damaged, or of a version above 2. */
lh_absence lhi_unwind_read(const lhi_image *image, uint32_t rva, lhi_unwind_info *out, uint64_t *at);

/* The function that a row is a part of: chained rows are followed to the one that chains to none. */
lh_absence lhi_function_primary(const lhi_image *image, const lhi_function *part, lhi_function *out,
                                uint64_t *at);

/* Chains and references longer than this are taken for circles. */
#define LHI_CHAIN_MOST 32u

#endif
