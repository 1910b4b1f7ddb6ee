/* The result tree as JSON. */
#include <inttypes.h>

#include "report/report.h"

static void value(lhi_out *out, const lhi_node *node, bool redact)
{
    if (redact && node->personal) {
        lhi_out_raw(out, "null");
        return;
    }
    switch (node->kind) {
    case LHI_NODE_NULL:
        lhi_out_raw(out, "null");
        break;
    case LHI_NODE_BOOL:
        lhi_out_raw(out, node->value.number ? "true" : "false");
        break;
    case LHI_NODE_COUNT:
        lhi_out_format(out, "%" PRIu64, node->value.number);
        break;
    case LHI_NODE_ADDRESS:
        lhi_out_format(out, "\"0x%" PRIx64 "\"", node->value.number);
        break;
    case LHI_NODE_SHARE: {
        /* Not printf's %f: the decimal point must not follow the locale. */
        double share = node->value.share < 0 ? 0 : node->value.share > 1 ? 1 : node->value.share;
        unsigned thousandths = (unsigned)(share * 1000 + 0.5);
        lhi_out_format(out, "%u.%03u", thousandths / 1000, thousandths % 1000);
        break;
    }
    case LHI_NODE_TEXT:
        lhi_out_json_string(out, redact && node->redacted ? node->redacted : node->value.text);
        break;
    case LHI_NODE_LIST:
    case LHI_NODE_OBJECT: {
        bool object = node->kind == LHI_NODE_OBJECT;
        lhi_out_raw(out, object ? "{" : "[");
        for (const lhi_node *child = node->first; child; child = child->next) {
            if (object) {
                lhi_out_json_string(out, child->key);
                lhi_out_raw(out, ": ");
            }
            value(out, child, redact);
            if (child->next)
                lhi_out_raw(out, ", ");
        }
        lhi_out_raw(out, object ? "}" : "]");
        break;
    }
    }
}

void lhi_report_json(const lhi_node *root, uint32_t flags, lhi_out *out)
{
    value(out, root, flags & LH_RENDER_REDACT);
}
