/* What the views for people share: reading the result tree as redacted as the reader may see it. */
#ifndef LHI_REPORT_VIEW_H
#define LHI_REPORT_VIEW_H

#include "report/report.h"

typedef struct lhi_page {
    lhi_out *out;
    bool redact, color;
} lhi_page;

/* trackers_text.c: the rows of a `trackers` object. */
void lhi_report_tracking_text(const lhi_page *page, const lhi_node *trackers, unsigned indent);

/* NULL: no text, or one that is not to be seen. */
static inline const char *text_of(const lhi_page *page, const lhi_node *object, const char *key)
{
    const lhi_node *node = lhi_tree_get(object, key);
    if (!node || node->kind != LHI_NODE_TEXT || (page->redact && node->personal))
        return NULL;
    return page->redact && node->redacted ? node->redacted : node->value.text;
}

static inline uint64_t number_of(const lhi_node *object, const char *key)
{
    const lhi_node *node = lhi_tree_get(object, key);
    return node && (node->kind == LHI_NODE_COUNT || node->kind == LHI_NODE_ADDRESS ||
                    node->kind == LHI_NODE_BOOL)
               ? node->value.number
               : 0;
}

static inline bool is_null(const lhi_node *object, const char *key)
{
    const lhi_node *node = lhi_tree_get(object, key);
    return !node || node->kind == LHI_NODE_NULL;
}

/* The regions of kernel memory that `coverage` counts, and what they are called. */
static const struct {
    const char *key, *title;
} region_names[] = {{"pool", "pool"},
                    {"images", "driver images"},
                    {"pfn_database", "PFN database"},
                    {"transition", "trimmed pages"},
                    {"other", "other kernel memory"}};
#define REGION_COUNT (sizeof region_names / sizeof region_names[0])

/* Mapped pages of a region that are not there. */
static inline uint64_t missing_of(const lhi_node *region)
{
    return number_of(region, "not_captured") + number_of(region, "clipped") + number_of(region, "not_ram");
}

#endif
