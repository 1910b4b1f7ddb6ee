/* The result tree: typed nodes built once from a case; JSON, text and HTML are views of it, so that they
 * can't disagree. */
#ifndef LHI_REPORT_TREE_H
#define LHI_REPORT_TREE_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum lhi_node_kind {
    LHI_NODE_NULL = 0,
    LHI_NODE_BOOL,
    LHI_NODE_COUNT,   /* unsigned number */
    LHI_NODE_ADDRESS, /* shown as "0x..." */
    LHI_NODE_SHARE,   /* 0 to 1, three decimals */
    LHI_NODE_TEXT,
    LHI_NODE_LIST,
    LHI_NODE_OBJECT
} lhi_node_kind;

typedef struct lhi_node lhi_node;
struct lhi_node {
    lhi_node_kind kind;
    bool personal;   /* dropped (shown as null) when the report is redacted */
    const char *key; /* in an object; a static string or of the arena */
    union {
        uint64_t number;
        double share;
        const char *text;
    } value;
    const char
        *redacted; /* for prose that names people's things: what a redacted report says; NULL: the same */
    lhi_node *first, *last, *next;
};

/* All return the new node, appended to `parent` (an object or a list; NULL: the root, or a parent that could
 * not be made), or NULL when there is no memory: arena->failed tells, once at the end, and every function
 * here takes a NULL parent. */
lhi_node *lhi_tree_object(lhi_arena *arena, lhi_node *parent, const char *key);
lhi_node *lhi_tree_list(lhi_arena *arena, lhi_node *parent, const char *key);
lhi_node *lhi_tree_null(lhi_arena *arena, lhi_node *parent, const char *key);
lhi_node *lhi_tree_bool(lhi_arena *arena, lhi_node *parent, const char *key, bool value);
lhi_node *lhi_tree_count(lhi_arena *arena, lhi_node *parent, const char *key, uint64_t value);
lhi_node *lhi_tree_address(lhi_arena *arena, lhi_node *parent, const char *key, uint64_t value);
/* The same for a number that may not be known: then a null node. */
lhi_node *lhi_tree_count_if(lhi_arena *arena, lhi_node *parent, const char *key, bool known, uint64_t value);
lhi_node *lhi_tree_address_if(lhi_arena *arena, lhi_node *parent, const char *key, bool known,
                              uint64_t value);
lhi_node *lhi_tree_share(lhi_arena *arena, lhi_node *parent, const char *key, double value);
/* NULL or "" text gives a null node. The text must live as long as the tree. */
lhi_node *lhi_tree_text(lhi_arena *arena, lhi_node *parent, const char *key, const char *text);

/* NULL: not there. */
const lhi_node *lhi_tree_get(const lhi_node *object, const char *key);
size_t lhi_tree_size(const lhi_node *node); /* children */

#endif
