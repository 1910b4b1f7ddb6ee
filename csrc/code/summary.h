/* What a function of a driver does to the MDLs in its arguments, and what it gives: for those who call it. */
#ifndef LHI_CODE_SUMMARY_H
#define LHI_CODE_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum lhi_effect {
    LHI_EFFECT_UNKNOWN, /* somebody may keep it, unlock it, free it */
    LHI_EFFECT_NONE,
    LHI_EFFECT_IS_NULL, /* nothing: there is none */
    LHI_EFFECT_LOCKS,
    LHI_EFFECT_UNLOCKS,
    LHI_EFFECT_FREES,
    LHI_EFFECT_RELEASES /* unlocks and frees */
} lhi_effect;

typedef enum lhi_need { LHI_NEEDS_NOTHING, LHI_NEEDS_LOCKED, LHI_NEEDS_UNLOCKED } lhi_need;

typedef enum lhi_gives {
    LHI_GIVES_ANYTHING,
    LHI_GIVES_NUMBER,
    LHI_GIVES_UNLOCKED, /* an MDL that was made there and that nobody else knows of */
    LHI_GIVES_LOCKED
} lhi_gives;

/* What is known of the number that is given, of its lowest 32 bits. */
enum {
    LHI_TELLS_NEGATIVE = 1,
    LHI_TELLS_POSITIVE = 2 /* or 0 */,
    LHI_TELLS_ZERO = 4,
    LHI_TELLS_NOT_ZERO = 8
};

#define LHI_EFFECTS 4u /* arguments in registers */

/* What it does behind an argument that is a pointer, and that it keeps nowhere. */
enum {
    LHI_REACH_READS = 1,
    LHI_REACH_WRITES = 2, /* and not only what is told */
    LHI_REACH_BELOW = 4   /* in front of it too */
};

/* What it leaves behind a pointer; something unknown where that `gives` anything. */
typedef struct lhi_left {
    uint8_t which; /* argument */
    uint8_t width; /* bytes */
    uint8_t gives; /* lhi_gives */
    int32_t offset;
    uint64_t number;
} lhi_left;

#define LHI_LEFT 8u

/* Ways through the function that end alike. */
typedef struct lhi_ending {
    uint8_t effects[LHI_EFFECTS]; /* lhi_effect */
    uint8_t needs[LHI_EFFECTS];   /* lhi_need: the MDL said so itself */
    uint8_t gives;                /* lhi_gives */
    uint8_t tells;
    uint64_t number;
    uint8_t reaches[LHI_EFFECTS]; /* LHI_REACH_ */
    uint8_t left_count;
    lhi_left left[LHI_LEFT]; /* by argument, offset and width */
} lhi_ending;

#define LHI_ENDINGS 6u

typedef struct lhi_summary {
    bool known; /* every way was followed, and they end in these */
    size_t count;
    lhi_ending endings[LHI_ENDINGS];
} lhi_summary;

/* false: it has no room for one more. */
bool lhi_ending_add_left(lhi_ending *ending, const lhi_left *out);
/* Joins it with those that end alike. */
void lhi_summary_add(lhi_summary *summary, const lhi_ending *outcome);
/* It does something to an MDL that those who call it should know. */
bool lhi_summary_matters(const lhi_summary *summary);

#endif
