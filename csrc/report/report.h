/* From a case to its result tree, and from the tree to JSON, text and HTML. */
#ifndef LHI_REPORT_REPORT_H
#define LHI_REPORT_REPORT_H

#include "case/case.h"
#include "case/lock.h"
#include "nt/unwind.h"
#include "report/out.h"
#include "report/tree.h"

/* The whole tree of a case, schema lockhound.case/1. NULL: no memory. `path` may be NULL. */
const lhi_node *lhi_report_tree(lhi_case *c, const char *path);
/* Its objects dump, bugcheck, process, current_process and coverage alone. */
const lhi_node *lhi_report_info(lhi_case *c, const char *path);

/* A tree's root with its schema and tool; and its end, where `absent` becomes its last child. */
lhi_node *lhi_report_start(lhi_arena *arena, const char *schema);
void lhi_report_finish(lhi_node *root, lhi_node *absent);

/* handle.c: a caller's options, which may be NULL and of another version. */
lh_status lhi_report_options(const lh_investigate_options *options, lh_investigate_options *out,
                             lh_error *err);
/* A view of a tree for the caller. */
typedef void lhi_view(const lhi_node *root, uint32_t flags, lhi_out *out);
lh_status lhi_report_view(const lhi_node *root, lhi_view *view, uint32_t flags, char **out, size_t *length,
                          lh_error *err);

/* Parts of the tree; `absent` is the object that collects why facts are null. */
void lhi_report_dump(lhi_case *c, lhi_node *root, lhi_node *absent, const char *path);
void lhi_report_processes(lhi_case *c, lhi_node *root, lhi_node *absent);
void lhi_report_coverage(lhi_case *c, lhi_node *root);
/* layout.c */
void lhi_report_layout(lhi_case *c, lhi_node *coverage);
void lhi_report_verdict(lhi_case *c, lhi_node *root, lhi_node *absent);
/* subject.c */
void lhi_report_subject(lhi_case *c, lhi_node *root, lhi_node *absent);
/* advice.c: after the verdict. */
void lhi_report_advice(lhi_case *c, lhi_node *root, lhi_node *absent);
/* trackers.c: `trackers` of a case; and of `parent`, whose absences are entered under `path`. */
lhi_node *lhi_report_tracking(lhi_case *c, lhi_node *parent, lhi_node *absent, const char *path,
                              const lhi_tracking *tracking);
void lhi_report_trackers(lhi_case *c, lhi_node *root, lhi_node *absent);
void lhi_report_chain(lhi_case *c, lhi_node *root);
/* reproduce.c */
void lhi_report_reproduce(lhi_case *c, lhi_node *root);
/* excerpts.c */
void lhi_report_excerpts(lhi_case *c, lhi_node *root, lhi_node *absent);
/* stack.c */
void lhi_report_stack(lhi_case *c, lhi_node *root, lhi_node *absent);
/* A frame's code as "nt!MmUnlockPages+0x4a" or "leaky.sys+0x10f1". */
const char *lhi_report_code(lhi_case *c, const lhi_call_frame *frame);

/* address, physical and file_offset of a virtual address; the latter two null where the page is not there. */
void lhi_report_place(lhi_case *c, lhi_node *object, uint64_t va);
/* One entry of `absent`. */
void lhi_report_absent(lhi_case *c, lhi_node *absent, const char *path, lh_absence kind, uint64_t address);
/* "locked", "freed_locked" or "unknown". */
const char *lhi_report_mdl_state(lh_mdl_state state);
/* A driver's file name; NULL where it has none that is known. */
const char *lhi_report_name(const lhi_case *c, size_t party);
/* The lock a short report is about: the largest of the verdict's driver, else the largest named one, else the
 * largest with a packet, else the largest; LHI_NONE: none, or the case is about an unlock. */
size_t lhi_report_main_record(const lhi_case *c);

/* The control code of a request; false, *code untouched: it is of another kind. */
bool lhi_report_control_code(const lhi_slot *slot, uint32_t *code);

void lhi_report_json(const lhi_node *root, uint32_t flags, lhi_out *out);
void lhi_report_text(const lhi_node *root, uint32_t flags, lhi_out *out);
void lhi_report_html(const lhi_node *root, uint32_t flags, lhi_out *out);
/* Of the schema lockhound.locks/1. */
void lhi_report_locks_text(const lhi_node *root, uint32_t flags, lhi_out *out);
/* style.c: the style sheet of the HTML view, "<style>...</style>". */
void lhi_report_style(lhi_out *out, bool page);

#endif
