/* What is known at one place of a function, on one way to it: values in registers and in the frame, and MDLs.
 */
#ifndef LHI_CODE_STATE_H
#define LHI_CODE_STATE_H

#include "code/decode.h"
#include "code/facts.h"
#include "code/summary.h"

typedef enum lhi_value_kind {
    LHI_VALUE_UNKNOWN = 0,
    LHI_VALUE_NUMBER,
    LHI_VALUE_LOW_BYTE, /* only the lowest byte is known, and is n */
    LHI_VALUE_FRAME,    /* the stack pointer at the function's entry + n */
    LHI_VALUE_AROUND,   /* may point somewhere into the frame; n: what made it */
    LHI_VALUE_RESULT,   /* what instruction n gave; LHI_ARGUMENT + k: what the function was given */
    LHI_VALUE_INSIDE,   /* that, and `delta` added to it */
    LHI_VALUE_RANGE,    /* of ways that were joined at n: lies between `about` and `delta`, both included */
    LHI_VALUE_ANSWER,   /* 1 where n, by its key, has `condition` to `about`, else 0 */
    LHI_VALUE_FLAGS     /* MdlFlags of the MDL n; of them the bits in `about` */
} lhi_value_kind;

#define LHI_ARGUMENT 0x100000000ull
#define LHI_PART     0x200000000ull /* n of a part of some result: never an MDL's */
#define LHI_SEVERAL  0x400000000ull /* + register << 16: instruction n gave several */

typedef struct lhi_value {
    lhi_value_kind kind;
    uint8_t part;      /* of a result: its lowest bytes alone, with zeros above; 0: all */
    uint8_t join;      /* differed where ways were joined: 1 + the number of the join's bit; 0: did not;
                          LHI_JOIN_DOUBT: goes together with something that is not known */
    uint8_t condition; /* of an answer; of flags: lhi_locked_bit */
    uint8_t how;       /* of an answer: how it was asked for; of flags: the MDL's lhi_value_kind */
    uint64_t n;
    uint64_t about; /* of a result: equal for equal expressions, for what is asked about it more than once; 0:
                       none */
    uint64_t delta; /* added to that */
} lhi_value;

/* How an answer was asked for. */
enum { LHI_HOW_NUMBER = 1, LHI_HOW_MASKS = 2, LHI_HOW_TURNED = 4 };
/* What MDL_PAGES_LOCKED was when the flags were read. */
enum { LHI_BIT_CLEAR, LHI_BIT_SET, LHI_BIT_UNKNOWN };
#define LHI_FLAG_PAGES_LOCKED 0x0002u /* MDL_PAGES_LOCKED (wdm.h) */

typedef struct lhi_local { /* a stored value in the frame */
    int64_t offset;
    uint8_t width; /* bytes; 0: free */
    bool fresh;    /* stored since the last call: it may be an argument of the next one */
    lhi_value value;
} lhi_local;

typedef enum lhi_lock {
    LHI_LOCK_NEVER = 0, /* made here, and not locked yet */
    LHI_LOCK_HELD,
    LHI_LOCK_GIVEN_UP, /* was unlocked */
    /* Of an argument, where the caller knows what it was before. */
    LHI_LOCK_GIVEN,
    LHI_LOCK_GIVEN_NULL, /* there is none */
    LHI_LOCK_GIVEN_LOCKED,
    LHI_LOCK_GIVEN_UNLOCKED,
    LHI_LOCK_GIVEN_FREED,
    LHI_LOCK_GIVEN_RELEASED /* unlocked and freed */
} lhi_lock;

/* An MDL whose history is known on this way. One of which it is no longer known is forgotten. */
typedef struct lhi_object {
    lhi_value who; /* a result or a frame address */
    lhi_lock lock;
    bool own;         /* made here, and nobody else has heard of it */
    uint8_t needs;    /* lhi_need, of an argument */
    uint64_t since;   /* address of the call that made it, locked it or unlocked it */
    uint64_t length;  /* key of what it was made with; 0: not known */
    uint64_t changed; /* address of what changed its length since it was locked; 0: nothing */
} lhi_object;
/* What its length is now is not known: it may be what it was. */
#define LHI_CHANGED_AGAIN UINT64_MAX

/* Offsets in a frame beyond this are no frame's: kernel stacks have 24 KiB, or some more for graphics. */
#define LHI_FRAME_MOST (1 << 20)
#define LHI_LOCALS     64u
/* Offsets of the frame lie above this; what lies below is kept for memory behind arguments (code/given.h). */
#define LHI_FRAME_LEAST (-(1ll << 32))
#define LHI_OBJECTS     8u

/* What all ways through a function store at a place of its frame: where that is always the same, it tells
 * nothing of the way. */
#define LHI_STORES 128u
typedef struct lhi_stores {
    struct lhi_stored {
        int64_t offset;
        uint64_t key; /* of the value; 0: it varies */
    } all[LHI_STORES];
    size_t count;
    bool relied; /* somebody relied on what is always the same, */
    bool broken; /* and afterwards it was not */
    bool full;
} lhi_stores;

typedef struct lhi_state {
    lhi_stores *stores; /* of the function */
    lhi_value registers[16];
    lhi_local locals[LHI_LOCALS];
    lhi_object objects[LHI_OBJECTS]; /* by kind, then n */
    size_t object_count;
    lhi_facts facts;
    uint8_t reaches[LHI_EFFECTS]; /* behind the arguments whose pointers are followed: LHI_REACH_ */
    bool lossy;   /* it could not be kept what is known: answers may contradict each other from here on */
    bool exposed; /* somebody else has an address in the frame */
} lhi_state;

extern const uint8_t lhi_state_arguments[LHI_EFFECTS]; /* registers (x64 calling convention) */
void lhi_state_start(lhi_state *state, lhi_stores *stores);
/* An argument, of which the caller knows what it was. */
bool lhi_state_is_given(const lhi_object *object);
bool lhi_value_same(const lhi_value *a, const lhi_value *b);
/* Equal for values that are equal on every way; 0: none. */
uint64_t lhi_value_key(const lhi_value *value);
/* A key made of two. */
uint64_t lhi_key(uint64_t a, uint64_t b);
lhi_value lhi_value_number(uint64_t n);
/* Its lowest `width` bytes are known. */
bool lhi_value_is_number(const lhi_value *value, uint8_t width);
/* It is, or may be, an address in the frame. */
bool lhi_value_leads_to_frame(const lhi_value *value);
/* A value with something added to it. */
lhi_value lhi_value_moved(const lhi_value *value, uint64_t by);
/* A result, or something added to one. */
bool lhi_value_is_result(const lhi_value *value);
/* The lowest `width` bytes. */
uint64_t lhi_value_cut(uint64_t value, uint8_t width);
/* The MDL that a value is, or points into; NULL: none that is known. */
lhi_object *lhi_state_object(lhi_state *state, const lhi_value *value);
/* The MDL that flags were read of; NULL: they are none, or it is none that is known. */
lhi_object *lhi_state_object_of_flags(lhi_state *state, const lhi_value *flags);
/* Begins to follow one. NULL: no room, it stays unknown. */
lhi_object *lhi_state_add(lhi_state *state, const lhi_value *who, lhi_lock lock, bool own, uint64_t since);
void lhi_state_forget(lhi_state *state, lhi_object *object);
/* Equal for lengths that are equal, of their lowest 32 bits; 0: not known. */
uint64_t lhi_value_length(const lhi_value *value);
/* Something writes to an MDL, at an offset: `length`, of a whole ByteCount; 0: something else, or not known.
 */
#define LHI_LENGTH_OTHER 2u /* another one than before; no key */
void lhi_object_write(lhi_object *object, uint64_t offset, uint8_t width, uint64_t length, uint64_t at);
/* Forgets those that others know of: somebody may have done something with them. */
void lhi_state_forget_shared(lhi_state *state);
/* An unlock, free or store of something that could be any of them. */
void lhi_state_forget_all(lhi_state *state);
/* Somebody else has got the value. */
void lhi_state_share(lhi_state *state, const lhi_value *value);

/* What stands at a place in the frame; of a number also a part. */
lhi_value lhi_state_load(const lhi_state *state, int64_t offset, uint8_t width);
/* The same, as it was stored. */
lhi_value lhi_state_stored(const lhi_state *state, int64_t offset, uint8_t width);
/* Something known lies in [from, to). */
bool lhi_state_overlaps(const lhi_state *state, int64_t from, int64_t to);
/* An MDL whose pointer finds no room is shared. */
void lhi_state_store(lhi_state *state, int64_t offset, uint8_t width, const lhi_value *value);
/* MDLs whose pointers in [from, to) are used in a way that is not followed, or lost. */
void lhi_state_lose(lhi_state *state, int64_t from, int64_t to);
/* The frame in [from, to) holds nothing known any more. */
void lhi_state_spoil(lhi_state *state, int64_t from, int64_t to);
/* Somebody may have written there: what was told by it is in doubt. */
void lhi_state_doubt(lhi_state *state, int64_t from, int64_t to);
/* Everything that holds this value holds another one. */
void lhi_state_replace(lhi_state *state, const lhi_value *old, const lhi_value *by);

/* Two ways that agree on every MDL can be followed as one. */
bool lhi_state_agrees(const lhi_state *a, const lhi_state *b);
/* Keeps in `a` what both say; true: less than before. `place`: where they are joined. */
bool lhi_state_join(lhi_state *a, const lhi_state *b, uint64_t place);

#endif
