/* What was answered on one way when branches asked: the same question has the same answer again, and so has
 * one that follows from it. */
#ifndef LHI_CODE_FACTS_H
#define LHI_CODE_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Conditions by their numbers in the encoding, without the bit that turns them round (Intel SDM, Jcc). */
typedef enum lhi_condition {
    LHI_IF_OVERFLOW,
    LHI_IF_BELOW,
    LHI_IF_EQUAL,
    LHI_IF_NOT_ABOVE,
    LHI_IF_SIGN,
    LHI_IF_PARITY,
    LHI_IF_LESS,
    LHI_IF_NOT_GREATER
} lhi_condition;

/* Of left + shift minus right, or of left & right. */
typedef struct lhi_fact {
    uint64_t left, right; /* left by its key; right too, or the number itself */
    uint64_t shift;       /* 0 where the result is compared with a number for equality */
    uint64_t joins; /* bit n: it was answered differently on ways that were joined at a place of this kind */
    uint8_t width;  /* bytes */
    uint8_t condition; /* lhi_condition */
    bool masks;        /* condition is LHI_IF_EQUAL: the result is zero */
    bool number;
    bool answer;
    bool open; /* either, since ways were joined */
} lhi_fact;

#define LHI_FACTS 64u
/* The number of no join: what depends on it is in doubt whatever was asked for. */
#define LHI_JOIN_DOUBT 64u

typedef struct lhi_facts {
    lhi_fact all[LHI_FACTS]; /* newest first */
    size_t count;
    uint64_t asked; /* joins of which one difference was asked for since */
} lhi_facts;

typedef enum lhi_recall {
    LHI_NEVER_ASKED,
    LHI_ANSWERED,
    LHI_IN_DOUBT /* depends on another answer, since both differed where ways were joined */
} lhi_recall;

/* Numbers, both ends included. */
typedef struct lhi_hull {
    uint64_t low, high;
} lhi_hull;

/* `question` needs no answer. `hull`: where its left side lies; NULL: anywhere. */
lhi_recall lhi_facts_recall(const lhi_facts *facts, const lhi_fact *question, const lhi_hull *hull,
                            bool *answer);
/* What the answers leave of a value's lowest bytes. false: all of them. */
bool lhi_facts_hull(const lhi_facts *facts, uint64_t left, uint8_t width, lhi_hull *hull);
/* false: there is no room, and an older one was forgotten. */
bool lhi_facts_learn(lhi_facts *facts, const lhi_fact *fact);
/* A question whose answer something has been chosen by: what it was, and what was chosen, go together. */
bool lhi_facts_open(lhi_facts *facts, const lhi_fact *question, uint64_t join);
/* A question that is in doubt, whatever else was asked. false: there is no room. */
bool lhi_facts_doubt(lhi_facts *facts, const lhi_fact *question);
bool lhi_facts_is_doubted(const lhi_facts *facts, uint64_t left);
/* Where ways that know this of a value are joined, all that is asked of it afterwards is in doubt: what they
 * did depends on it. */
void lhi_facts_tie(lhi_facts *facts, uint64_t left, uint64_t place);
/* The value with this key is another one now. */
void lhi_facts_forget(lhi_facts *facts, uint64_t left);
/* The value has another key now. */
void lhi_facts_rename(lhi_facts *facts, uint64_t from, uint64_t to);
bool lhi_facts_has(const lhi_facts *facts, uint64_t left);
/* What ways that are joined at this place do not agree on is open; true: less is known than before. *full:
 * there was no room for all of it. */
bool lhi_facts_join(lhi_facts *facts, const lhi_facts *other, uint64_t join, bool *full);
/* The number of the join at a place, from 1 on, and its bit. */
uint8_t lhi_facts_join_number(uint64_t place);
uint64_t lhi_facts_join_bit(uint64_t place);

#endif
