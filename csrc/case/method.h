/* A method: how one kind of bug check comes to its verdict; each is a file of its own. And what methods
 * share. */
#ifndef LHI_CASE_METHOD_H
#define LHI_CASE_METHOD_H

#include "case/case.h"

struct lhi_method {
    /* Whether the bug check, by its number and parameters, is one for this method. The first one asked that
     * says yes has the case. */
    bool (*takes)(const lhi_case *c);
    /* What the parameters and the objects they name tell without a search: target, process, charged pages. */
    void (*subject)(lhi_case *c);
    /* From the search to the verdict and its evidence; after `subject`. */
    lh_status (*decide)(lhi_case *c, lh_error *err);
};

/* asked.c: a process that the caller asked about, whatever the bug check. */
extern const lhi_method lhi_method_asked;
/* locks.c: 0x76 with P1 = 0, P4 no lock header: pages still locked when the process object was deleted. */
extern const lhi_method lhi_method_locks;
/* tracked.c: 0xCB, and 0x76 with P1 = 0 and P4 a lock header: the process's locks were tracked. */
extern const lhi_method lhi_method_tracked;
/* unlock.c: 0x76 with P1 = 1, 5, 6, 7 or 9: an MDL was unlocked that was not locked so. */
extern const lhi_method lhi_method_unlock;
/* other.c: first parameters of 0x76 of which nothing is known, and bug checks that are not about locks. */
extern const lhi_method lhi_method_other;
/* relative.c: bug checks that are about an MDL or a page, and about no leak: 0x1A, 0x4E, 0xC4, 0xD9, 0xE6. */
extern const lhi_method lhi_method_relative;
extern const lhi_method lhi_method_none;

/* subject.c: the process that is charged, and how it is known. */
void lhi_case_subject(lhi_case *c, uint64_t process, const char *basis);
/* The same by an MDL's Process field; no subject where it names none. */
void lhi_case_subject_of_mdl(lhi_case *c, uint64_t mdl);
/* What the process's own counter charges it with. */
void lhi_case_charge_by_process(lhi_case *c);
/* The process of 0x76 with P1 = 0: parameter 2, deleted, with parameter 3 pages. */
void lhi_case_subject_of_deletion(lhi_case *c);
/* And the end where parameter 2 is none. */
bool lhi_case_conclude_damaged_header(lhi_case *c);
/* A process that did not exit has not been deleted: then the bug check names another than the one that left
 * pages locked. Sets `lives`. */
void lhi_case_expect_deleted(lhi_case *c);

/* build.c: what every case begins with: header, options with their defaults, clock, current process. */
void lhi_case_begin(lhi_case *c, lh_kernel *kernel, const lh_investigate_options *options);

/* search.c: the locks that stand, and who holds them, each by himself; no verdict yet. */
lh_status lhi_case_search(lhi_case *c, lh_error *err);

/* tracked.c: what the lock trackers of a process say about its locks, where there are any. After the search.
 */
lh_status lhi_case_track(lhi_case *c, lh_error *err);

/* tracked.c: whether parameter 4 of 0x76 with P1 = 0 may be the address of the process's LOCK_HEADER. */
bool lhi_case_names_trackers(const lhi_case *c);

/* subject.c: whether the process has exited can't be read, so that nobody is named; the reason and the
 * sentence say for which question. false: no memory. */
bool lhi_case_conclude_exit_unknown(lhi_case *c, const char *why, const char *sentence);

/* other.c: a case that no rule decides: insufficient, with the rule that is missing and what it needs. */
bool lhi_case_conclude_nothing(lhi_case *c, lhi_rule rule, const char *why);

#endif
