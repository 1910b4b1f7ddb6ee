/* The result tree as HTML: a page with everything in itself, or a fragment for a notebook. No script. */
#include <inttypes.h>
#include <string.h>

#include "report/view.h"

#define MOST_ROWS 200 /* of a list; the JSON has all */

static void say(const lhi_page *page, const char *text)
{
    lhi_out_html(page->out, text ? text : "-");
}

static void raw(const lhi_page *page, const char *markup)
{
    lhi_out_raw(page->out, markup);
}

/* An element around text of any origin. `tag` may have attributes; its name is what stands before a space. */
static void element(const lhi_page *page, const char *tag, const char *text)
{
    int name = 0;
    while (tag[name] && tag[name] != ' ')
        name++;
    lhi_out_format(page->out, "<%s>", tag);
    say(page, text);
    lhi_out_format(page->out, "</%.*s>", name, tag);
}

static void cell(const lhi_page *page, const char *text)
{
    element(page, "td", text);
}

static void address_cell(const lhi_page *page, const lhi_node *row, const char *key)
{
    if (is_null(row, key))
        raw(page, "<td class=\"dim\">-</td>");
    else
        lhi_out_format(page->out, "<td><code>0x%" PRIx64 "</code></td>", number_of(row, key));
}

static void count_cell(const lhi_page *page, const lhi_node *row, const char *key)
{
    if (is_null(row, key))
        raw(page, "<td class=\"number\">?</td>");
    else
        lhi_out_format(page->out, "<td class=\"number\">%" PRIu64 "</td>", number_of(row, key));
}

/* Tables scroll sideways in themselves, so that a narrow page does not. */
static void open_table(const lhi_page *page, const char *heads)
{
    lhi_out_format(page->out, "<div class=\"wide\"><table><thead><tr>%s</tr></thead><tbody>\n", heads);
}

/* One whose last column is prose. */
static void open_steps(const lhi_page *page, const char *heads)
{
    lhi_out_format(page->out,
                   "<div class=\"wide\"><table class=\"steps\"><thead><tr>%s</tr></thead><tbody>\n", heads);
}

static void close_table(const lhi_page *page)
{
    raw(page, "</tbody></table></div>\n");
}

static void more(const lhi_page *page, const lhi_node *list)
{
    size_t size = lhi_tree_size(list);
    if (size > MOST_ROWS)
        lhi_out_format(page->out, "<p class=\"dim\">%zu more are in the JSON.</p>\n", size - MOST_ROWS);
}

static void open_fold(const lhi_page *page, const char *title, size_t count)
{
    lhi_out_format(page->out, "<details><summary>%s", title);
    if (count)
        lhi_out_format(page->out, " <span class=\"dim\">(%zu)</span>", count);
    raw(page, "</summary><div>\n");
}

static void close_fold(const lhi_page *page)
{
    raw(page, "</div></details>\n");
}

/* ---- what always stands open */

static void dump_part(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *dump = lhi_tree_get(root, "dump"), *pages = lhi_tree_get(dump, "pages");
    raw(page, "<p class=\"dim\">");
    if (text_of(page, dump, "path")) {
        element(page, "code", text_of(page, dump, "path"));
        raw(page, " &#183; ");
    }
    say(page, text_of(page, dump, "format"));
    raw(page, " dump, ");
    say(page, text_of(page, dump, "machine"));
    lhi_out_format(page->out, ", build %" PRIu64, number_of(dump, "build"));
    if (is_null(dump, "blocks"))
        lhi_out_format(page->out, ", %" PRIu64 " of %" PRIu64 " pages present", number_of(pages, "present"),
                       number_of(pages, "described"));
    if (text_of(page, dump, "time")) {
        raw(page, ", stopped ");
        say(page, text_of(page, dump, "time"));
    }
    raw(page, "</p>\n");
}

static void verdict_part(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *verdict = lhi_tree_get(root, "verdict"),
                   *confidence = lhi_tree_get(verdict, "confidence"),
                   *factors = lhi_tree_get(confidence, "factors"), *score = lhi_tree_get(confidence, "score");
    const char *driver = text_of(page, verdict, "driver");
    lhi_out_format(page->out, "<h2 class=\"%s\">", driver ? "named" : "open");
    say(page, driver ? driver : text_of(page, verdict, "kind"));
    if (driver) {
        raw(page, "<span class=\"sure\">confidence ");
        say(page, text_of(page, confidence, "level"));
        lhi_out_format(page->out, ", %u %%</span>", score ? (unsigned)(score->value.share * 100 + 0.5) : 0);
    }
    raw(page, "</h2>\n");
    element(page, "p", text_of(page, verdict, "sentence"));
    if (text_of(page, verdict, "advice"))
        element(page, "p", text_of(page, verdict, "advice"));
    if (driver && lhi_tree_size(factors)) {
        raw(page, "<ul>\n");
        for (const lhi_node *f = factors->first; f; f = f->next) {
            const lhi_node *value = lhi_tree_get(f, "value");
            element(page, value && value->value.share >= 1.0 ? "li class=\"whole\"" : "li class=\"open\"",
                    text_of(page, f, "statement"));
        }
        raw(page, "</ul>\n");
    }
}

static void drivers_part(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *drivers = lhi_tree_get(lhi_tree_get(root, "verdict"), "drivers");
    if (lhi_tree_size(drivers) < 2)
        return;
    raw(page, "<h3>All that are named</h3>\n");
    open_table(page, "<th>driver</th><th>version</th><th class=\"number\">pages</th>");
    for (const lhi_node *d = drivers->first; d; d = d->next) {
        raw(page, "<tr>");
        cell(page, text_of(page, d, "name"));
        cell(page, text_of(page, d, "version"));
        count_cell(page, d, "pages");
        raw(page, "</tr>\n");
    }
    close_table(page);
}

static void process_row(const lhi_page *page, const lhi_node *root, const char *key, const char *title)
{
    const lhi_node *process = lhi_tree_get(root, key);
    if (!process || process->kind == LHI_NODE_NULL)
        return;
    lhi_out_format(page->out, "<tr><td>%s</td>", title);
    address_cell(page, process, "address");
    cell(page, text_of(page, process, "name") ? text_of(page, process, "name")
               : page->redact                 ? "[redacted]"
                                              : "name not known");
    count_cell(page, process, "pid");
    count_cell(page, process, "locked_pages");
    raw(page, "</tr>\n");
}

static void processes_part(const lhi_page *page, const lhi_node *root)
{
    if (is_null(root, "process") && is_null(root, "current_process"))
        return;
    raw(page, "<h3>Processes</h3>\n");
    open_table(page, "<th></th><th>address</th><th>name</th><th class=\"number\">PID</th>"
                     "<th class=\"number\">locked pages</th>");
    process_row(page, root, "process", "charged");
    process_row(page, root, "current_process", "current");
    close_table(page);
}

static void ledger_part(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *ledger = lhi_tree_get(root, "ledger"), *mdls = lhi_tree_get(ledger, "mdls");
    if (is_null(ledger, "charged") && lhi_tree_size(mdls) == 0)
        return;
    raw(page, "<h3>Ledger</h3>\n<p>");
    if (is_null(ledger, "charged"))
        raw(page, "It is not known how many pages are charged; ");
    else
        lhi_out_format(page->out, "<b>%" PRIu64 "</b> pages charged, ", number_of(ledger, "charged"));
    lhi_out_format(page->out, "<b>%" PRIu64 "</b> explained", number_of(ledger, "explained"));
    if (!is_null(ledger, "unexplained"))
        lhi_out_format(page->out, ", <b class=\"%s\">%" PRIu64 "</b> not explained",
                       number_of(ledger, "unexplained") ? "open" : "whole", number_of(ledger, "unexplained"));
    raw(page, ".</p>\n");
    if (text_of(page, ledger, "statement"))
        element(page, "p", text_of(page, ledger, "statement"));
    if (lhi_tree_size(mdls) == 0)
        return;
    open_table(page, "<th>MDL</th><th class=\"number\">pages</th><th>state</th><th>holder</th><th>packet</th>"
                     "<th>judgement</th>");
    unsigned rows = 0;
    for (const lhi_node *m = mdls->first; m && rows < MOST_ROWS; m = m->next, rows++) {
        raw(page, "<tr>");
        address_cell(page, m, "address");
        count_cell(page, m, "pages");
        cell(page, text_of(page, m, "state"));
        cell(page, text_of(page, m, "holder") ? text_of(page, m, "holder") : "no holder known");
        address_cell(page, m, "irp");
        cell(page, text_of(page, m, "judgement"));
        raw(page, "</tr>\n");
    }
    close_table(page);
    more(page, mdls);
}

static void subject_part(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *subject = lhi_tree_get(root, "subject");
    if (!subject || subject->kind == LHI_NODE_NULL)
        return;
    raw(page, "<h3>Subject</h3>\n");
    open_table(page, "<th>MDL</th><th>state</th><th>holder</th><th>process</th><th>what it is</th>");
    raw(page, "<tr>");
    address_cell(page, subject, "mdl");
    cell(page, text_of(page, subject, "state"));
    cell(page, text_of(page, subject, "holder") ? text_of(page, subject, "holder") : "no holder known");
    address_cell(page, subject, "process");
    cell(page, text_of(page, subject, "statement"));
    raw(page, "</tr>\n");
    close_table(page);
}

static void steps(const lhi_page *page, const lhi_node *list)
{
    open_steps(page, "<th>object</th><th>address</th><th>what was found</th>");
    unsigned rows = 0;
    for (const lhi_node *s = list ? list->first : NULL; s && rows < MOST_ROWS; s = s->next, rows++) {
        raw(page, "<tr>");
        cell(page, text_of(page, s, "kind"));
        address_cell(page, s, "address");
        raw(page, "<td>");
        if (text_of(page, s, "name")) {
            element(page, "b", text_of(page, s, "name"));
            raw(page, " ");
            if (text_of(page, s, "version"))
                say(page, text_of(page, s, "version"));
            raw(page, ": ");
        }
        say(page, text_of(page, s, "statement"));
        raw(page, "</td></tr>\n");
    }
    close_table(page);
    more(page, list);
}

static void chain_part(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *chain = lhi_tree_get(root, "chain");
    if (lhi_tree_size(chain) == 0)
        return;
    raw(page, "<h3>Chain</h3>\n");
    steps(page, chain);
}

/* ---- what is folded */

static void evidence_part(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *suspects = lhi_tree_get(root, "suspects");
    unsigned rows = 0;
    if (lhi_tree_size(suspects) == 0)
        return;
    open_fold(page, "Evidence", lhi_tree_size(suspects));
    for (const lhi_node *s = suspects->first; s && rows < MOST_ROWS; s = s->next, rows++) {
        element(page, "h3", text_of(page, s, "driver"));
        steps(page, lhi_tree_get(s, "evidence"));
    }
    more(page, suspects);
    close_fold(page);
}

static void listing_row(const lhi_page *page, const lhi_node *row)
{
    raw(page, number_of(row, "marked") ? "<tr class=\"marked\">" : "<tr>");
    address_cell(page, row, "address");
    raw(page, "<td>");
    element(page, "code", text_of(page, row, "text"));
    raw(page, "</td>");
    cell(page, text_of(page, row, "name") ? text_of(page, row, "name") : "");
    raw(page, "</tr>\n");
}

/* Places in drivers' code that the case rests on. */
static void excerpts_part(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *list = lhi_tree_get(root, "excerpts");
    unsigned rows = 0;
    if (lhi_tree_size(list) == 0)
        return;
    open_fold(page, "Code", lhi_tree_size(list));
    for (const lhi_node *e = list->first; e && rows < MOST_ROWS; e = e->next, rows++) {
        const lhi_node *function = lhi_tree_get(e, "function"), *listing = lhi_tree_get(e, "listing");
        element(page, "h3", text_of(page, e, "at") ? text_of(page, e, "at") : "code outside any module");
        raw(page, "<p>");
        say(page, text_of(page, e, "statement"));
        if (!is_null(e, "function"))
            lhi_out_format(page->out,
                           "; its function lies from <code>0x%" PRIx64 "</code> to <code>0x%" PRIx64
                           "</code>",
                           number_of(function, "begin"), number_of(function, "end"));
        raw(page, "</p>\n");
        if (lhi_tree_size(listing)) {
            raw(page, "<div class=\"wide\"><table class=\"listing\"><tbody>\n");
            for (const lhi_node *row = listing->first; row; row = row->next)
                listing_row(page, row);
            close_table(page);
        }
        if (text_of(page, e, "reason"))
            element(page, "p class=\"open\"", text_of(page, e, "reason"));
    }
    more(page, list);
    close_fold(page);
}

static void bugcheck_part(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *bugcheck = lhi_tree_get(root, "bugcheck"),
                   *parameters = lhi_tree_get(bugcheck, "parameters"),
                   *meanings = lhi_tree_get(bugcheck, "meanings");
    const lhi_node *meaning = meanings ? meanings->first : NULL;
    lhi_out_format(page->out, "<details><summary>Bug check 0x%" PRIx64 " ", number_of(bugcheck, "code"));
    say(page, text_of(page, bugcheck, "name") ? text_of(page, bugcheck, "name") : "");
    raw(page, "</summary><div>\n");
    if (text_of(page, bugcheck, "subtype"))
        element(page, "p", text_of(page, bugcheck, "subtype"));
    open_steps(page, "<th>parameter</th><th>value</th><th>meaning</th>");
    unsigned index = 1;
    for (const lhi_node *p = parameters ? parameters->first : NULL; p; p = p->next) {
        lhi_out_format(page->out, "<tr><td>%u</td><td><code>0x%016" PRIx64 "</code></td>", index++,
                       p->value.number);
        cell(page, meaning && meaning->kind == LHI_NODE_TEXT ? meaning->value.text : NULL);
        raw(page, "</tr>\n");
        meaning = meaning ? meaning->next : NULL;
    }
    close_table(page);
    close_fold(page);
}

/* A list of objects as a table: a name or the address, and why. */
static void reasons_part(const lhi_page *page, const lhi_node *root, const char *key, const char *title,
                         const char *name, const char *why)
{
    const lhi_node *list = lhi_tree_get(root, key);
    unsigned rows = 0;
    if (lhi_tree_size(list) == 0)
        return;
    open_fold(page, title, lhi_tree_size(list));
    raw(page, "<div class=\"wide\"><table class=\"steps\"><tbody>\n");
    for (const lhi_node *row = list->first; row && rows < MOST_ROWS; row = row->next, rows++) {
        raw(page, "<tr>");
        if (text_of(page, row, name))
            cell(page, text_of(page, row, name));
        else
            address_cell(page, row, "address");
        cell(page, text_of(page, row, why));
        raw(page, "</tr>\n");
    }
    close_table(page);
    more(page, list);
    close_fold(page);
}

static void absent_part(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *absent = lhi_tree_get(root, "absent");
    unsigned rows = 0;
    if (lhi_tree_size(absent) == 0)
        return;
    open_fold(page, "Not known", lhi_tree_size(absent));
    open_steps(page, "<th>fact</th><th>address</th><th>why not</th>");
    for (const lhi_node *row = absent->first; row && rows < MOST_ROWS; row = row->next, rows++) {
        raw(page, "<tr>");
        cell(page, row->key);
        address_cell(page, row, "address");
        cell(page, text_of(page, row, "reason"));
        raw(page, "</tr>\n");
    }
    close_table(page);
    more(page, absent);
    close_fold(page);
}

static void coverage_part(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *coverage = lhi_tree_get(root, "coverage"), *regions = lhi_tree_get(coverage, "regions"),
                   *notes = lhi_tree_get(coverage, "notes");
    open_fold(page, "Coverage", 0);
    element(page, "p", text_of(page, coverage, "statement"));
    open_table(page, "<th>memory</th><th class=\"number\">present</th><th class=\"number\">missing</th>");
    for (size_t i = 0; i < REGION_COUNT; i++) {
        const lhi_node *r = lhi_tree_get(regions, region_names[i].key);
        lhi_out_format(page->out, "<tr><td>%s</td>", region_names[i].title);
        count_cell(page, r, "present");
        if (is_null(r, "share") && number_of(r, "present"))
            raw(page, "<td class=\"number\">?</td></tr>\n");
        else
            lhi_out_format(page->out, "<td class=\"number\">%" PRIu64 "</td></tr>\n", missing_of(r));
    }
    close_table(page);
    for (const lhi_node *note = notes ? notes->first : NULL; note; note = note->next)
        element(page, "p class=\"open\"", note->value.text);
    raw(page, "<p class=\"dim\">Layouts: ");
    say(page, text_of(page, lhi_tree_get(coverage, "layout"), "source"));
    raw(page, "</p>\n");
    close_fold(page);
}

static void reproduce_part(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *reproduce = lhi_tree_get(root, "reproduce");
    if (lhi_tree_size(reproduce) == 0)
        return;
    open_fold(page, "Reproduce in WinDbg", lhi_tree_size(reproduce));
    raw(page, "<div class=\"commands\">\n");
    for (const lhi_node *r = reproduce->first; r; r = r->next) {
        element(page, "code", text_of(page, r, "command"));
        if (text_of(page, r, "expect"))
            element(page, "span", text_of(page, r, "expect"));
    }
    raw(page, "</div>\n");
    close_fold(page);
}

static void line_part(const lhi_page *page, const lhi_node *node)
{
    element(page, "code", page->redact && node->redacted ? node->redacted : node->value.text);
}

/* What to set for the next crash, and what to send to vendors. */
static void advice_part(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *advice = lhi_tree_get(root, "advice");
    if (!advice || advice->kind == LHI_NODE_NULL)
        return;
    const lhi_node *tracking = lhi_tree_get(advice, "tracking"), *verifier = lhi_tree_get(advice, "verifier"),
                   *vendors = lhi_tree_get(advice, "vendors"), *command = lhi_tree_get(tracking, "command");
    open_fold(page, "For the next crash, and for the vendor", 0);
    raw(page, "<div class=\"commands\">\n");
    const char *state = text_of(page, tracking, "state");
    if (command && !(state && strcmp(state, "on") == 0))
        line_part(page, command);
    element(page, "span", text_of(page, tracking, "next_crash"));
    if (verifier && verifier->kind == LHI_NODE_OBJECT) {
        line_part(page, lhi_tree_get(verifier, "command"));
        element(page, "span", text_of(page, verifier, "why"));
    }
    raw(page, "</div>\n");
    for (const lhi_node *v = vendors ? vendors->first : NULL; v; v = v->next) {
        const lhi_node *lines = lhi_tree_get(v, "lines");
        element(page, "h3", text_of(page, v, "driver"));
        raw(page, "<div class=\"commands\">\n");
        for (const lhi_node *l = lines ? lines->first : NULL; l; l = l->next)
            line_part(page, l);
        raw(page, "</div>\n");
    }
    close_fold(page);
}

/* ---- the whole */

static void open_page(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *verdict = lhi_tree_get(root, "verdict");
    const char *driver = text_of(page, verdict, "driver");
    /* The policy is a second lock: what a name might smuggle past the escaping would still not run or load.
     */
    raw(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
              "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
              "'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
              "<meta name=\"color-scheme\" content=\"light dark\">\n<title>lockhound: ");
    say(page, driver ? driver : text_of(page, verdict, "kind"));
    raw(page, "</title>\n");
    lhi_report_style(page->out, true);
    raw(page, "</head>\n<body>\n");
}

void lhi_report_html(const lhi_node *root, uint32_t flags, lhi_out *out)
{
    const lhi_page page = {.out = out, .redact = flags & LH_RENDER_REDACT};
    const bool fragment = flags & LH_RENDER_FRAGMENT;
    if (!fragment)
        open_page(&page, root);
    lhi_out_raw(out, "<div class=\"lockhound\">\n");
    if (fragment)
        lhi_report_style(out, false);
    dump_part(&page, root);
    verdict_part(&page, root);
    drivers_part(&page, root);
    processes_part(&page, root);
    subject_part(&page, root);
    ledger_part(&page, root);
    chain_part(&page, root);
    evidence_part(&page, root);
    excerpts_part(&page, root);
    reasons_part(&page, root, "cleared", "Cleared", "driver", "reason");
    reasons_part(&page, root, "considered", "Considered, not counted", "none", "reason");
    advice_part(&page, root);
    bugcheck_part(&page, root);
    coverage_part(&page, root);
    reasons_part(&page, root, "unevaluated", "Not evaluated", "rule", "needs");
    absent_part(&page, root);
    reproduce_part(&page, root);
    lhi_out_raw(out, "</div>\n");
    if (!fragment)
        lhi_out_raw(out, "</body>\n</html>\n");
}
