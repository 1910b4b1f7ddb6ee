/* One instruction of a driver's code: the one door to the decoder. x64 by Zydis; other processors fit behind
 * it. */
#ifndef LHI_CODE_DECODE_H
#define LHI_CODE_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LHI_CODE_LONGEST 15u /* bytes of one instruction (Intel SDM 2.3.11) */
#define LHI_CODE_TEXT    96u

/* General registers by their numbers in the encoding: 0 rax, 1 rcx, 2 rdx, 3 rbx, 4 rsp, 5 rbp, 6 rsi, 7 rdi,
 * 8 r8 to 15 r15. */
enum { LHI_RAX = 0, LHI_RCX, LHI_RDX, LHI_RBX, LHI_RSP, LHI_RBP, LHI_RSI, LHI_RDI, LHI_R8, LHI_R9, LHI_R10 };
#define LHI_NO_REGISTER 0xffu

typedef enum lhi_code_kind {
    LHI_CODE_OTHER = 0,
    LHI_CODE_CALL,
    LHI_CODE_JUMP,
    LHI_CODE_BRANCH, /* conditional jump */
    LHI_CODE_RETURN,
    LHI_CODE_STOP /* goes no further: breakpoint, fast fail, ud2, hlt */
} lhi_code_kind;

/* Where a call, jump or branch goes. */
typedef enum lhi_code_target {
    LHI_TARGET_NONE = 0,
    LHI_TARGET_DIRECT,   /* to `target` */
    LHI_TARGET_SLOT,     /* to the address that stands at `target` */
    LHI_TARGET_REGISTER, /* to the address in `source` */
    LHI_TARGET_UNKNOWN   /* through memory whose address is not in the code */
} lhi_code_target;

/* What it does with values, as far as following them needs to know; anything else is LHI_DOES_OTHER. */
typedef enum lhi_code_does {
    LHI_DOES_OTHER = 0,
    LHI_DOES_NOTHING,   /* writes no general register and no memory (flags may change) */
    LHI_DOES_COPY,      /* destination = source, 64 bits */
    LHI_DOES_COPY_PART, /* destination = source, its lowest `width` bytes, extended */
    LHI_DOES_CONSTANT,  /* destination = value; of its lowest byte alone where width is 1 */
    LHI_DOES_ADDRESS,   /* destination = base + displacement, or the address `place`; its lowest `width` bytes
                         */
    LHI_DOES_LOAD,      /* destination = 64 bits of memory */
    LHI_DOES_LOAD_PART, /* destination = fewer bits of memory, extended */
    LHI_DOES_STORE,     /* memory = source, 64 bits */
    LHI_DOES_STORE_PART,  /* memory = source, its lower bits */
    LHI_DOES_STORE_VALUE, /* memory = value */
    LHI_DOES_ADD,         /* destination += value, in its lowest `width` bytes */
    LHI_DOES_TAKE,        /* destination -= value, likewise */
    LHI_DOES_SUBTRACT,    /* destination -= source */
    LHI_DOES_SUM,         /* destination += source */
    LHI_DOES_INDEX,       /* destination = an address made with an index */
    LHI_DOES_MASK,        /* destination &= value */
    LHI_DOES_BOTH,        /* destination &= source, in its lowest `width` bytes */
    LHI_DOES_SET,         /* lowest byte of destination = whether the condition holds */
    LHI_DOES_CHOOSE,      /* destination = source where the condition holds; source may be memory */
    LHI_DOES_PUSH,        /* of `source`; of something else where that is LHI_NO_REGISTER */
    LHI_DOES_POP,         /* to `destination`, likewise */
    LHI_DOES_COMPARE, /* flags of `source` (memory where LHI_NO_REGISTER) minus `other`, else minus value */
    LHI_DOES_TEST     /* flags of the same & `other`, else & value */
} lhi_code_does;

#define LHI_NO_CONDITION 0xffu

typedef struct lhi_code {
    uint64_t address;
    uint8_t length;
    lhi_code_kind kind;
    lhi_code_target targets;
    lhi_code_does does;
    uint8_t condition;      /* by its number in the encoding: 4 zero, 5 not zero, 8 negative ... */
    bool extends_sign;      /* of a part that is loaded or copied */
    uint64_t target;        /* see lhi_code_target */
    uint32_t written, read; /* bit n: general register n, or a part of it */
    bool flags;             /* changes a flag */
    bool tells; /* zero and sign flag are those of what it gives in `destination`, in its lowest `width` bytes
                 */
    bool has_memory, reads_memory, writes_memory; /* by an operand that is not the stack of push, pop, call */
    uint8_t base, index, scale;                   /* LHI_NO_REGISTER: none */
    bool has_place;                               /* rip-relative or absolute: the operand lies at `place` */
    int64_t displacement;                         /* of a memory operand that is not at a place */
    uint64_t place;
    uint8_t width; /* bytes of the memory operand, or of what is set or compared */
    uint8_t destination, source, other;
    uint8_t selects; /* register that selects the entry of a table of jumps which is read here: found later */
    uint64_t value;
    uint32_t
        operation; /* of LHI_DOES_OTHER: equal for what gives equal results for equal registers; 0: unknown */
} lhi_code;

/* Whether this library was built with a decoder. */
bool lhi_code_available(void);
/* The instruction at the start of `bytes`. false: none that a processor in 64-bit mode runs, cut off, or no
 * decoder. */
bool lhi_code_decode(const uint8_t *bytes, size_t size, uint64_t address, lhi_code *out);
/* The same in the words of Intel's syntax; addresses are absolute. "" where it can't be decoded. */
void lhi_code_text(const uint8_t *bytes, size_t size, uint64_t address, char out[LHI_CODE_TEXT]);

#endif
