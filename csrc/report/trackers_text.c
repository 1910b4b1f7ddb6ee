/* Lock trackers as text for people: a line for each, and the addresses of its trace below. */
#include <inttypes.h>

#include "report/view.h"

#define MOST_ROWS 40 /* of a list; the JSON has all */

static void trace_line(const lhi_page *page, const lhi_node *frame, unsigned indent)
{
    lhi_out_format(page->out, "%*s0x%016" PRIx64 "  ", (int)indent, "", number_of(frame, "address"));
    if (text_of(page, frame, "module")) {
        lhi_out_safe(page->out, text_of(page, frame, "module"));
        if (!is_null(frame, "offset"))
            lhi_out_format(page->out, "+0x%" PRIx64, number_of(frame, "offset"));
        lhi_out_raw(page->out, number_of(frame, "unloaded") ? "  unloaded " : "  ");
    }
    lhi_out_format(page->out, "%s\n", text_of(page, frame, "kind"));
}

static void tracker_line(const lhi_page *page, const lhi_node *row, unsigned indent)
{
    lhi_out_format(page->out, "%*sMDL 0x%" PRIx64, (int)indent, "", number_of(row, "mdl"));
    if (!is_null(row, "pages"))
        lhi_out_format(page->out, "  %6" PRIu64 " page%s  at 0x%" PRIx64, number_of(row, "pages"),
                       number_of(row, "pages") == 1 ? " " : "s", number_of(row, "user_address"));
    lhi_out_format(page->out, "  locked by %s", text_of(page, row, "locked_by"));
    if (text_of(page, row, "driver")) {
        lhi_out_raw(page->out, "  ");
        lhi_out_safe(page->out, text_of(page, row, "driver"));
    }
    lhi_out_raw(page->out, "\n");
    const lhi_node *trace = lhi_tree_get(row, "trace");
    for (const lhi_node *frame = trace ? trace->first : NULL; frame; frame = frame->next)
        trace_line(page, frame, indent + 4);
}

void lhi_report_tracking_text(const lhi_page *page, const lhi_node *trackers, unsigned indent)
{
    const lhi_node *list = lhi_tree_get(trackers, "list");
    unsigned rows = 0;
    for (const lhi_node *row = list ? list->first : NULL; row && rows < MOST_ROWS; row = row->next, rows++)
        tracker_line(page, row, indent);
    if (lhi_tree_size(list) > MOST_ROWS)
        lhi_out_format(page->out, "%*s... %zu more\n", (int)indent, "", lhi_tree_size(list) - MOST_ROWS);
}
