/* The result tree as text for people. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "report/view.h"

#define MOST_ROWS 40 /* of a list; the JSON has all */

static void style(const lhi_page *page, const char *code)
{
    if (page->color)
        lhi_out_format(page->out, "\033[%sm", code);
}

static void heading(const lhi_page *page, const char *title)
{
    lhi_out_raw(page->out, "\n");
    style(page, "1");
    lhi_out_raw(page->out, title);
    style(page, "0");
    lhi_out_raw(page->out, "\n");
}

/* Text broken at spaces to 100 columns, each line indented. */
static void wrapped(const lhi_page *page, unsigned indent, const char *text)
{
    size_t column = 0;
    lhi_out line = {0};
    lhi_out_safe(&line, text);
    const char *at = line.data ? line.data : "";
    while (*at) {
        size_t length = strcspn(at, " ");
        if (column == 0 || column + 1 + length > 100 - indent) {
            lhi_out_format(page->out, "%s%*s", column ? "\n" : "", (int)indent, "");
            column = 0;
        } else {
            lhi_out_raw(page->out, " ");
            column++;
        }
        lhi_out_bytes(page->out, at, length);
        column += length;
        at += length;
        at += *at == ' ';
    }
    lhi_out_raw(page->out, "\n");
    page->out->failed = page->out->failed || line.failed;
    lhi_free(line.data);
}

static void say(const lhi_page *page, const char *text)
{
    lhi_out_safe(page->out, text ? text : "-");
}

/* A count, or a question mark where it is not known. */
static void count_or_mark(const lhi_page *page, const char *label, const lhi_node *object, const char *key)
{
    lhi_out_raw(page->out, label);
    if (is_null(object, key))
        lhi_out_raw(page->out, "?");
    else
        lhi_out_format(page->out, "%" PRIu64, number_of(object, key));
}

/* Behind the rows of a list that has more than are shown. */
static void more(const lhi_page *page, unsigned indent, const lhi_node *list)
{
    const size_t size = lhi_tree_size(list);
    if (size > MOST_ROWS)
        lhi_out_format(page->out, "%*s... %zu more\n", (int)indent, "", size - MOST_ROWS);
}

static void share_of_ram(const lhi_page *page, uint64_t present, uint64_t ram)
{
    /* In doubles: both counts come from a file. Never more than all. */
    double share = ram > present ? (double)present / (double)ram : 1.0;
    unsigned thousandths = (unsigned)(share * 1000.0);
    lhi_out_format(page->out, ", %u.%u %% of RAM (%" PRIu64 " pages)", thousandths / 10, thousandths % 10,
                   ram);
}

static void dump_lines(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *dump = lhi_tree_get(root, "dump"), *pages = lhi_tree_get(dump, "pages");
    const lhi_node *bugcheck = lhi_tree_get(root, "bugcheck");
    lhi_out_format(page->out, "lockhound %s", lh_version());
    if (text_of(page, dump, "path")) {
        lhi_out_raw(page->out, "  ");
        say(page, text_of(page, dump, "path"));
    }
    lhi_out_format(page->out, "\n%s dump, %s, build %" PRIu64 ", ", text_of(page, dump, "format"),
                   text_of(page, dump, "machine"), number_of(dump, "build"));
    const lhi_node *blocks = lhi_tree_get(dump, "blocks");
    if (is_null(dump, "blocks"))
        lhi_out_format(page->out, "%" PRIu64 " of %" PRIu64 " pages present", number_of(pages, "present"),
                       number_of(pages, "described"));
    else
        lhi_out_format(page->out, "no pages, %" PRIu64 " pieces of virtual memory with %" PRIu64 " bytes",
                       number_of(blocks, "count"), number_of(blocks, "bytes"));
    if (!is_null(pages, "ram") && is_null(dump, "blocks"))
        share_of_ram(page, number_of(pages, "present"), number_of(pages, "ram"));
    if (number_of(pages, "clipped"))
        lhi_out_format(page->out, " (the file is cut: %" PRIu64 " pages are lost)",
                       number_of(pages, "clipped"));
    lhi_out_format(page->out, "\nbug check 0x%" PRIX64 " %s", number_of(bugcheck, "code"),
                   text_of(page, bugcheck, "name") ? text_of(page, bugcheck, "name") : "(name unknown)");
    if (text_of(page, bugcheck, "subtype"))
        lhi_out_format(page->out, ": %s", text_of(page, bugcheck, "subtype"));
    lhi_out_raw(page->out, "\n");
    const lhi_node *meaning = lhi_tree_get(bugcheck, "meanings");
    meaning = meaning ? meaning->first : NULL;
    const lhi_node *parameters = lhi_tree_get(bugcheck, "parameters");
    unsigned index = 1;
    for (const lhi_node *p = parameters ? parameters->first : NULL; p; p = p->next) {
        lhi_out_format(page->out, "  P%u 0x%016" PRIx64, index++, p->value.number);
        if (meaning && meaning->kind == LHI_NODE_TEXT)
            lhi_out_format(page->out, "  %s", meaning->value.text);
        lhi_out_raw(page->out, "\n");
        meaning = meaning ? meaning->next : NULL;
    }
}

/* Of the machine, for who asks what a dump is. */
static void machine_lines(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *dump = lhi_tree_get(root, "dump"), *runs = lhi_tree_get(dump, "memory_runs");
    uint64_t up = number_of(dump, "uptime_seconds");
    lhi_out_format(page->out, "stopped %s",
                   text_of(page, dump, "time") ? text_of(page, dump, "time") : "(unknown)");
    if (!is_null(dump, "uptime_seconds"))
        lhi_out_format(page->out, " after %" PRIu64 " d %02" PRIu64 ":%02" PRIu64 ":%02" PRIu64, up / 86400,
                       up / 3600 % 24, up / 60 % 60, up % 60);
    lhi_out_format(page->out, ", %" PRIu64 " processor%s\n", number_of(dump, "processors"),
                   number_of(dump, "processors") == 1 ? "" : "s");
    for (const lhi_node *run = runs ? runs->first : NULL; run; run = run->next)
        lhi_out_format(page->out, "memory 0x%012" PRIx64 "  %" PRIu64 " pages\n", number_of(run, "physical"),
                       number_of(run, "pages"));
}

static void process_line(const lhi_page *page, const lhi_node *root, const char *key, const char *title)
{
    const lhi_node *process = lhi_tree_get(root, key);
    if (!process)
        return;
    if (process->kind == LHI_NODE_NULL) {
        const lhi_node *reason = lhi_tree_get(lhi_tree_get(root, "absent"), key);
        if (reason)
            lhi_out_format(page->out, "%s not known: %s\n", title, text_of(page, reason, "reason"));
        return;
    }
    lhi_out_format(page->out, "%s 0x%" PRIx64 "  ", title, number_of(process, "address"));
    say(page, text_of(page, process, "name") ? text_of(page, process, "name")
              : page->redact                 ? "[redacted]"
                                             : "(name not known)");
    if (is_null(process, "pid"))
        lhi_out_raw(page->out, "  PID not known");
    else
        lhi_out_format(page->out, "  PID %" PRIu64, number_of(process, "pid"));
    if (is_null(process, "locked_pages"))
        lhi_out_raw(page->out, "  locked pages not known\n");
    else
        lhi_out_format(page->out, "  locked pages %" PRIu64 "\n", number_of(process, "locked_pages"));
}

static void verdict_lines(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *verdict = lhi_tree_get(root, "verdict"),
                   *confidence = lhi_tree_get(verdict, "confidence");
    const char *kind = text_of(page, verdict, "kind"), *driver = text_of(page, verdict, "driver");
    heading(page, "Verdict");
    lhi_out_raw(page->out, "  ");
    style(page, driver ? "1;31" : "1;33");
    say(page, driver ? driver : kind);
    style(page, "0");
    if (driver) {
        const lhi_node *score = lhi_tree_get(confidence, "score");
        unsigned hundredths = score ? (unsigned)(score->value.share * 100 + 0.5) : 0;
        lhi_out_format(page->out, "  confidence %s (%u %%)", text_of(page, confidence, "level"), hundredths);
    }
    lhi_out_raw(page->out, "\n");
    wrapped(page, 2, text_of(page, verdict, "sentence") ? text_of(page, verdict, "sentence") : "-");
    if (text_of(page, verdict, "advice"))
        wrapped(page, 2, text_of(page, verdict, "advice"));
    const lhi_node *factors = lhi_tree_get(confidence, "factors");
    for (const lhi_node *f = driver && factors ? factors->first : NULL; f; f = f->next) {
        const lhi_node *value = lhi_tree_get(f, "value");
        bool whole = value && value->value.share >= 1.0;
        lhi_out_format(page->out, "    %s ", whole ? "+" : "-");
        say(page, text_of(page, f, "statement"));
        lhi_out_raw(page->out, "\n");
    }
    const lhi_node *drivers = lhi_tree_get(verdict, "drivers");
    if (lhi_tree_size(drivers) > 1) {
        lhi_out_raw(page->out, "  all that are named:\n");
        for (const lhi_node *d = drivers->first; d; d = d->next) {
            lhi_out_raw(page->out, "    ");
            say(page, text_of(page, d, "name"));
            lhi_out_format(page->out, "  %" PRIu64 " pages\n", number_of(d, "pages"));
        }
    }
}

static void ledger_lines(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *ledger = lhi_tree_get(root, "ledger"), *mdls = lhi_tree_get(ledger, "mdls");
    if (is_null(ledger, "charged") && lhi_tree_size(mdls) == 0)
        return;
    heading(page, "Ledger");
    count_or_mark(page, "  charged ", ledger, "charged");
    lhi_out_format(page->out, ", explained %" PRIu64, number_of(ledger, "explained"));
    count_or_mark(page, ", unexplained ", ledger, "unexplained");
    lhi_out_raw(page->out, "\n");
    if (text_of(page, ledger, "statement"))
        wrapped(page, 2, text_of(page, ledger, "statement"));
    unsigned rows = 0;
    for (const lhi_node *m = mdls ? mdls->first : NULL; m && rows < MOST_ROWS; m = m->next, rows++) {
        lhi_out_format(page->out, "  MDL 0x%" PRIx64 "  %6" PRIu64 " page%s  %-12s  ",
                       number_of(m, "address"), number_of(m, "pages"), number_of(m, "pages") == 1 ? " " : "s",
                       text_of(page, m, "state"));
        say(page, text_of(page, m, "holder") ? text_of(page, m, "holder") : "(no holder known)");
        lhi_out_raw(page->out, "\n");
    }
    more(page, 2, mdls);
}

/* Of a bug check about an MDL that is about no leak. */
static void subject_lines(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *subject = lhi_tree_get(root, "subject");
    if (!subject || subject->kind == LHI_NODE_NULL)
        return;
    heading(page, "Subject");
    if (is_null(subject, "mdl"))
        lhi_out_raw(page->out, "  MDL not known");
    else
        lhi_out_format(page->out, "  MDL 0x%" PRIx64, number_of(subject, "mdl"));
    lhi_out_format(page->out, "  %s  ", text_of(page, subject, "state"));
    say(page, text_of(page, subject, "holder") ? text_of(page, subject, "holder") : "(no holder known)");
    if (!is_null(subject, "process"))
        lhi_out_format(page->out, "  process 0x%" PRIx64, number_of(subject, "process"));
    lhi_out_raw(page->out, "\n");
    wrapped(page, 2, text_of(page, subject, "statement"));
}

static void step_line(const lhi_page *page, const lhi_node *s, unsigned indent)
{
    lhi_out_format(page->out, "%*s%-14s 0x%016" PRIx64 "  ", (int)indent, "", text_of(page, s, "kind"),
                   number_of(s, "address"));
    if (text_of(page, s, "name")) {
        say(page, text_of(page, s, "name"));
        if (text_of(page, s, "version"))
            lhi_out_format(page->out, " %s", text_of(page, s, "version"));
        lhi_out_raw(page->out, ": ");
    }
    say(page, text_of(page, s, "statement"));
    lhi_out_raw(page->out, "\n");
}

/* Without those of a kind that stands elsewhere; NULL: all. */
static void steps(const lhi_page *page, const lhi_node *list, unsigned indent, const char *elsewhere)
{
    size_t rows = 0;
    for (const lhi_node *s = list->first; s; s = s->next) {
        if (elsewhere && strcmp(text_of(page, s, "kind"), elsewhere) == 0)
            continue;
        if (rows++ < MOST_ROWS)
            step_line(page, s, indent);
    }
    if (rows > MOST_ROWS)
        lhi_out_format(page->out, "%*s... %zu more\n", (int)indent, "", rows - MOST_ROWS);
}

static void listing_line(const lhi_page *page, const lhi_node *row)
{
    const bool marked = number_of(row, "marked");
    lhi_out_format(page->out, "    %c %016" PRIx64 "  ", marked ? '>' : ' ', number_of(row, "address"));
    if (marked)
        style(page, "1");
    say(page, text_of(page, row, "text"));
    if (marked)
        style(page, "0");
    if (text_of(page, row, "name")) {
        lhi_out_raw(page->out, "  ; ");
        say(page, text_of(page, row, "name"));
    }
    lhi_out_raw(page->out, "\n");
}

/* Places in drivers' code that the case rests on. */
static void excerpt_lines(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *list = lhi_tree_get(root, "excerpts");
    unsigned rows = 0;
    if (lhi_tree_size(list) == 0)
        return;
    heading(page, "Code");
    for (const lhi_node *e = list->first; e && rows < MOST_ROWS; e = e->next, rows++) {
        const lhi_node *function = lhi_tree_get(e, "function"), *listing = lhi_tree_get(e, "listing");
        lhi_out_raw(page->out, "  ");
        if (text_of(page, e, "at"))
            say(page, text_of(page, e, "at"));
        else
            lhi_out_format(page->out, "0x%" PRIx64, number_of(e, "address"));
        lhi_out_raw(page->out, ": ");
        say(page, text_of(page, e, "statement"));
        if (!is_null(e, "function"))
            lhi_out_format(page->out, "; in the function %s, 0x%" PRIx64 " to 0x%" PRIx64,
                           text_of(page, function, "at"), number_of(function, "begin"),
                           number_of(function, "end"));
        lhi_out_raw(page->out, "\n");
        for (const lhi_node *row = listing->first; row; row = row->next)
            listing_line(page, row);
        if (text_of(page, e, "reason"))
            wrapped(page, 6, text_of(page, e, "reason"));
    }
    more(page, 2, list);
}

static void reasons(const lhi_page *page, const lhi_node *root, const char *key, const char *title,
                    const char *name, const char *why)
{
    const lhi_node *list = lhi_tree_get(root, key);
    unsigned rows = 0;
    if (lhi_tree_size(list) == 0)
        return;
    heading(page, title);
    for (const lhi_node *row = list->first; row && rows < MOST_ROWS; row = row->next, rows++) {
        lhi_out_raw(page->out, "  ");
        if (text_of(page, row, name))
            say(page, text_of(page, row, name));
        else
            lhi_out_format(page->out, "0x%" PRIx64, number_of(row, "address"));
        lhi_out_raw(page->out, ": ");
        say(page, text_of(page, row, why));
        lhi_out_raw(page->out, "\n");
    }
    more(page, 2, list);
}

/* What is there of a region; where something is missing, what could have lain there. */
static void region_line(const lhi_page *page, const char *name, const lhi_node *r)
{
    const uint64_t present = number_of(r, "present");
    const uint64_t missing = missing_of(r);
    if (present + missing == 0)
        return;
    if (is_null(r, "share"))
        lhi_out_format(page->out,
                       "  %-20s pieces of %" PRIu64 " pages; how many are missing can't be counted", name,
                       present);
    else if (missing == 0)
        lhi_out_format(page->out, "  %-20s all %" PRIu64 " mapped pages present", name, present);
    else
        lhi_out_format(page->out,
                       "  %-20s %" PRIu64 " of %" PRIu64 " mapped pages present, %" PRIu64 " missing", name,
                       present, present + missing, missing);
    lhi_out_raw(page->out, "\n");
    if ((is_null(r, "share") || missing) && text_of(page, r, "holds"))
        lhi_out_format(page->out, "  %-20s   (%s)\n", "", text_of(page, r, "holds"));
}

static void coverage_lines(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *coverage = lhi_tree_get(root, "coverage"), *regions = lhi_tree_get(coverage, "regions");
    heading(page, "Coverage");
    for (size_t i = 0; i < REGION_COUNT; i++)
        region_line(page, region_names[i].title, lhi_tree_get(regions, region_names[i].key));
    if (number_of(coverage, "page_tables_missing"))
        lhi_out_format(page->out, "  %" PRIu64 " page tables are missing\n",
                       number_of(coverage, "page_tables_missing"));
    const lhi_node *notes = lhi_tree_get(coverage, "notes");
    for (const lhi_node *note = notes ? notes->first : NULL; note; note = note->next) {
        lhi_out_raw(page->out, "  note: ");
        say(page, note->value.text);
        lhi_out_raw(page->out, "\n");
    }
    if (!lhi_tree_get(root, "verdict") && !lhi_tree_get(root, "processes") &&
        text_of(page, coverage, "statement"))
        wrapped(page, 2, text_of(page, coverage, "statement"));
    const lhi_node *layout = lhi_tree_get(coverage, "layout");
    lhi_out_raw(page->out, "  layouts: ");
    say(page, text_of(page, layout, "source"));
    lhi_out_raw(page->out, "\n");
    const lhi_node *search = lhi_tree_get(coverage, "search");
    if (search)
        lhi_out_format(page->out,
                       "  searched %" PRIu64 " MiB in %" PRIu64 " pass%s (%s): %" PRIu64
                       " places name %s, %" PRIu64 " are no MDL\n",
                       number_of(search, "bytes") >> 20, number_of(search, "passes"),
                       number_of(search, "passes") == 1 ? "" : "es", text_of(page, search, "instruction_set"),
                       number_of(search, "hits"),
                       lhi_tree_get(root, "processes") ? "a process" : "the process",
                       number_of(search, "not_mdls"));
    if (search && text_of(page, search, "limit_met"))
        lhi_out_format(page->out, "  a limit was met: %s\n", text_of(page, search, "limit_met"));
}

/* Of an audit: a line for each process, then what it is charged with that somebody holds. */
static void audit_lines(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *list = lhi_tree_get(root, "processes");
    heading(page, "Processes with locked pages");
    if (lhi_tree_size(list) == 0)
        lhi_out_raw(page->out, "  none\n");
    for (const lhi_node *p = list->first; p; p = p->next) {
        lhi_out_format(page->out, "  0x%" PRIx64 "  ", number_of(p, "address"));
        say(page, text_of(page, p, "name") ? text_of(page, p, "name")
                  : page->redact           ? "[redacted]"
                                           : "(name not known)");
        if (!is_null(p, "pid"))
            lhi_out_format(page->out, "  PID %" PRIu64, number_of(p, "pid"));
        lhi_out_format(page->out, "  %s",
                       is_null(p, "state") ? "state not known" : text_of(page, p, "state"));
        count_or_mark(page, "  charged ", p, "charged");
        lhi_out_format(page->out, ", explained %" PRIu64 " by %zu MDL%s\n", number_of(p, "explained"),
                       lhi_tree_size(lhi_tree_get(p, "mdls")),
                       lhi_tree_size(lhi_tree_get(p, "mdls")) == 1 ? "" : "s");
        const lhi_node *holders = lhi_tree_get(p, "holders");
        for (const lhi_node *h = holders ? holders->first : NULL; h; h = h->next) {
            lhi_out_format(page->out, "      %6" PRIu64 " page%s  ", number_of(h, "pages"),
                           number_of(h, "pages") == 1 ? " " : "s");
            say(page, text_of(page, h, "driver"));
            lhi_out_raw(page->out, "\n");
        }
        if (!is_null(p, "trackers")) {
            wrapped(page, 6, text_of(page, lhi_tree_get(p, "trackers"), "statement"));
            lhi_report_tracking_text(page, lhi_tree_get(p, "trackers"), 8);
        }
        if (text_of(page, p, "note"))
            wrapped(page, 6, text_of(page, p, "note"));
    }
    lhi_out_format(page->out, "  %" PRIu64 " more without any\n", number_of(root, "quiet_processes"));
    if (!number_of(root, "processes_complete"))
        lhi_out_raw(page->out,
                    "  there may be others: the list of processes is not wholly in this dump, or a "
                    "limit was met\n");
}

static void text_line(const lhi_page *page, const lhi_node *node)
{
    lhi_out_raw(page->out, "    ");
    say(page, page->redact && node->redacted ? node->redacted : node->value.text);
    lhi_out_raw(page->out, "\n");
}

/* What to set for the next crash, and what to send to vendors. */
static void advice_lines(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *advice = lhi_tree_get(root, "advice");
    if (!advice || advice->kind == LHI_NODE_NULL)
        return;
    const lhi_node *tracking = lhi_tree_get(advice, "tracking"), *verifier = lhi_tree_get(advice, "verifier");
    const lhi_node *vendors = lhi_tree_get(advice, "vendors");
    heading(page, "For the next crash");
    const lhi_node *tracked = lhi_tree_get(tracking, "command");
    const char *state = text_of(page, tracking, "state");
    if (tracked && !(state && strcmp(state, "on") == 0))
        text_line(page, tracked);
    wrapped(page, 6, text_of(page, tracking, "next_crash"));
    if (verifier && verifier->kind == LHI_NODE_OBJECT) {
        text_line(page, lhi_tree_get(verifier, "command"));
        wrapped(page, 6, text_of(page, verifier, "why"));
    }
    if (lhi_tree_size(vendors))
        heading(page, "To send to the vendor");
    for (const lhi_node *v = vendors ? vendors->first : NULL; v; v = v->next) {
        const lhi_node *lines = lhi_tree_get(v, "lines");
        lhi_out_raw(page->out, "  ");
        say(page, text_of(page, v, "driver"));
        lhi_out_raw(page->out, "\n");
        for (const lhi_node *l = lines ? lines->first : NULL; l; l = l->next)
            text_line(page, l);
    }
}

void lhi_report_text(const lhi_node *root, uint32_t flags, lhi_out *out)
{
    lhi_page page = {.out = out, .redact = flags & LH_RENDER_REDACT, .color = flags & LH_RENDER_COLOR};
    dump_lines(&page, root);
    if (!lhi_tree_get(root, "verdict") && !lhi_tree_get(root, "processes"))
        machine_lines(&page, root);
    process_line(&page, root, "process", "charged process");
    process_line(&page, root, "current_process", "current process");
    if (lhi_tree_get(root, "processes"))
        audit_lines(&page, root);
    if (lhi_tree_get(root, "verdict")) {
        verdict_lines(&page, root);
        subject_lines(&page, root);
        ledger_lines(&page, root);
        const lhi_node *chain = lhi_tree_get(root, "chain");
        if (lhi_tree_size(chain)) {
            heading(&page, "Chain");
            steps(&page, chain, 2, NULL);
        }
        const bool traced = lhi_tree_size(lhi_tree_get(lhi_tree_get(root, "trackers"), "list")) != 0;
        const lhi_node *suspects = lhi_tree_get(root, "suspects");
        if (lhi_tree_size(suspects))
            heading(&page, "Evidence");
        unsigned rows = 0;
        for (const lhi_node *s = suspects ? suspects->first : NULL; s && rows < MOST_ROWS;
             s = s->next, rows++) {
            lhi_out_raw(out, "  ");
            say(&page, text_of(&page, s, "driver"));
            lhi_out_raw(out, "\n");
            steps(&page, lhi_tree_get(s, "evidence"), 4, traced ? "trace" : NULL);
        }
        more(&page, 2, suspects);
        excerpt_lines(&page, root);
        if (traced) {
            heading(&page, "Lock trackers");
            lhi_report_tracking_text(&page, lhi_tree_get(root, "trackers"), 2);
        }
        reasons(&page, root, "cleared", "Cleared", "driver", "reason");
        reasons(&page, root, "considered", "Considered, not counted", "none", "reason");
        advice_lines(&page, root);
    }
    coverage_lines(&page, root);
    reasons(&page, root, "unevaluated", "Not evaluated", "rule", "needs");
    const lhi_node *reproduce = lhi_tree_get(root, "reproduce");
    if (lhi_tree_size(reproduce)) {
        heading(&page, "Reproduce in WinDbg");
        for (const lhi_node *r = reproduce->first; r; r = r->next) {
            lhi_out_raw(out, "  ");
            say(&page, text_of(&page, r, "command"));
            if (text_of(&page, r, "expect")) {
                lhi_out_raw(out, "\n      * ");
                say(&page, text_of(&page, r, "expect"));
            }
            lhi_out_raw(out, "\n");
        }
    }
}
