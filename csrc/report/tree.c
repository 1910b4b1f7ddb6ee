/* Builds and reads the result tree. */
#include "report/tree.h"

#include <string.h>

static lhi_node *append(lhi_arena *arena, lhi_node *parent, const char *key, lhi_node_kind kind)
{
    lhi_node *node = lhi_arena_alloc(arena, sizeof *node);
    if (!node)
        return NULL;
    node->kind = kind;
    node->key = key;
    if (parent) {
        if (parent->last)
            parent->last->next = node;
        else
            parent->first = node;
        parent->last = node;
    }
    return node;
}

lhi_node *lhi_tree_object(lhi_arena *arena, lhi_node *parent, const char *key)
{
    return append(arena, parent, key, LHI_NODE_OBJECT);
}

lhi_node *lhi_tree_list(lhi_arena *arena, lhi_node *parent, const char *key)
{
    return append(arena, parent, key, LHI_NODE_LIST);
}

lhi_node *lhi_tree_null(lhi_arena *arena, lhi_node *parent, const char *key)
{
    return append(arena, parent, key, LHI_NODE_NULL);
}

static lhi_node *number(lhi_arena *arena, lhi_node *parent, const char *key, lhi_node_kind kind,
                        uint64_t value)
{
    lhi_node *node = append(arena, parent, key, kind);
    if (node)
        node->value.number = value;
    return node;
}

lhi_node *lhi_tree_bool(lhi_arena *arena, lhi_node *parent, const char *key, bool value)
{
    return number(arena, parent, key, LHI_NODE_BOOL, value);
}

lhi_node *lhi_tree_count(lhi_arena *arena, lhi_node *parent, const char *key, uint64_t value)
{
    return number(arena, parent, key, LHI_NODE_COUNT, value);
}

lhi_node *lhi_tree_address(lhi_arena *arena, lhi_node *parent, const char *key, uint64_t value)
{
    return number(arena, parent, key, LHI_NODE_ADDRESS, value);
}

lhi_node *lhi_tree_count_if(lhi_arena *arena, lhi_node *parent, const char *key, bool known, uint64_t value)
{
    return known ? lhi_tree_count(arena, parent, key, value) : lhi_tree_null(arena, parent, key);
}

lhi_node *lhi_tree_address_if(lhi_arena *arena, lhi_node *parent, const char *key, bool known, uint64_t value)
{
    return known ? lhi_tree_address(arena, parent, key, value) : lhi_tree_null(arena, parent, key);
}

lhi_node *lhi_tree_share(lhi_arena *arena, lhi_node *parent, const char *key, double value)
{
    lhi_node *node = append(arena, parent, key, LHI_NODE_SHARE);
    if (node)
        node->value.share = value;
    return node;
}

lhi_node *lhi_tree_text(lhi_arena *arena, lhi_node *parent, const char *key, const char *text)
{
    lhi_node *node = append(arena, parent, key, text && text[0] ? LHI_NODE_TEXT : LHI_NODE_NULL);
    if (node)
        node->value.text = text;
    return node;
}

const lhi_node *lhi_tree_get(const lhi_node *object, const char *key)
{
    if (object)
        for (const lhi_node *node = object->first; node; node = node->next)
            if (node->key && strcmp(node->key, key) == 0)
                return node;
    return NULL;
}

size_t lhi_tree_size(const lhi_node *node)
{
    size_t count = 0;
    if (node)
        for (const lhi_node *child = node->first; child; child = child->next)
            count++;
    return count;
}
